-- The sign-up grant is no faucet: on a confirmed address, once per mailbox, so many an hour.
--
-- A mailbox has many spellings; mailbox_of() makes one of them. An identity (a mailbox, or a phone number) is used up
-- only once it is confirmed: a person who signs up with somebody else's address takes nothing from them.
-- Grants beyond the hour's ceiling wait in line, the longest waiting first, and the sweep gives them.
-- Lock order: the turn to grant, then the profile, then the account, then its keys.

alter table keyfund.settings alter column signup_needs_confirmed_email set default true;
alter table keyfund.settings add column signup_grants_per_hour integer default 50
  constraint settings_signup_grants_per_hour_check check (signup_grants_per_hour between 1 and 1000000);
comment on column keyfund.settings.signup_needs_confirmed_email is
  'Grant only on a confirmed address or phone number. Where a project confirms nothing, Supabase marks them confirmed at sign-up.';
comment on column keyfund.settings.signup_grants_per_hour is
  'How many sign-up grants are given in an hour; those beyond wait, and administrators are shown how many. Null: no ceiling.';
-- Where a project confirms nothing this changes nothing; elsewhere unconfirmed addresses were a faucet.
update keyfund.settings set signup_needs_confirmed_email = true where not signup_needs_confirmed_email;

alter table keyfund.signup_grants add column confirmed boolean not null default true;
comment on column keyfund.signup_grants.confirmed is
  'False: granted on an address that nobody has confirmed. The first who confirms the address takes the identity over.';
create index signup_grants_created_at_idx on keyfund.signup_grants (created_at);

alter table keyfund.accounts add column grant_waits_since timestamptz;
comment on column keyfund.accounts.grant_waits_since is 'Since when the sign-up grant waits for the hour''s ceiling; null: it does not.';
comment on column keyfund.accounts.grant_settled is
  'The sign-up grant was given on a confirmed address, or never will be; false while an address has to be confirmed, somebody is anonymous, or the ceiling is reached.';
create index accounts_waiting_grants_idx on keyfund.accounts (grant_waits_since) where grant_waits_since is not null;

-- ------------------------------------------------------------------ mailboxes

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
comment on function keyfund.decode_punycode(text) is 'A label of a domain in Unicode, from its ASCII form; one that is malformed stays as it is.';

create function keyfund.domain_of(p_domain text) returns text
language sql immutable strict set search_path = '' as $$
  select string_agg(case when label like 'xn--%' then keyfund.decode_punycode(substr(label, 5)) else label end, '.' order by place)
  from regexp_split_to_table(rtrim(translate(p_domain, '。｡', '..'), '.'), '\.') with ordinality as labels (label, place);
$$;
comment on function keyfund.domain_of(text) is 'A domain in Unicode, without the dot of the root.';

create function keyfund.mailbox_of(p_email text) returns text
language plpgsql immutable strict set search_path = '' as $$
declare
  v_email text := lower(normalize(btrim(p_email, E' \t\r\n'), NFKC));
  v_domain text := keyfund.domain_of(substring(v_email from '[^@]*$'));
  v_local text := left(v_email, greatest(0, length(v_email) - length(substring(v_email from '[^@]*$')) - 1));
  v_fastmail text[] := regexp_match(v_domain, '^([^.]+)\.(fastmail\.[a-z]{2,3}(\.[a-z]{2})?|fmail\.co\.uk|messagingengine\.com|sent\.(as|at|com))$');
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
  'One spelling for all addresses of one mailbox: labels, dots and second domains of the well-known providers, case, Unicode, trailing dots.';

-- ----------------------------------------------------------------- identities

create function keyfund.identity_of(p_user jsonb, p_needs_confirmed boolean, p_spell text default 'mailbox') returns text
language sql stable set search_path = '' as $$
  -- auth.users gains columns over time: those that may be missing are read by name.
  select case
    when (p_user ->> 'is_anonymous')::boolean then null
    when one.email is not null and p_user ->> 'email_confirmed_at' is not null then one.email
    when one.phone is not null and p_user ->> 'phone_confirmed_at' is not null then one.phone
    when not p_needs_confirmed then coalesce(one.email, one.phone) end
  from (
    select case when p_user ->> 'email' <> '' then case p_spell
        when 'mailbox' then keyfund.mailbox_of(p_user ->> 'email') else keyfund.normalise_email(p_user ->> 'email') end end as email,
      nullif(p_user ->> 'phone', '') as phone
  ) one;
$$;
comment on function keyfund.identity_of(jsonb, boolean, text) is
  'Who a user is to the grant: the confirmed mailbox or phone number; where none has to be confirmed, any. Null: nobody yet. p_spell before: as identities were spelt at first.';

create function keyfund.is_confirmed(p_user jsonb) returns boolean
language sql stable set search_path = '' as $$
  select keyfund.identity_of(p_user, true) is not null;
