-- Accounts, their credits and the ledger that explains every one of them.

-- ---------------------------------------------------------------- profiles

create table public.profiles (
  id uuid primary key,
  email text,
  credits bigint not null default 0,
  status text not null default 'active' constraint profiles_status_check check (status in ('active', 'suspended', 'deleted')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
comment on table public.profiles is
  'One row per Supabase user. It outlives the user, emptied of personal data, because the ledger must; so it has no foreign key to auth.users.';
comment on column public.profiles.credits is 'Sum of the account''s ledger entries, changed only together with one. May be negative after a refund.';
comment on column public.profiles.status is 'suspended: an administrator''s doing, the wallet in LiteLLM is 0. deleted: what is left of a removed user.';
comment on column public.profiles.deleted_at is 'When the user was removed. What is paid later is shown to administrators.';

alter table public.profiles enable row level security;
revoke all on public.profiles from public, anon, authenticated, service_role;
grant select on public.profiles to authenticated, service_role;
create policy "people see their own profile" on public.profiles
  for select to authenticated using ((select auth.uid()) = id);

-- ---------------------------------------------------------------- accounts

create table keyfund.accounts (
  user_id uuid primary key references public.profiles (id),
  wallet_credits bigint not null default 0,
  booked_micros bigint not null default 0,
  seen_micros bigint not null default 0,
  epoch integer not null default 0,
  epoch_at timestamptz,
  lower_micros bigint,
  revision bigint not null default 0,
  confirmed_revision bigint not null default 0,
  confirmed_at timestamptz,
  changed_at timestamptz,
  urgent boolean not null default false,
  patient boolean not null default false,
  attempts integer not null default 0,
  refusals integer not null default 0,
  next_attempt_at timestamptz,
  unsettled_until timestamptz,
  last_error text,
  lease_token uuid,
  lease_expires_at timestamptz,
  grant_settled boolean not null default false,
  grant_checked_at timestamptz
);
comment on table keyfund.accounts is
  'What we want LiteLLM to hold for an account, what it has confirmed, and who is pushing it. One lease covers the wallet and all keys.';
comment on column keyfund.accounts.wallet_credits is 'Sum of all ledger entries but usage.';
comment on column keyfund.accounts.booked_micros is 'LiteLLM spend booked so far, all time, in micro-dollars.';
comment on column keyfund.accounts.seen_micros is 'LiteLLM''s user spend when last read, in this epoch, in micro-dollars.';
comment on column keyfund.accounts.epoch is 'Raised when LiteLLM''s spend went backwards for good (restored, replaced, user recreated).';
comment on column keyfund.accounts.lower_micros is 'A spend below seen_micros that was read once; read again it starts a new epoch.';
comment on column keyfund.accounts.revision is 'Raised by every change that LiteLLM must learn of.';
comment on column keyfund.accounts.confirmed_revision is 'The revision that LiteLLM showed when it was last read. Equal to revision: synced.';
comment on column keyfund.accounts.changed_at is 'Since when LiteLLM is behind.';
comment on column keyfund.accounts.confirmed_at is 'When LiteLLM first showed the user row. Null: it was never seen there.';
comment on column keyfund.accounts.urgent is 'A block or a revocation waits: it overtakes every other push.';
comment on column keyfund.accounts.patient is 'Due only because of a change that concerns everybody: whoever is due by themselves goes first.';
comment on column keyfund.accounts.next_attempt_at is 'When the next visit is due; null: nothing to do, or parked after too many refusals.';
comment on column keyfund.accounts.unsettled_until is 'Until then a request of unknown outcome may still land: nothing counts as synced before it was read after this.';
comment on column keyfund.accounts.grant_settled is
  'The sign-up grant was given, or never will be; false while an address has to be confirmed or somebody is anonymous.';
alter table keyfund.accounts enable row level security;
-- Who may still be granted credits: what the sweep looks at, longest unchecked first.
create index accounts_ungranted_idx on keyfund.accounts (grant_checked_at nulls first) where not grant_settled;
-- What is due, urgent first and patient last: the only rows that a claim looks at.
create index accounts_due_idx on keyfund.accounts (urgent desc, patient, next_attempt_at) where next_attempt_at is not null;
-- What LiteLLM has not confirmed: the backlog.
create index accounts_unconfirmed_idx on keyfund.accounts (user_id) where revision > confirmed_revision;

create function keyfund.touch_account(p_user_id uuid, p_urgent boolean default false) returns bigint
language sql set search_path = '' as $$
  update keyfund.accounts
  set patient = coalesce(current_setting('keyfund.patient', true) = 'on', false) and (patient or next_attempt_at is null),
      changed_at = case when revision = confirmed_revision or next_attempt_at is null then now() else changed_at end,
      revision = revision + 1, urgent = urgent or p_urgent, attempts = 0, refusals = 0, next_attempt_at = now()
  where user_id = p_user_id
  returning revision;
$$;
comment on function keyfund.touch_account(uuid, boolean) is 'Something that LiteLLM must learn has changed: due now, parked or not. Returns the new revision. In a transaction with keyfund.patient on, behind those that are due by themselves.';

create function keyfund.lock_account(p_user_id uuid) returns void
language sql set search_path = '' as $$
  select from public.profiles where id = p_user_id for update;
  select from keyfund.accounts where user_id = p_user_id for update;
$$;
comment on function keyfund.lock_account(uuid) is
  'The profile first, everywhere: an account that is written twice in a transaction has its profile checked, and so locked, again.';

create function keyfund.wallet_micros(p_account keyfund.accounts) returns bigint
language sql stable set search_path = '' as $$
  select greatest(0, p_account.wallet_credits) * s.credit_value_cents * 10000 from keyfund.settings s;
$$;
comment on function keyfund.wallet_micros(keyfund.accounts) is 'All that the account was ever entitled to spend, in micro-dollars.';

create function keyfund.wallet_cents(p_account keyfund.accounts) returns integer
language sql stable set search_path = '' as $$
  select least(keyfund.wallet_micros(p_account) / 10000, 2147483647)::integer;
$$;
comment on function keyfund.wallet_cents(keyfund.accounts) is 'The cap of a key that has none of its own: the wallet, in US cents.';

create function keyfund.budget_micros(p_account keyfund.accounts) returns bigint
language sql stable set search_path = '' as $$
  -- booked and seen differ only after LiteLLM lost spend: what was spent before stays spent.
  select case when p.status = 'active'
    then greatest(0, keyfund.wallet_micros(p_account) - p_account.booked_micros + p_account.seen_micros)
    else 0 end
  from public.profiles p where p.id = p_account.user_id;
$$;
comment on function keyfund.budget_micros(keyfund.accounts) is 'The max_budget that LiteLLM''s user row must hold, in micro-dollars.';

-- ------------------------------------------------------------------ ledger

create table public.credit_ledger (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.profiles (id),
  delta bigint not null check (delta <> 0),
  kind text not null constraint credit_ledger_kind_check
    check (kind in ('signup_grant', 'purchase', 'withheld', 'usage', 'adjustment')),
  cause text not null,
  balance_after bigint not null,
  reason text,
  created_at timestamptz not null default now(),
  constraint credit_ledger_cause_key unique (cause)
);
comment on table public.credit_ledger is 'Append-only. Every credit that came or went, once per cause.';
comment on constraint credit_ledger_cause_key on public.credit_ledger is 'The same cause twice changes nothing: this is what makes a payment count once.';
create index credit_ledger_user_id_idx on public.credit_ledger (user_id, id);

alter table public.credit_ledger enable row level security;
revoke all on public.credit_ledger from public, anon, authenticated, service_role;
grant select on public.credit_ledger to authenticated, service_role;
revoke all on sequence public.credit_ledger_id_seq from public, anon, authenticated, service_role;
create policy "people see their own ledger" on public.credit_ledger
  for select to authenticated using ((select auth.uid()) = user_id);

create function keyfund.refuse_ledger_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the credit ledger is append-only';
end;
$$;
create trigger credit_ledger_is_append_only before update or delete or truncate on public.credit_ledger
  for each statement execute function keyfund.refuse_ledger_change();

create function keyfund.refuse_unexplained_credits() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- At depth 1 somebody writes profiles directly; the ledger's own trigger comes in deeper.
  if tg_op = 'INSERT' or pg_trigger_depth() < 2 then
    raise exception 'profiles.credits changes only with a ledger entry: use keyfund.append_entry()';
  end if;
  return new;
end;
$$;
create trigger profiles_credits_need_an_entry before update of credits on public.profiles
  for each row when (old.credits is distinct from new.credits)
  execute function keyfund.refuse_unexplained_credits();

create trigger profiles_begin_without_credits before insert on public.profiles
  for each row when (new.credits <> 0)
  execute function keyfund.refuse_unexplained_credits();

create function keyfund.refuse_new_credit_value() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.credit_ledger) then
    raise exception 'credit_value_cents is fixed: credits have been granted at % cents', old.credit_value_cents;
  end if;
  return new;
end;
$$;
create trigger settings_credit_value_is_fixed before update on keyfund.settings
  for each row when (old.credit_value_cents is distinct from new.credit_value_cents)
  execute function keyfund.refuse_new_credit_value();

create function keyfund.append_entry(
  p_user_id uuid, p_delta bigint, p_kind text, p_cause text, p_reason text default null
) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_balance bigint;
  v_id bigint;
begin
  -- The profile's row is the lock that puts the account's entries in a line.
  select credits into strict v_balance from public.profiles where id = p_user_id for update;
  insert into public.credit_ledger (user_id, delta, kind, cause, balance_after, reason)
  values (p_user_id, p_delta, p_kind, p_cause, v_balance + p_delta, p_reason)
  on conflict on constraint credit_ledger_cause_key do nothing
  returning id into v_id;
  return v_id;
end;
$$;
comment on function keyfund.append_entry(uuid, bigint, text, text, text) is
  'The one way to change credits. Returns the entry''s id, or null when this cause is in the ledger already.';

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
