-- From a Supabase user to an account. The sign-up trigger and the sweep both call ensure_account().
--
-- Supabase's auth deletes a user's row, or, softly, sets deleted_at and makes the address unreadable: both leave a
-- tombstone here, and clearing deleted_at does not bring the account back. A ban is banned_until: the account is
-- suspended until the clock has passed it. Auth writes the user's row at each sign-in, so the trigger looks only
-- at the columns that matter here.
--
-- Triggers on auth.users are lost when a dump leaves them out, and ours never fail a sign-up. So heal_accounts()
-- compares users and accounts itself, and ends bans; list_missing_triggers() names what is missing, and
-- keyfund.follow_users() puts it back.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ------------------------------------------------------- one grant per person
-- The sign-up grant is no faucet: on a confirmed address by default, once per mailbox, so many an hour. A mailbox
-- has many spellings; mailbox_of() makes one of them. An identity (a mailbox, or a phone number) is used up only
-- once it is confirmed: a person who signs up with somebody else's address takes nothing from them. Grants beyond
-- the hour's ceiling wait in line, the longest waiting first, and the sweep gives them.

create table keyfund.signup_grants (
  identity_hash text primary key,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  confirmed boolean not null default true
);
comment on table keyfund.signup_grants is
  'One grant per person: a salted hash of the normalised e-mail (or phone), kept when the account is deleted.';
comment on column keyfund.signup_grants.confirmed is
  'False: granted on an address that nobody has confirmed. The first who confirms the address takes the identity '
  'over.';
alter table keyfund.signup_grants enable row level security;
create index signup_grants_created_at_idx on keyfund.signup_grants (created_at);

create table keyfund.signups (
  user_id uuid primary key references public.profiles (id),
  grant_settled boolean not null default false,
  grant_checked_at timestamptz,
  grant_waits_since timestamptz
);
comment on table keyfund.signups is 'How each person''s sign-up grant stands.';
comment on column keyfund.signups.grant_settled is
  'The sign-up grant was given on a confirmed address, or never will be; false while an address has to be '
  'confirmed, somebody is anonymous, or the ceiling is reached.';
comment on column keyfund.signups.grant_waits_since is
  'Since when the sign-up grant waits for the hour''s ceiling; null: it does not.';
alter table keyfund.signups enable row level security;
-- Who may still be granted credits: what the sweep looks at, longest unchecked first.
create index signups_ungranted_idx on keyfund.signups (grant_checked_at nulls first) where not grant_settled;
create index signups_waiting_idx on keyfund.signups (grant_waits_since) where grant_waits_since is not null;

create function keyfund.decode_punycode(p_label text) returns text
language plpgsql immutable strict set search_path = '' as $$
-- RFC 3492, section 6.2; p_label is without its xn--.
declare
  v_text text := coalesce(substring(p_label from '^(.*)-[^-]*$'), '');
  v_rest text := substring(p_label from '[^-]*$');
  v_digit bigint;
  v_threshold bigint;
  v_weight bigint;
  v_step bigint;
  v_code bigint := 128;
  v_place bigint := 0;
  v_before bigint;
  v_bias bigint := 72;
  v_delta bigint;
begin
  while v_rest <> '' loop
    v_before := v_place;
    v_weight := 1;
    v_step := 36;
    loop
      v_digit := position(left(v_rest, 1) in 'abcdefghijklmnopqrstuvwxyz0123456789') - 1;
      if v_rest = '' or v_digit < 0 then
        return 'xn--' || p_label;
      end if;
      v_rest := substr(v_rest, 2);
      v_place := v_place + v_digit * v_weight;
      v_threshold := least(26, greatest(1, v_step - v_bias));
      exit when v_digit < v_threshold;
      v_weight := v_weight * (36 - v_threshold);
      v_step := v_step + 36;
    end loop;
    v_delta := (v_place - v_before) / case when v_before = 0 then 700 else 2 end;
    v_delta := v_delta + v_delta / (length(v_text) + 1);
    v_bias := 0;
    while v_delta > 455 loop
      v_delta := v_delta / 35;
      v_bias := v_bias + 36;
    end loop;
    v_bias := v_bias + 36 * v_delta / (v_delta + 38);
    v_code := v_code + v_place / (length(v_text) + 1);
    v_place := v_place % (length(v_text) + 1);
    v_text := left(v_text, v_place::integer) || chr(v_code::integer) || substr(v_text, v_place::integer + 1);
    v_place := v_place + 1;
  end loop;
  return v_text;
