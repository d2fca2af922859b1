-- Following Supabase's users: who is gone, who is banned, what changed.
--
-- Supabase's auth deletes a user's row, or, softly, sets deleted_at and makes the address unreadable: both leave a
-- tombstone here, and clearing deleted_at does not bring the account back. A ban is banned_until: the account is
-- suspended until the clock has passed it. Auth writes the user's row at each sign-in, so the trigger looks only at the
-- columns that matter here.
--
-- An account is suspended for up to two reasons: profiles.suspended_at, an administrator's, and profiles.banned_until,
-- the ban's. profiles.status follows from them; neither lifts the other. Whoever writes status speaks for the
-- administrators.
--
-- Triggers on auth.users are lost when a dump leaves them out, and ours never fail a sign-up. So heal_accounts()
-- compares users and accounts itself, and ends bans; list_missing_triggers() names what is missing, and
-- keyfund.follow_users() puts it back.

-- --------------------------------------------------------- reasons and status

alter table public.profiles add column suspended_at timestamptz;
alter table public.profiles add column banned_until timestamptz;
comment on column public.profiles.status is
  'suspended: an administrator says so (suspended_at), or a ban in Supabase lasts (banned_until); the wallet in LiteLLM is 0 and the keys are blocked. deleted: what is left of a removed user.';
comment on column public.profiles.suspended_at is 'Since when an administrator suspends the account; null: none does.';
comment on column public.profiles.banned_until is 'Until when the user is banned in Supabase; null: they are not. The sweep ends it.';
update public.profiles set suspended_at = updated_at where status = 'suspended';
create index profiles_banned_until_idx on public.profiles (banned_until) where banned_until is not null;

create function keyfund.hear_administrator() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and old.status = 'deleted' and new.status <> 'deleted' then
    raise exception 'a deleted account stays deleted';
  elsif new.status = 'suspended' then
    new.suspended_at := coalesce(new.suspended_at, now());
  elsif new.status = 'active' then
    new.suspended_at := null;
  end if;
  return new;
end;
$$;
comment on function keyfund.hear_administrator() is 'Whoever writes status means the administrators'' own reason.';
-- By name before the one that works the status out. An update of banned_until alone says nothing about it.
create trigger profiles_reason_is_heard before update of status on public.profiles
  for each row execute function keyfund.hear_administrator();
create trigger profiles_reason_is_heard_at_first before insert on public.profiles
  for each row when (new.status = 'suspended') execute function keyfund.hear_administrator();

create function keyfund.work_out_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.status <> 'deleted' then
    new.status := case when new.suspended_at is null and new.banned_until is null then 'active' else 'suspended' end;
  end if;
  return new;
end;
$$;
create trigger profiles_status_is_worked_out before insert or update on public.profiles
  for each row execute function keyfund.work_out_status();

create or replace function keyfund.follow_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  if old.status <> new.status then
    perform keyfund.push_status(new.id);
  end if;
  if new.status = 'deleted' then
    perform keyfund.note('account_deleted', new.id);
    return null;
  end if;
  if (old.suspended_at is null) <> (new.suspended_at is null) then
    perform keyfund.note(case when new.suspended_at is null then 'account_reinstated' else 'account_suspended' end, new.id);
  end if;
  if old.banned_until is distinct from new.banned_until then
    perform keyfund.note(case when new.banned_until is null then 'account_unbanned' else 'account_banned' end, new.id, null,
      jsonb_build_object('until', new.banned_until));
  end if;
  return null;
end;
$$;
comment on function keyfund.follow_status() is
  'Suspended or back: LiteLLM learns of it before anything else is pushed; each reason is written down by itself.';
drop trigger profiles_status_is_followed on public.profiles;
create trigger profiles_status_is_followed after update on public.profiles
  for each row when (old.status <> 'deleted'
    and (old.status, old.suspended_at, old.banned_until) is distinct from (new.status, new.suspended_at, new.banned_until))
  execute function keyfund.follow_status();

-- ---------------------------------------------------------------- who is gone

create function keyfund.is_gone(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from auth.users where id = p_user_id and deleted_at is not null)
    or exists (
      select from public.profiles p
      where p.id = p_user_id and (p.status = 'deleted' or not exists (select from auth.users u where u.id = p.id)));
$$;
comment on function keyfund.is_gone(uuid) is
  'Whether a user was deleted, softly or not: asked of Supabase itself, because a token outlives its user and a trigger may have failed.';

create function keyfund.ban_of(p_banned_until timestamptz) returns timestamptz
language sql stable set search_path = '' as $$
  select case when p_banned_until > now() then p_banned_until end;
$$;
comment on function keyfund.ban_of(timestamptz) is 'The end of a ban that lasts; null: there is none, or it is over.';

