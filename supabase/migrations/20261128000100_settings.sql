-- What everything else stands on: the closed schema, the settings, and who administers.
--
-- KEYFUND IN THE DATABASE
--
-- A person signs up at Supabase and gets an account; teams have accounts, too. An account has a ledger of credits,
-- and a wallet: what LiteLLM may let it spend. The wallet and the account's keys are pushed to LiteLLM, whose spend
-- comes back as usage. Credits are bought at a payment provider: Paystack.
--
--   auth.users -> profiles, accounts <- credit_ledger <- transactions <- events
--                        |    ^                               |
--                        v    usage                         orders
--         wallets, virtual_keys, pushed together to LiteLLM
--
-- Read the files in their order:
--   preflight       what must not be there before
--   settings        what an operator may set, and who administers
--   refusals        every way to say no
--   audit           who did what, and how often in an hour they may
--   accounts        profiles, accounts with their wallets and pushes, and whether they are suspended
--   teams           accounts that several people share: members, roles, invitations
--   ledger          each credit that came or went, and the balance
--   gateways        whether LiteLLM and Paystack answer: the breaker
--   work            what is due, which worker looks for it, and chores: what recurs
--   routes          what keys may call in LiteLLM
--   keys            what is wanted of keys, and what LiteLLM has confirmed
--   own_keys        what owners do with their keys
--   strings         rotation, and the cap over all strings of a key
--   sign_up         from a Supabase user to an account and its grant
--   packages        what is on sale, and what a sale leaves after cost and fee
--   payments        orders, their attempts, credited payments
--   inbox           the providers' events
--   reversals       refunds and disputes
--   receipts        what a payment was for
--   sync            claim an account, push it, finish
--   resync          what failed, pushed once more
--   usage           what was spent: booked, and kept by day
--   books           whether all books agree
--   drift           whether LiteLLM holds what we want
--   administration  what administrators see and decide
--   concerns        what waits for a person, and how everything stands
--   takeover        balances and payments of before Keyfund
--   grants          which role may call which function
--
-- Two schemas: "public" holds what PostgREST serves; "keyfund" is closed, and reached only through functions.
-- Functions that change something are "security definer" with an empty search_path, and check their caller first.
-- Each file takes the right to call its functions from everybody; the last one gives it, role by role.
--
-- Lock order, everywhere: the turn to grant, the profile, the team, the wallet, the push, the keys, the
-- transactions; several teams by their ids. Rows that others refer to are locked "for no key update", which no
-- foreign key's check waits for. Events and gateways are never waited for while an account is held. Orders, rates
-- and ledger entries are never changed, so nobody waits for them.

set local check_function_bodies = off; -- a function may name what a later file makes

create schema keyfund;
revoke all on schema keyfund from public;

-- ------------------------------------------------------------------- settings

create function keyfund.are_names(p_names text[]) returns boolean
language sql immutable set search_path = '' as $$
  select cardinality(p_names) > 0 and array_ndims(p_names) = 1 and not exists (
    select from unnest(p_names) name
    where (name ~ '^\S([^[:cntrl:]]*\S)?$' and name !~ '[[:cntrl:]]' and length(name) <= 256) is not true);
$$;
comment on function keyfund.are_names(text[]) is
  'Whether this is a list of at least one name, and each is written without spaces around it; null: unknown.';