exception when others then
  return 'xn--' || p_label; -- no code point, or too large a number: it stays as it is
end;
$$;
comment on function keyfund.decode_punycode(text) is
  'A label of a domain in Unicode, from its ASCII form; one that is malformed stays as it is.';

create function keyfund.domain_of(p_domain text) returns text
language sql immutable strict set search_path = '' as $$
  select string_agg(case when label like 'xn--%' then keyfund.decode_punycode(substr(label, 5)) else label end, '.'
    order by place)
  from regexp_split_to_table(rtrim(translate(p_domain, '。｡', '..'), '.'), '\.') with ordinality
    as labels (label, place);
$$;
comment on function keyfund.domain_of(text) is 'A domain in Unicode, without the dot of the root.';

create function keyfund.normalise_email(p_email text) returns text
language sql immutable set search_path = '' as $$
  -- ana+1@gmail.com, a.n.a@googlemail.com and Ana@gmail.com are one person.
  select case when parts.domain = 'gmail.com' then replace(parts.local, '.', '')
    else parts.local end || '@' || parts.domain
  from (
    select split_part(split_part(lower(btrim(p_email)), '@', 1), '+', 1) as local,
      case split_part(lower(btrim(p_email)), '@', 2) when 'googlemail.com' then 'gmail.com'
        else split_part(lower(btrim(p_email)), '@', 2) end as domain
  ) parts;
$$;

create function keyfund.mailbox_of(p_email text) returns text
language plpgsql immutable strict set search_path = '' as $$
declare
  v_email text := lower(normalize(btrim(p_email, E' \t\r\n'), NFKC));
  v_domain text := keyfund.domain_of(substring(v_email from '[^@]*$'));
  v_local text := left(v_email, greatest(0, length(v_email) - length(substring(v_email from '[^@]*$')) - 1));
  v_fastmail text[] := regexp_match(v_domain,
    '^([^.]+)\.(fastmail\.[a-z]{2,3}(\.[a-z]{2})?|fmail\.co\.uk|messagingengine\.com|sent\.(as|at|com))$');
begin
  -- anything@ana.fastmail.com is ana@fastmail.com
  if v_fastmail is not null and v_fastmail[1] not in ('www', 'fastmail') then
    v_local := v_fastmail[1];
    v_domain := v_fastmail[2];
  end if;
  v_domain := case
    when v_domain = 'googlemail.com' then 'gmail.com'
    when v_domain in ('protonmail.com', 'protonmail.ch', 'pm.me') then 'proton.me'
    when v_domain in ('me.com', 'mac.com') then 'icloud.com'
    when v_domain = 'ya.ru' or v_domain ~ '^yandex\.(ru|com|by|kz|ua|uz|com\.tr)$' then 'yandex.com'
    else v_domain end;
  -- What follows a sign is the owner's own label; a name that is nothing but a label stays whole.
  v_local := coalesce(nullif(split_part(v_local, '+', 1), ''), v_local);
  if v_domain ~ '^(yahoo\.[a-z]{2,3}(\.[a-z]{2})?|ymail\.com|rocketmail\.com|myyahoo\.com|aol\.com)$' then
    v_local := coalesce(nullif(split_part(v_local, '-', 1), ''), v_local);
  end if;
  v_local := case v_domain
    when 'gmail.com' then replace(v_local, '.', '')
    when 'proton.me' then translate(v_local, '.-_', '')
    when 'yandex.com' then replace(v_local, '-', '.')
    else v_local end;
  return v_local || '@' || v_domain;
end;
$$;
comment on function keyfund.mailbox_of(text) is
  'One spelling for all addresses of one mailbox: labels, dots and second domains of the well-known providers, '
  'case, Unicode, trailing dots.';

create function keyfund.identity_of(
  p_user jsonb, p_needs_confirmed boolean, p_spell text default 'mailbox'
) returns text
language sql stable set search_path = '' as $$
  -- auth.users gains columns over time: those that may be missing are read by name.
  select case
    when (p_user ->> 'is_anonymous')::boolean then null
    when one.email is not null and p_user ->> 'email_confirmed_at' is not null then one.email
    when one.phone is not null and p_user ->> 'phone_confirmed_at' is not null then one.phone
    when not p_needs_confirmed then coalesce(one.email, one.phone) end
  from (
    select case when p_user ->> 'email' <> '' then case p_spell
        when 'mailbox' then keyfund.mailbox_of(p_user ->> 'email')
          else keyfund.normalise_email(p_user ->> 'email') end end as email,
      nullif(p_user ->> 'phone', '') as phone
  ) one;