create function keyfund.refuse_gone(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if keyfund.is_gone(p_user_id) then
    perform keyfund.refuse(403, 'account_deleted', 'This account does not exist any more.');
  end if;
end;
$$;

create or replace function public.is_administrator() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from keyfund.administrators where user_id = (select auth.uid()))
    and not keyfund.is_gone((select auth.uid()))
    and not exists (select from auth.users where id = (select auth.uid()) and banned_until > now());
$$;
comment on function public.is_administrator() is
  'Whether the caller is listed in keyfund.administrators now, and neither deleted nor banned in Supabase.';

create or replace function keyfund.own_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.refuse_gone((select auth.uid()));
  perform keyfund.lock_account((select auth.uid())); -- account before key, everywhere
  select * into v_key from public.virtual_keys
  where id = p_key_id and user_id = (select auth.uid()) and state <> 'placeholder' for update;
  if v_key.id is null then
    -- The same answer for a stranger's key and for none at all.
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  end if;
  if v_key.state = 'revoked' then
    perform keyfund.refuse(409, 'key_revoked', 'This key is revoked for good. Create a new one.');
  end if;
  return v_key;
end;
$$;

create or replace function public.resync_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.refuse_gone((select auth.uid()));
  perform keyfund.lock_account((select auth.uid()));
  select * into v_key from public.virtual_keys
  where id = key_id and user_id = (select auth.uid()) and state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  end if;
  return keyfund.resync_key(v_key);
end;
$$;

-- -------------------------------------------------------------------- accounts

create or replace function keyfund.bury_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.profiles where id = p_user_id and status <> 'deleted' for update;
  if not found then
    return;
  end if;
  -- With its status the wallet in LiteLLM becomes 0.
  update public.profiles set email = null, status = 'deleted', updated_at = now(), deleted_at = now() where id = p_user_id;
  update keyfund.accounts set grant_settled = true, grant_waits_since = null where user_id = p_user_id;
  delete from public.virtual_keys where user_id = p_user_id and state = 'placeholder';
  update public.virtual_keys set state = 'revoked', revoked_at = coalesce(revoked_at, now()), name = 'Deleted'
  where user_id = p_user_id;
end;
$$;

create or replace function keyfund.ensure_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_user auth.users;
  v_settings keyfund.settings;
  v_status text;
begin
  select * into v_user from auth.users where id = p_user_id;
  if v_user.id is null or v_user.deleted_at is not null then
    perform keyfund.bury_account(p_user_id);
    return;
  end if;
  perform keyfund.take_turn_to_grant(v_user); -- before the profile, everywhere
  select * into strict v_settings from keyfund.settings;
  insert into public.profiles (id, email, banned_until) values (p_user_id, v_user.email, keyfund.ban_of(v_user.banned_until))
  on conflict (id) do nothing;
  select status into v_status from public.profiles where id = p_user_id for update;
  if v_status = 'deleted' then
    return; -- a deletion that was taken back in Supabase revives nothing
  end if;
  update public.profiles
  set email = v_user.email, banned_until = keyfund.ban_of(v_user.banned_until), updated_at = now()
  where id = p_user_id and (email, banned_until) is distinct from (v_user.email::text, keyfund.ban_of(v_user.banned_until));
  insert into keyfund.accounts (user_id) values (p_user_id) on conflict (user_id) do nothing;
  insert into public.virtual_keys (user_id, name, state, cap, budget_duration, rpm_limit, tpm_limit)
  select p_user_id, 'Key', case when v_settings.provision_at_signup then 'active' else 'placeholder' end, 'wallet',
    v_settings.key_budget_duration, v_settings.key_rpm_limit, v_settings.key_tpm_limit
  where not exists (select from public.virtual_keys where user_id = p_user_id)
  on conflict do nothing;
  update keyfund.accounts set grant_checked_at = now() where user_id = p_user_id and not grant_settled;
  if found then
    perform keyfund.grant_signup_credits(v_user);
  end if;
end;
$$;
comment on function keyfund.ensure_account(uuid) is
  'Brings an account up to date with its Supabase user: profile, ban, placeholder key, grant; a tombstone where the user is gone. Safe to repeat; does nothing for an unknown user.';

-- -------------------------------------------------------------------- triggers

create or replace function keyfund.handle_changed_user() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
begin
  perform keyfund.ensure_account(new.id);
  return new;
exception when others then
  raise warning 'keyfund: account % is not up to date yet (%)', new.id, sqlstate; -- the sweep does it
  return new;
end;
$$;

create function keyfund.follow_users() returns void
language plpgsql set search_path = '' as $$
begin
  -- The role that applies migrations may create triggers there, but owns nothing and may drop none.
  create or replace trigger keyfund_new_user after insert on auth.users
    for each row execute function public.handle_new_user();
  create or replace trigger keyfund_changed_user
    after update of email, phone, email_confirmed_at, phone_confirmed_at, is_anonymous, deleted_at, banned_until on auth.users
    for each row when (
      (old.email, old.phone, old.email_confirmed_at, old.phone_confirmed_at, old.is_anonymous, old.deleted_at, old.banned_until)
      is distinct from
      (new.email, new.phone, new.email_confirmed_at, new.phone_confirmed_at, new.is_anonymous, new.deleted_at, new.banned_until))
    execute function keyfund.handle_changed_user();
  create or replace trigger keyfund_deleted_user after delete on auth.users
    for each row execute function keyfund.handle_deleted_user();
