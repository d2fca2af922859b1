-- From a Supabase user to an account: the sign-up trigger, the backfill and the sweep all call ensure_account().

create table keyfund.signup_grants (
  identity_hash text primary key,
  user_id uuid not null,
  created_at timestamptz not null default now()
);
comment on table keyfund.signup_grants is
  'One grant per person: a salted hash of the normalised e-mail (or phone), kept when the account is deleted.';
alter table keyfund.signup_grants enable row level security;

create function keyfund.normalise_email(p_email text) returns text
language sql immutable set search_path = '' as $$
  -- ana+1@gmail.com, a.n.a@googlemail.com and Ana@gmail.com are one person.
  select case when parts.domain = 'gmail.com' then replace(parts.local, '.', '') else parts.local end || '@' || parts.domain
  from (
    select split_part(split_part(lower(btrim(p_email)), '@', 1), '+', 1) as local,
      case split_part(lower(btrim(p_email)), '@', 2) when 'googlemail.com' then 'gmail.com'
        else split_part(lower(btrim(p_email)), '@', 2) end as domain
  ) parts;
$$;

create function keyfund.grant_signup_credits(p_user auth.users) returns void
language plpgsql set search_path = '' as $$
declare
  v_user jsonb := to_jsonb(p_user); -- auth.users gains columns over time: read those that may be missing by name
  v_settings keyfund.settings;
  v_identity text;
begin
  select * into strict v_settings from keyfund.settings;
  v_identity := coalesce(keyfund.normalise_email(nullif(v_user ->> 'email', '')), nullif(v_user ->> 'phone', ''));
  if v_settings.signup_credits > 0 and (v_identity is null or (v_user ->> 'is_anonymous')::boolean) then
    return; -- an anonymous person is granted credits when they convert
  end if;
  if v_settings.signup_credits > 0 and v_settings.signup_needs_confirmed_email
      and coalesce(v_user ->> 'email_confirmed_at', v_user ->> 'phone_confirmed_at') is null then
    return;
  end if;
  update keyfund.accounts set grant_settled = true where user_id = p_user.id;
  if v_settings.signup_credits = 0 then
    return;
  end if;
  insert into keyfund.signup_grants (identity_hash, user_id)
  values (encode(sha256(convert_to(v_settings.installation_id || ':' || v_identity, 'UTF8')), 'hex'), p_user.id)
  on conflict (identity_hash) do nothing;
  if found then
    perform keyfund.append_entry(p_user.id, v_settings.signup_credits, 'signup_grant', 'signup_grant:' || p_user.id);
  end if;
end;
$$;

create function keyfund.ensure_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_user auth.users;
  v_settings keyfund.settings;
begin
  select * into v_user from auth.users where id = p_user_id;
  if v_user.id is null then
    return;
  end if;
  select * into strict v_settings from keyfund.settings;
  insert into public.profiles (id, email) values (p_user_id, v_user.email) on conflict (id) do nothing;
  perform from public.profiles where id = p_user_id for update;
  update public.profiles set email = v_user.email, updated_at = now()
  where id = p_user_id and email is distinct from v_user.email and status <> 'deleted';
  insert into keyfund.accounts (user_id) values (p_user_id) on conflict (user_id) do nothing;
  insert into public.virtual_keys (user_id, name, state, cap, budget_duration, rpm_limit, tpm_limit)
  select p_user_id, 'Key', case when v_settings.provision_at_signup then 'active' else 'placeholder' end, 'wallet', v_settings.key_budget_duration, v_settings.key_rpm_limit, v_settings.key_tpm_limit
  where not exists (select from public.virtual_keys where user_id = p_user_id)
  on conflict do nothing;
  update keyfund.accounts set grant_checked_at = now() where user_id = p_user_id and not grant_settled;
  if found then
    perform keyfund.grant_signup_credits(v_user);
  end if;
end;
$$;
comment on function keyfund.ensure_account(uuid) is
  'Makes what is missing of an account: profile, placeholder key, grant. Safe to repeat; does nothing for an unknown user.';

create function public.handle_new_user() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
begin
  perform keyfund.ensure_account(new.id);
  return new;
exception when others then
  -- A sign-up never fails for a reason of ours: the worker's sweep makes the account a little later.
  raise warning 'keyfund: no account yet for % (%)', new.id, sqlstate;
  return new;
end;
$$;
comment on function public.handle_new_user() is 'Sign-up: a profile with its credits and a placeholder key.';
revoke all on function public.handle_new_user() from public, anon, authenticated, service_role;