$$;

create function keyfund.hash_identity(p_identity text) returns text
language sql stable strict set search_path = '' as $$
  select encode(sha256(convert_to(s.installation_id || ':' || p_identity, 'UTF8')), 'hex') from keyfund.settings s;
$$;

-- --------------------------------------------------------------------- grants

create function keyfund.has_room_to_grant(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  -- Accounts that have waited longer are counted before this one.
  select s.signup_grants_per_hour is null or s.signup_grants_per_hour > (
      select count(*) from (
        select from keyfund.signup_grants where created_at > now() - interval '1 hour' limit s.signup_grants_per_hour) given)
    + (select count(*) from (
        select from keyfund.accounts a
        where a.user_id <> p_user_id and a.grant_waits_since < coalesce(
          (select own.grant_waits_since from keyfund.accounts own where own.user_id = p_user_id), now())
        limit s.signup_grants_per_hour) waiting)
  from keyfund.settings s;
$$;

create function keyfund.take_turn_to_grant(p_user auth.users) returns void
language plpgsql set search_path = '' as $$
begin
  -- One grant at a time, or parallel sign-ups would all be the last below the ceiling. Whoever holds a profile already
  -- must not wait here; those that are settled, which is nearly everybody, do not.
  if keyfund.identity_of(to_jsonb(p_user), (select signup_needs_confirmed_email from keyfund.settings)) is not null
      and not exists (select from keyfund.accounts where user_id = p_user.id and grant_settled) then
    perform pg_advisory_xact_lock(hashtextextended('keyfund.signup_grants', 0));
  end if;
end;
$$;

create or replace function keyfund.grant_signup_credits(p_user auth.users) returns void
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
  v_hash_before := keyfund.hash_identity(keyfund.identity_of(v_user, v_settings.signup_needs_confirmed_email, 'before'));
  if v_settings.signup_credits = 0 then
    update keyfund.accounts set grant_settled = true, grant_waits_since = null where user_id = p_user.id;
    return;
  elsif v_hash is null then
    update keyfund.accounts set grant_waits_since = null where user_id = p_user.id and grant_waits_since is not null;
    return; -- nothing is confirmed yet, or an anonymous person has not converted
  elsif exists (
      select from keyfund.signup_grants g
      where g.identity_hash in (v_hash, v_hash_before) and g.user_id <> p_user.id and (g.confirmed or not v_confirmed)) then
    update keyfund.accounts set grant_settled = v_confirmed, grant_waits_since = null where user_id = p_user.id;
    return; -- somebody with this identity has it; while it is not confirmed it may still become this one's
  elsif not exists (select from public.credit_ledger where cause = v_cause) and not keyfund.has_room_to_grant(p_user.id) then
    update keyfund.accounts set grant_waits_since = coalesce(grant_waits_since, now()) where user_id = p_user.id;
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
  update keyfund.accounts set grant_settled = v_confirmed, grant_waits_since = null where user_id = p_user.id;
end;
$$;
comment on function keyfund.grant_signup_credits(auth.users) is
  'Grants credits once per identity and user, within the hour''s ceiling. Safe to repeat: what is not settled is looked at again.';

-- ------------------------------------------------------------ what was before

update keyfund.signup_grants g set confirmed = false
from auth.users u where u.id = g.user_id and not keyfund.is_confirmed(to_jsonb(u));

-- Accounts that were granted on an unconfirmed address are looked at again, and so are those that confirmed it since.
update keyfund.accounts a set grant_settled = false, grant_checked_at = null
where exists (select from keyfund.signup_grants g where g.user_id = a.user_id and not g.confirmed);
update keyfund.accounts a set grant_settled = false, grant_checked_at = null
from auth.users u
where u.id = a.user_id and a.grant_settled and keyfund.is_confirmed(to_jsonb(u))
  and not exists (select from public.credit_ledger l where l.cause = 'signup_grant:' || a.user_id)
  and exists (
    select from keyfund.signup_grants g
    where not g.confirmed and g.identity_hash = keyfund.hash_identity(keyfund.identity_of(to_jsonb(u), true, 'before')));

-- A mailbox under its new spelling, where the address that was granted is known still.
insert into keyfund.signup_grants (identity_hash, user_id, created_at, confirmed)
select keyfund.hash_identity(keyfund.mailbox_of(u.email)), g.user_id, g.created_at, g.confirmed
from keyfund.signup_grants g join auth.users u on u.id = g.user_id
where u.email <> '' and keyfund.mailbox_of(u.email) <> keyfund.normalise_email(u.email)
  and g.identity_hash = keyfund.hash_identity(keyfund.normalise_email(u.email))
order by g.created_at
on conflict (identity_hash) do nothing;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
