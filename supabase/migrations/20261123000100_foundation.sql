-- Keyfund's private room. Nothing in it is exposed over REST: API roles have no usage on the schema,
-- and reach it only through the functions in "public" that are made for them.
create schema keyfund;
revoke all on schema keyfund from public;

-- ---------------------------------------------------------------- settings

create table keyfund.settings (
  id boolean primary key default true check (id),
  installation_id uuid not null default gen_random_uuid(),
  credit_value_cents integer not null default 2 check (credit_value_cents between 1 and 100000),
  signup_credits integer not null default 500 check (signup_credits >= 0),
  signup_needs_confirmed_email boolean not null default false,
  key_budget_duration text not null default '30d',
  key_rpm_limit integer not null default 100 check (key_rpm_limit > 0),
  key_tpm_limit integer not null default 10000 check (key_tpm_limit > 0),
  keys_per_account integer not null default 1000 check (keys_per_account > 0),
  open_orders_per_hour integer not null default 20 check (open_orders_per_hour > 0),
  provision_at_signup boolean not null default false,
  most_rpm_limit integer check (most_rpm_limit > 0),
  most_tpm_limit integer check (most_tpm_limit > 0),
  most_max_budget integer check (most_max_budget >= 0),
  allowed_models text[] check (cardinality(allowed_models) > 0),
  account_rpm_limit integer check (account_rpm_limit > 0),
  account_tpm_limit integer check (account_tpm_limit > 0),
  parking_refusals integer not null default 5 check (parking_refusals > 0)
);
comment on table keyfund.settings is 'One row: what an operator may set. Change it with SQL; the processes read it through functions.';
comment on column keyfund.settings.installation_id is 'Marks our keys in a LiteLLM shared with others, and salts the hashes of e-mail addresses.';
comment on column keyfund.settings.credit_value_cents is 'US cents of LiteLLM usage that one credit buys. Fixed at the first ledger entry.';
comment on column keyfund.settings.signup_credits is 'Credits granted once per person; 0 grants none.';
comment on column keyfund.settings.open_orders_per_hour is 'How many orders an account may open in an hour without paying them.';
comment on column keyfund.settings.provision_at_signup is 'Make a working key at sign-up instead of a placeholder.';
comment on column keyfund.settings.most_rpm_limit is 'Ceilings for a key''s limits (requests and tokens per minute, US cents per period); null: none.';
comment on column keyfund.settings.allowed_models is 'The only models that keys may use; null: all that LiteLLM offers.';
comment on column keyfund.settings.account_rpm_limit is 'Limits of an account over all of its keys together; null: none.';
comment on column keyfund.settings.parking_refusals is 'How often LiteLLM may refuse one thing before it waits for a person. Outages never count.';
alter table keyfund.settings enable row level security;
insert into keyfund.settings default values;

-- ----------------------------------------------------------- administrators

create table keyfund.administrators (
  user_id uuid primary key,
  created_at timestamptz not null default now()
);
comment on table keyfund.administrators is 'Who is asked on each call. No API role can write it: an operator adds a row with SQL.';
alter table keyfund.administrators enable row level security;

create function public.is_administrator() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from keyfund.administrators where user_id = (select auth.uid()));
$$;
comment on function public.is_administrator() is 'Whether the caller is listed in keyfund.administrators now.';
revoke all on function public.is_administrator() from public, anon, authenticated, service_role;
grant execute on function public.is_administrator() to authenticated;

-- ------------------------------------------------------------------ refusals

create function keyfund.refuse(p_status integer, p_code text, p_message text) returns void
language plpgsql set search_path = '' as $$
begin
  -- PostgREST turns PTnnn into that HTTP status; the code goes where clients can match it.
  raise exception using errcode = 'PT' || p_status, message = p_message, detail = p_code;
end;
$$;
comment on function keyfund.refuse(integer, text, text) is 'Says no: an HTTP status, a code that never changes, a sentence for a person.';

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