end;
$$;
comment on function keyfund.follow_users() is 'Puts our triggers on auth.users, in place of any that are there: for an operator, where a dump left them out.';
select keyfund.follow_users();

create function public.list_missing_triggers() returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(wanted.name order by wanted.place), '[]')
  from unnest(array['keyfund_new_user', 'keyfund_changed_user', 'keyfund_deleted_user']) with ordinality as wanted (name, place)
  where not exists (
    select from pg_catalog.pg_trigger t
    where t.tgrelid = 'auth.users'::regclass and t.tgname = wanted.name and t.tgenabled in ('O', 'A'));
$$;
comment on function public.list_missing_triggers() is
  'Which of our triggers on auth.users are lost or switched off: sign-ups, changes and deletions are then followed by the sweep alone.';
revoke all on function public.list_missing_triggers() from public, anon, authenticated, service_role;
grant execute on function public.list_missing_triggers() to service_role;

-- ----------------------------------------------------------------------- sweep

create function keyfund.find_unlike(p_limit integer) returns table (user_id uuid, kind text)
language sql stable set search_path = '' as $$
  (select u.id, case when u.deleted_at is not null then 'closed' when a.user_id is null then 'opened'
      when p.email is distinct from u.email or keyfund.ban_of(u.banned_until) is not null then 'changed' else 'unbanned' end
    from auth.users u left join public.profiles p on p.id = u.id left join keyfund.accounts a on a.user_id = u.id
    where case when u.deleted_at is not null then p.status <> 'deleted'
      when p.id is null or a.user_id is null then coalesce(p.status <> 'deleted', true)
      else p.status <> 'deleted' and (p.email is distinct from u.email
        or p.banned_until is distinct from keyfund.ban_of(u.banned_until)) end
    limit p_limit)
  union all
  (select p.id, 'closed' from public.profiles p
    where p.status <> 'deleted' and not exists (select from auth.users u where u.id = p.id) limit p_limit)
  union all
  (select a.user_id, 'ungranted' from keyfund.accounts a
    where not a.grant_settled and (a.grant_checked_at is null or a.grant_checked_at < now() - interval '10 minutes')
    order by a.grant_checked_at nulls first limit p_limit)
  union all
  (select a.user_id, 'ungranted' from keyfund.accounts a
    where a.grant_waits_since is not null order by a.grant_waits_since limit p_limit);
$$;
comment on function keyfund.find_unlike(integer) is
  'Accounts that are not as their Supabase users are, and those that may be granted credits by now.';

create or replace function public.heal_accounts(p_limit integer default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_found record;
  v_done jsonb := '{"opened": 0, "changed": 0, "unbanned": 0, "closed": 0, "strays": 0}';
begin
  if exists (select from keyfund.accounts where not grant_settled) or exists (
      select from auth.users u where not exists (select from keyfund.accounts a where a.user_id = u.id)) then
    perform pg_advisory_xact_lock(hashtextextended('keyfund.signup_grants', 0)); -- before the first profile
  end if;
  for v_found in
    select u.user_id, min(u.kind) as kind from keyfund.find_unlike(p_limit) u
    group by u.user_id order by u.user_id -- whoever holds many profiles takes them in one order
  loop
    begin
      perform keyfund.ensure_account(v_found.user_id);
      if v_done ? v_found.kind then
        v_done := jsonb_set(v_done, array[v_found.kind], to_jsonb((v_done ->> v_found.kind)::integer + 1));
      end if;
    exception when others then
      raise warning 'keyfund: account % is not up to date yet (%)', v_found.user_id, sqlstate; -- the others must not wait for it
    end;
  end loop;
  -- A row that somebody set back by hand, in an account that nothing is due for and that is not parked.
  for v_found in
    select distinct k.user_id from public.virtual_keys k join keyfund.accounts a on a.user_id = k.user_id
    where k.sync_status <> 'synced' and k.state <> 'placeholder' and k.refusals = 0
      and a.next_attempt_at is null and a.refusals = 0
    order by 1 limit p_limit
  loop
    perform keyfund.touch_account(v_found.user_id);
    v_done := jsonb_set(v_done, '{strays}', to_jsonb((v_done ->> 'strays')::integer + 1));
  end loop;
  return v_done;
end;
$$;
comment on function public.heal_accounts(integer) is
  'What a swallowed trigger error, a lost trigger or a hand-made change left behind, bans that are over, and grants that had to wait. Returns how many of each it mended.';

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