create table keyfund.settings (
  id boolean primary key default true check (id),
  installation_id uuid not null default gen_random_uuid(),
  -- money
  credit_value_cents integer not null default 2
    constraint settings_credit_value_cents_check check (credit_value_cents between 1 and 100000),
  open_orders_per_hour integer not null default 20
    constraint settings_open_orders_per_hour_check check (open_orders_per_hour between 1 and 1000000),
  large_adjustment_credits bigint not null default 10000
    constraint settings_large_adjustment_credits_check check (large_adjustment_credits between 1 and 1000000000),
  -- the sign-up grant
  signup_credits integer not null default 500
    constraint settings_signup_credits_check check (signup_credits between 0 and 1000000000),
  signup_needs_confirmed_email boolean not null default true,
  signup_grants_per_hour integer default 50
    constraint settings_signup_grants_per_hour_check check (signup_grants_per_hour between 1 and 1000000),
  provision_at_signup boolean not null default false,
  -- what a new key is
  -- The same as a key's own check: what is set here is copied there.
  key_budget_duration text not null default '30d'
    constraint settings_key_budget_duration_check check (key_budget_duration ~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$'),
  key_rpm_limit integer not null default 100
    constraint settings_key_rpm_limit_check check (key_rpm_limit > 0),
  key_tpm_limit integer not null default 10000
    constraint settings_key_tpm_limit_check check (key_tpm_limit > 0),
  key_max_parallel integer not null default 10
    constraint settings_key_max_parallel_check check (key_max_parallel between 1 and 1000),
  -- A key without any route in LiteLLM may call all of them. Which names there are is checked in routes.
  open_routes text[] not null default '{chat,completions,embeddings}'
    constraint settings_open_routes_check check (keyfund.are_names(open_routes)),
  -- ceilings
  keys_per_account integer not null default 20
    constraint settings_keys_per_account_check check (keys_per_account between 1 and 1000000),
  most_rpm_limit integer constraint settings_most_rpm_limit_check check (most_rpm_limit > 0),
  most_tpm_limit integer constraint settings_most_tpm_limit_check check (most_tpm_limit > 0),
  most_max_budget integer constraint settings_most_max_budget_check check (most_max_budget >= 0),
  allowed_models text[] constraint settings_allowed_models_check check (keyfund.are_names(allowed_models)),
  account_rpm_limit integer constraint settings_account_rpm_limit_check check (account_rpm_limit > 0),
  account_tpm_limit integer constraint settings_account_tpm_limit_check check (account_tpm_limit > 0),
  account_max_parallel integer not null default 20
    constraint settings_account_max_parallel_check check (account_max_parallel between 1 and 1000),
  -- how often in an hour a person may do what they could repeat without end
  key_creations_per_hour integer default 100
    constraint settings_key_creations_per_hour_check check (key_creations_per_hour between 1 and 1000000),
  key_rotations_per_hour integer default 60
    constraint settings_key_rotations_per_hour_check check (key_rotations_per_hour between 1 and 1000000),
  key_changes_per_hour integer default 120
    constraint settings_key_changes_per_hour_check check (key_changes_per_hour between 1 and 1000000),
  key_unblocks_per_hour integer default 60
    constraint settings_key_unblocks_per_hour_check check (key_unblocks_per_hour between 1 and 1000000),
  key_resyncs_per_hour integer default 60
    constraint settings_key_resyncs_per_hour_check check (key_resyncs_per_hour between 1 and 1000000),
  team_creations_per_hour integer default 10
    constraint settings_team_creations_per_hour_check check (team_creations_per_hour between 1 and 1000000),
  invitations_per_hour integer default 60
    constraint settings_invitations_per_hour_check check (invitations_per_hour between 1 and 1000000),
  -- work and retention
  parking_refusals integer not null default 5
    constraint settings_parking_refusals_check check (parking_refusals between 1 and 1000),
  spend_settles_seconds integer not null default 30
    constraint settings_spend_settles_seconds_check check (spend_settles_seconds between 1 and 3600),
  nightly_at time not null default '03:00'
    constraint settings_nightly_at_check check (nightly_at < '24:00'),
  redact_events_after_days integer not null default 30
    constraint settings_redact_events_after_days_check check (redact_events_after_days between 1 and 36500),
  keep_revoked_days integer not null default 30
    constraint settings_keep_revoked_days_check check (keep_revoked_days between 1 and 36500)
);
comment on table keyfund.settings is
  'One row: what an operator may set. Change it with SQL; the processes read it through functions.';
comment on column keyfund.settings.installation_id is
  'Marks our keys in a LiteLLM shared with others, and salts the hashes of e-mail addresses.';
comment on column keyfund.settings.credit_value_cents is
  'US cents of LiteLLM usage that one credit buys. Fixed at the first ledger entry.';
comment on column keyfund.settings.open_orders_per_hour is
  'How many orders a person may open in an hour without paying them.';
comment on column keyfund.settings.large_adjustment_credits is
  'An adjustment of so many credits, either way, is shown among the concerns for 30 days.';
comment on column keyfund.settings.signup_credits is 'Credits granted once per person; 0 grants none.';
comment on column keyfund.settings.signup_needs_confirmed_email is
  'Grant only on a confirmed address or phone number. Where a project confirms nothing, Supabase marks them '
  'confirmed at sign-up.';
comment on column keyfund.settings.signup_grants_per_hour is
  'How many sign-up grants are given in an hour; those beyond wait, and administrators are shown how many. Null: '
  'no ceiling.';
comment on column keyfund.settings.provision_at_signup is 'Make a working key at sign-up instead of a placeholder.';
comment on column keyfund.settings.key_budget_duration is
  'The period of a new key''s cap, as LiteLLM writes it: a number and s, m, h, d or w, or 1mo.';
comment on column keyfund.settings.key_max_parallel is
  'Calls that a key may have in flight: LiteLLM''s max_parallel_requests.';
comment on column keyfund.settings.open_routes is
  'The routes that keys may call, by name. A name beyond chat, completions and embeddings needs a proof of the '
  'doctor''s.';
comment on column keyfund.settings.keys_per_account is
  'Active and blocked keys together. Accounts that have more keep them, and make no new one.';
comment on column keyfund.settings.most_rpm_limit is
  'Ceilings for a key''s limits (requests and tokens per minute, US cents per key_budget_duration); null: none.';
comment on column keyfund.settings.most_max_budget is
  'Where it is set, no key''s cap begins anew more often than key_budget_duration.';
comment on column keyfund.settings.allowed_models is
  'The only models that keys may use; null: all that LiteLLM offers. A name with an asterisk stands for many. '
  'Owners choose among them.';
comment on column keyfund.settings.account_rpm_limit is
  'Limits of an account over all of its keys together; null: none.';
comment on column keyfund.settings.account_max_parallel is
  'Calls that an account may have in flight over all of its keys. The guard in LiteLLM holds it; without the '
  'guard nothing does.';
comment on column keyfund.settings.key_creations_per_hour is
  'How many keys a person may make in an hour, revoked ones included; as with the others, null: any number.';
comment on column keyfund.settings.key_unblocks_per_hour is
  'How often a person may unblock keys in an hour, and so block them again.';
comment on column keyfund.settings.invitations_per_hour is
  'How many people one person may invite into teams in an hour: each gets a mail.';
comment on column keyfund.settings.parking_refusals is
  'How often LiteLLM may refuse one thing before it waits for a person. Outages never count.';
comment on column keyfund.settings.spend_settles_seconds is
  'After so many seconds LiteLLM shows all that a string had spent: its proxy_batch_write_at, and some more. '
  'Rotations of keys with a cap of their own wait for it.';
comment on column keyfund.settings.nightly_at is 'When the nightly reconciliation begins, in UTC.';
comment on column keyfund.settings.redact_events_after_days is
  'After so many days a handled event keeps its name, reference and amounts; card authorisations and personal '
  'data go.';
comment on column keyfund.settings.keep_revoked_days is
  'So many days after a revoked key was deleted from LiteLLM its row goes. The audit log and the usage by day '
  'stay.';
alter table keyfund.settings enable row level security;

insert into keyfund.settings default values;

-- --------------------------------------------- administrators, and who asks

create table keyfund.administrators (
  user_id uuid primary key,
  created_at timestamptz not null default now()
);
comment on table keyfund.administrators is
  'Who is asked on each call. No API role can write it: an operator adds a row with SQL.';
alter table keyfund.administrators enable row level security;

create function public.is_administrator() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from keyfund.administrators where user_id = (select auth.uid()))
    and not keyfund.is_gone((select auth.uid()))
    and not exists (select from auth.users where id = (select auth.uid()) and banned_until > now());