$$;
comment on function keyfund.identity_of(jsonb, boolean, text) is
  'Who a user is to the grant: the confirmed mailbox or phone number; where none has to be confirmed, any. Null: '
  'nobody yet. p_spell before: as identities were spelt at first.';

create function keyfund.is_confirmed(p_user jsonb) returns boolean
language sql stable set search_path = '' as $$
  select keyfund.identity_of(p_user, true) is not null;
$$;

create function keyfund.hash_identity(p_identity text) returns text
language sql stable strict set search_path = '' as $$
  select encode(sha256(convert_to(s.installation_id || ':' || p_identity, 'UTF8')), 'hex') from keyfund.settings s;
$$;

create function keyfund.has_room_to_grant(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  -- Accounts that have waited longer are counted before this one.
  select s.signup_grants_per_hour is null or s.signup_grants_per_hour > (
      select count(*) from (
        select from keyfund.signup_grants where created_at > now() - interval '1 hour'
          limit s.signup_grants_per_hour) given)
    + (select count(*) from (
        select from keyfund.signups other
        where other.user_id <> p_user_id and other.grant_waits_since < coalesce(
          (select own.grant_waits_since from keyfund.signups own where own.user_id = p_user_id), now())
        limit s.signup_grants_per_hour) waiting)
  from keyfund.settings s;
$$;

create function keyfund.take_turn_to_grant(p_user auth.users) returns void
language plpgsql set search_path = '' as $$
begin
  -- One grant at a time, or parallel sign-ups would all be the last below the ceiling. Whoever holds a profile
  -- already
  -- must not wait here; those that are settled, which is nearly everybody, do not.
  if keyfund.identity_of(to_jsonb(p_user), (select signup_needs_confirmed_email from keyfund.settings)) is not null
      and not exists (select from keyfund.signups where user_id = p_user.id and grant_settled) then
    perform pg_advisory_xact_lock(hashtextextended('keyfund.signup_grants', 0));
  end if;
end;
$$;

create function keyfund.grant_signup_credits(p_user auth.users) returns void
language plpgsql set search_path = '' as $$
declare
  v_user jsonb := to_jsonb(p_user);
  v_settings keyfund.settings;
  v_confirmed boolean := keyfund.is_confirmed(v_user);
  v_cause text := 'signup_grant:' || p_user.id;
  v_hash text;
  v_hash_before text;
begin
  select * into strict v_settings from keyfund.settings;
  v_hash := keyfund.hash_identity(keyfund.identity_of(v_user, v_settings.signup_needs_confirmed_email));
  v_hash_before := keyfund.hash_identity(keyfund.identity_of(v_user, v_settings.signup_needs_confirmed_email,
    'before'));
  if v_settings.signup_credits = 0 then
    update keyfund.signups set grant_settled = true, grant_waits_since = null where user_id = p_user.id;
    return;
  elsif v_hash is null then
    update keyfund.signups set grant_waits_since = null where user_id = p_user.id and grant_waits_since is not null;
    return; -- nothing is confirmed yet, or an anonymous person has not converted
  elsif exists (
      select from keyfund.signup_grants g
      where g.identity_hash in (v_hash, v_hash_before) and g.user_id <> p_user.id
        and (g.confirmed or not v_confirmed)) then
    update keyfund.signups set grant_settled = v_confirmed, grant_waits_since = null where user_id = p_user.id;
    return; -- somebody with this identity has it; while it is not confirmed it may still become this one's
  elsif not exists (select from public.credit_ledger where cause = v_cause)
    and not keyfund.has_room_to_grant(p_user.id) then
    update keyfund.signups set grant_waits_since = coalesce(grant_waits_since, now()) where user_id = p_user.id;
    return;
  end if;
  insert into keyfund.signup_grants as g (identity_hash, user_id, confirmed) values (v_hash, p_user.id, v_confirmed)
  on conflict (identity_hash) do update
  set user_id = excluded.user_id, confirmed = true,
      created_at = case when g.user_id = excluded.user_id then g.created_at else now() end
  where not g.confirmed and excluded.confirmed;
  if found then
    perform keyfund.append_entry(p_user.id, v_settings.signup_credits, 'signup_grant', v_cause);
  end if;
  update keyfund.signups set grant_settled = v_confirmed, grant_waits_since = null where user_id = p_user.id;
end;
$$;
comment on function keyfund.grant_signup_credits(auth.users) is
  'Grants credits once per identity and user, within the hour''s ceiling. Safe to repeat: what is not settled is '
  'looked at again.';

-- ------------------------------------------------------ accounts follow users

create function keyfund.ban_of(p_banned_until timestamptz) returns timestamptz
language sql stable set search_path = '' as $$
  select case when p_banned_until > now() then p_banned_until end;
$$;
comment on function keyfund.ban_of(timestamptz) is 'The end of a ban that lasts; null: there is none, or it is over.';

create function keyfund.ensure_account(p_user_id uuid) returns void
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
  insert into public.profiles (id, email, banned_until) values (p_user_id, v_user.email,
    keyfund.ban_of(v_user.banned_until))
  on conflict (id) do nothing;
  select status into v_status from public.profiles where id = p_user_id for no key update;
  if v_status = 'deleted' then
    return; -- a deletion that was taken back in Supabase revives nothing
  end if;
  update public.profiles
  set email = v_user.email, banned_until = keyfund.ban_of(v_user.banned_until), updated_at = now()
  where id = p_user_id and (email, banned_until) is distinct
    from (v_user.email::text, keyfund.ban_of(v_user.banned_until));
  perform keyfund.make_account(p_user_id, 'personal');
  insert into keyfund.signups (user_id) values (p_user_id) on conflict (user_id) do nothing;
  insert into public.virtual_keys (account_id, user_id, name, state, cap, budget_duration, rpm_limit, tpm_limit)
  select p_user_id, p_user_id, 'Key',
    case when v_settings.provision_at_signup then 'active' else 'placeholder' end, 'wallet',
    v_settings.key_budget_duration, v_settings.key_rpm_limit, v_settings.key_tpm_limit
  where not exists (select from public.virtual_keys where account_id = p_user_id)
  on conflict do nothing;
  update keyfund.signups set grant_checked_at = now() where user_id = p_user_id and not grant_settled;
  if found then
    perform keyfund.grant_signup_credits(v_user);
  end if;
end;
$$;
comment on function keyfund.ensure_account(uuid) is
  'Brings an account up to date with its Supabase user: profile, ban, placeholder key, grant; a tombstone where '
  'the user is gone. Safe to repeat; does nothing for an unknown user.';

create function keyfund.bury_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  perform from public.profiles where id = p_user_id and status <> 'deleted' for no key update;
  if not found then
    return;
  end if;
  -- With its status the wallet in LiteLLM becomes 0.
  update public.profiles set email = null, status = 'deleted', updated_at = now(), deleted_at = now()
    where id = p_user_id;
  update keyfund.signups set grant_settled = true, grant_waits_since = null where user_id = p_user_id;
  delete from public.virtual_keys where account_id = p_user_id and state = 'placeholder';
  update public.virtual_keys set state = 'revoked', revoked_at = coalesce(revoked_at, now()), name = 'Deleted'
  where account_id = p_user_id;
  perform keyfund.leave_all_teams(p_user_id);
  update public.virtual_keys set name = 'Deleted' where user_id = p_user_id and name <> 'Deleted';
end;
$$;
comment on function keyfund.bury_account(uuid) is
  'Leaves a tombstone of an account: no personal data, keys revoked, wallet 0. Ledger and transactions stay.';

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

create function keyfund.handle_changed_user() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
begin
  perform keyfund.ensure_account(new.id);
  return new;
exception when others then
  raise warning 'keyfund: account % is not up to date yet (%)', new.id, sqlstate; -- the sweep does it
  return new;
end;
$$;

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

create function keyfund.follow_users() returns void
language plpgsql set search_path = '' as $$
begin
  -- The role that applies migrations may create triggers there, but owns nothing and may drop none.
  create or replace trigger keyfund_new_user after insert on auth.users
    for each row execute function public.handle_new_user();
  create or replace trigger keyfund_changed_user
    after update of email, phone, email_confirmed_at, phone_confirmed_at, is_anonymous, deleted_at, banned_until
      on auth.users
    for each row when (
      (old.email, old.phone, old.email_confirmed_at, old.phone_confirmed_at, old.is_anonymous, old.deleted_at,
        old.banned_until)
      is distinct from
      (new.email, new.phone, new.email_confirmed_at, new.phone_confirmed_at, new.is_anonymous, new.deleted_at,
        new.banned_until))
    execute function keyfund.handle_changed_user();
  create or replace trigger keyfund_deleted_user after delete on auth.users
    for each row execute function keyfund.handle_deleted_user();
end;
$$;
comment on function keyfund.follow_users() is
  'Puts our triggers on auth.users, in place of any that are there: for an operator, where a dump left them out.';

select keyfund.follow_users();

-- ------------------------------------------------------------------ the sweep

create function keyfund.find_unlike(p_limit integer) returns table (user_id uuid, kind text)
language sql stable set search_path = '' as $$
  (select u.id, case when u.deleted_at is not null then 'closed' when a.id is null then 'opened'
      when p.email is distinct from u.email or keyfund.ban_of(u.banned_until) is not null then 'changed'
        else 'unbanned' end
    from auth.users u left join public.profiles p on p.id = u.id left join keyfund.accounts a on a.id = u.id
    where case when u.deleted_at is not null then p.status <> 'deleted'
      when p.id is null or a.id is null then coalesce(p.status <> 'deleted', true)
      else p.status <> 'deleted' and (p.email is distinct from u.email
        or p.banned_until is distinct from keyfund.ban_of(u.banned_until)) end
    limit p_limit)
  union all
  (select p.id, 'closed' from public.profiles p
    where p.status <> 'deleted' and not exists (select from auth.users u where u.id = p.id) limit p_limit)
  union all
  (select s.user_id, 'ungranted' from keyfund.signups s
    where not s.grant_settled and (s.grant_checked_at is null or s.grant_checked_at < now() - interval '10 minutes')
    order by s.grant_checked_at nulls first limit p_limit)
  union all
  (select s.user_id, 'ungranted' from keyfund.signups s
    where s.grant_waits_since is not null order by s.grant_waits_since limit p_limit);
$$;
comment on function keyfund.find_unlike(integer) is
  'Accounts that are not as their Supabase users are, and those that may be granted credits by now.';

create function public.heal_accounts(p_limit integer default 500) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_found record;
  v_done jsonb := '{"opened": 0, "changed": 0, "unbanned": 0, "closed": 0, "strays": 0}';
begin
  if exists (select from keyfund.signups where not grant_settled) or exists (
      select from auth.users u where not exists (select from keyfund.signups s where s.user_id = u.id)) then
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
      -- the others must not wait for it
      raise warning 'keyfund: account % is not up to date yet (%)', v_found.user_id, sqlstate;
    end;
  end loop;
  -- A row that somebody set back by hand, in an account that nothing is due for and that is not parked.
  for v_found in
    select distinct k.account_id from public.virtual_keys k join keyfund.pushes p on p.account_id = k.account_id
    where k.sync_status <> 'synced' and k.state <> 'placeholder' and k.refusals = 0
      and p.next_attempt_at is null and p.refusals = 0
    order by 1 limit p_limit
  loop
    perform keyfund.touch_account(v_found.account_id);
    v_done := jsonb_set(v_done, '{strays}', to_jsonb((v_done ->> 'strays')::integer + 1));
  end loop;
  return v_done;
end;
$$;
comment on function public.heal_accounts(integer) is
  'What a swallowed trigger error, a lost trigger or a hand-made change left behind, bans that are over, and '
  'grants that had to wait. Returns how many of each it mended.';

create function public.list_missing_triggers() returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(wanted.name order by wanted.place), '[]')
  from unnest(array['keyfund_new_user', 'keyfund_changed_user', 'keyfund_deleted_user']) with ordinality
    as wanted (name, place)
  where not exists (
    select from pg_catalog.pg_trigger t
    where t.tgrelid = 'auth.users'::regclass and t.tgname = wanted.name and t.tgenabled in ('O', 'A'));
$$;
comment on function public.list_missing_triggers() is
  'Which of our triggers on auth.users are lost or switched off: sign-ups, changes and deletions are then '
  'followed by the sweep alone.';

revoke all on function public.handle_new_user, public.heal_accounts, public.list_missing_triggers from public,
  anon, authenticated, service_role;