create trigger keyfund_new_user after insert on auth.users
  for each row execute function public.handle_new_user();

create function keyfund.handle_changed_user() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
declare
  v_old jsonb := to_jsonb(old);
  v_new jsonb := to_jsonb(new);
begin
  -- A confirmed or changed address, or a name given to an anonymous person, may be what the grant waits for.
  if exists (
    select from unnest(array['email', 'phone', 'email_confirmed_at', 'phone_confirmed_at', 'is_anonymous']) as field
    where v_old ->> field is distinct from v_new ->> field)
  then
    perform keyfund.ensure_account(new.id);
  end if;
  return new;
exception when others then
  raise warning 'keyfund: account % is not up to date yet (%)', new.id, sqlstate; -- the sweep does it
  return new;
end;
$$;
create trigger keyfund_changed_user after update on auth.users
  for each row execute function keyfund.handle_changed_user();

-- ----------------------------------------------------------------- deletion

create function keyfund.bury_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.profiles where id = p_user_id and status <> 'deleted' for update;
  if not found then
    return;
  end if;
  -- With its status the wallet in LiteLLM becomes 0.
  update public.profiles set email = null, status = 'deleted', updated_at = now(), deleted_at = now() where id = p_user_id;
  delete from public.virtual_keys where user_id = p_user_id and state = 'placeholder';
  update public.virtual_keys set state = 'revoked', revoked_at = coalesce(revoked_at, now()), name = 'Deleted'
  where user_id = p_user_id;
end;
$$;
comment on function keyfund.bury_account(uuid) is
  'Leaves a tombstone of an account: no personal data, keys revoked, wallet 0. Ledger and transactions stay.';

create function keyfund.handle_deleted_user() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
begin
  perform keyfund.bury_account(old.id);
  return old;
exception when others then
  raise warning 'keyfund: account % is not closed yet (%)', old.id, sqlstate;
  return old; -- the sweep closes it
end;
$$;
create trigger keyfund_deleted_user after delete on auth.users
  for each row execute function keyfund.handle_deleted_user();

-- -------------------------------------------------------------------- sweep

create function public.heal_accounts(p_limit integer default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid;
  v_opened integer := 0;
  v_closed integer := 0;
  v_strays integer := 0;
begin
  for v_user_id in
    (select u.id from auth.users u
    where not exists (select from keyfund.accounts a where a.user_id = u.id) limit p_limit)
    union
    (select a.user_id from keyfund.accounts a
    where not a.grant_settled and (a.grant_checked_at is null or a.grant_checked_at < now() - interval '10 minutes')
    order by a.grant_checked_at nulls first limit p_limit)
    order by 1 -- whoever holds many profiles takes them in one order
  loop
    begin
      perform keyfund.ensure_account(v_user_id);
      v_opened := v_opened + 1;
    exception when others then
      raise warning 'keyfund: no account yet for % (%)', v_user_id, sqlstate; -- the others must not wait for it
    end;
  end loop;
  for v_user_id in
    select p.id from public.profiles p
    where p.status <> 'deleted' and not exists (select from auth.users u where u.id = p.id)
    order by p.id limit p_limit
  loop
    perform keyfund.bury_account(v_user_id);
    v_closed := v_closed + 1;
  end loop;
  -- A row that somebody set back by hand, in an account that nothing is due for and that is not parked.
  for v_user_id in
    select distinct k.user_id from public.virtual_keys k join keyfund.accounts a on a.user_id = k.user_id
    where k.sync_status <> 'synced' and k.state <> 'placeholder' and k.refusals = 0
      and a.next_attempt_at is null and a.refusals = 0
    order by 1 limit p_limit
  loop
    perform keyfund.touch_account(v_user_id);
    v_strays := v_strays + 1;
  end loop;
  return jsonb_build_object('opened', v_opened, 'closed', v_closed, 'strays', v_strays);
end;
$$;
comment on function public.heal_accounts(integer) is 'What a swallowed trigger error or a hand-made change left behind. Returns how many of each it mended.';
revoke all on function public.heal_accounts(integer) from public, anon, authenticated, service_role;
grant execute on function public.heal_accounts(integer) to service_role;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;

-- Users from before this migration.
do $$
declare
  v_user_id uuid;
begin
  for v_user_id in select id from auth.users loop
    perform keyfund.ensure_account(v_user_id);
  end loop;
end;
$$;