$$;
comment on function public.is_administrator() is
  'Whether the caller is listed in keyfund.administrators now, and neither deleted nor banned in Supabase.';

create function public.own_accounts(least_role text default 'member') returns setof uuid
language sql stable security definer set search_path = '' as $$
  select (select auth.uid()) where (select auth.uid()) is not null
  union all
  select m.account_id from public.members m
  where m.user_id = (select auth.uid()) and keyfund.rank(m.role) >= keyfund.rank(own_accounts.least_role);
$$;
comment on function public.own_accounts(text) is
  'The accounts in which the caller is at least that: their personal one, of which they are the owner, and teams.';

create function keyfund.check_administrator() returns void
language plpgsql set search_path = '' as $$
begin
  if not public.is_administrator() then
    perform keyfund.refuse('not_an_administrator');
  end if;
  perform set_config('keyfund.administrator', (select auth.uid())::text, true);
end;
$$;
comment on function keyfund.check_administrator() is
  'Refuses everybody else. What the caller does in this transaction is then written down as an administrator''s '
  'doing.';

-- --------------------------------------------------- what functions are asked

create function keyfund.page_size(p_size integer) returns integer
language plpgsql immutable set search_path = '' as $$
begin
  -- Cut down in silence, a page would look like the last one to whoever counts its rows.
  if p_size is null or p_size not between 1 and 200 then
    perform keyfund.refuse('invalid_page_size');
  end if;
  return p_size;
end;
$$;
comment on function keyfund.page_size(integer) is 'How many rows a page has. A page with fewer is the last one.';

create function keyfund.is_no_text(p_text text) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(json_typeof(p_text::json) in ('array', 'object'), false);
exception when invalid_text_representation then
  return false;
end;
$$;
comment on function keyfund.is_no_text(text) is
  'Whether a text is a JSON list or object: what a caller gives who means no text. A number is a name like any '
  'other.';

create function keyfund.today() returns date
language sql stable set search_path = '' as $$
  select (now() at time zone 'UTC')::date;
$$;

create function keyfund.price_text(p_amount numeric, p_currency text) returns text
language sql immutable set search_path = '' as $$
  select p_currency || ' ' || to_char(p_amount / 100, 'FM999,999,999,999,990.00');
$$;

revoke all on function public.is_administrator, public.own_accounts from public, anon, authenticated, service_role;
