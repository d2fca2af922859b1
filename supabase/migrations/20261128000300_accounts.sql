-- Profiles and accounts: who somebody is, what they may spend, and what LiteLLM shall hold for them.
--
-- An account is suspended for up to two reasons: profiles.suspended_at, an administrator's, and
-- profiles.banned_until, the ban's in Supabase. profiles.status follows from them; neither lifts the other.
-- Whoever writes status speaks for the administrators.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ------------------------------------------------------------------- profiles

create table public.profiles (
  id uuid primary key,
  email text,
  credits bigint not null default 0,
  status text not null default 'active'
    constraint profiles_status_check check (status in ('active', 'suspended', 'deleted')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  suspended_at timestamptz,
  banned_until timestamptz
);
comment on table public.profiles is
  'One row per Supabase user. It outlives the user, emptied of personal data, because the ledger must; so it has '
  'no foreign key to auth.users.';
comment on column public.profiles.credits is
  'Sum of the account''s ledger entries, changed only together with one. May be negative after a refund.';
comment on column public.profiles.status is
  'suspended: an administrator says so (suspended_at), or a ban in Supabase lasts (banned_until); the wallet in '
  'LiteLLM is 0 and the keys are blocked. deleted: what is left of a removed user.';
comment on column public.profiles.deleted_at is
  'When the user was removed. What is paid later is shown to administrators.';
comment on column public.profiles.suspended_at is
  'Since when an administrator suspends the account; null: none does.';
comment on column public.profiles.banned_until is
  'Until when the user is banned in Supabase; null: they are not. The sweep ends it.';
alter table public.profiles enable row level security;
revoke all on public.profiles from public, anon, authenticated, service_role;
grant select on public.profiles to authenticated, service_role;
create policy "people see their own profile" on public.profiles
  for select to authenticated using ((select auth.uid()) = id);
-- What waits for a person.
create index profiles_deleted_idx on public.profiles (id) where status = 'deleted';
-- How administrators find an account.
-- Text patterns: what begins with a prefix is one stretch of it, whatever the database's collation.
create index profiles_email_prefix_idx on public.profiles (email text_pattern_ops);
create index profiles_created_at_idx on public.profiles (created_at, id);
create index profiles_banned_until_idx on public.profiles (banned_until) where banned_until is not null;

-- ------------------------------------------------------------------- accounts
-- An account is one wallet and one user in LiteLLM, which has the account's id. Everybody has a personal account
-- whose id is their user's.

create table keyfund.accounts (
  id uuid primary key,
  kind text not null constraint accounts_kind_check check (kind in ('personal', 'team')),
  created_at timestamptz not null default now()
);
comment on table keyfund.accounts is 'What all that is kept of an account refers to. No row is ever changed.';
alter table keyfund.accounts enable row level security;

create table keyfund.wallets (
  account_id uuid primary key references keyfund.accounts (id),
  wallet_credits bigint not null default 0,
  booked_micros bigint not null default 0,
  seen_micros bigint not null default 0,
  epoch integer not null default 0,
  epoch_at timestamptz,
  lower_micros bigint
);
comment on table keyfund.wallets is 'What an account was given to spend, and what LiteLLM showed as spent.';
comment on column keyfund.wallets.wallet_credits is 'Sum of all ledger entries but usage.';
comment on column keyfund.wallets.booked_micros is 'LiteLLM spend booked so far, all time, in micro-dollars.';
comment on column keyfund.wallets.seen_micros is
  'LiteLLM''s user spend when last read, in this epoch, in micro-dollars.';
comment on column keyfund.wallets.epoch is
  'Raised when LiteLLM''s spend went backwards for good (restored, replaced, user recreated).';
comment on column keyfund.wallets.lower_micros is
  'A spend below seen_micros that was read once; read again it starts a new epoch.';
alter table keyfund.wallets enable row level security;

create table keyfund.pushes (
  account_id uuid primary key references keyfund.accounts (id),
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
  calm_at timestamptz,
  claimed_at timestamptz
);
comment on table keyfund.pushes is
  'What LiteLLM must learn of an account, what it has confirmed, and who is pushing it. One lease covers the '
  'wallet and all keys.';
comment on column keyfund.pushes.revision is 'Raised by every change that LiteLLM must learn of.';
comment on column keyfund.pushes.confirmed_revision is
  'The revision that LiteLLM showed when it was last read. Equal to revision: synced.';
comment on column keyfund.pushes.confirmed_at is
  'When LiteLLM first showed the user row. Null: it was never seen there.';
comment on column keyfund.pushes.changed_at is 'Since when LiteLLM is behind.';
comment on column keyfund.pushes.urgent is 'A block or a revocation waits: it overtakes every other push.';
comment on column keyfund.pushes.patient is
  'Due only because of a change that concerns everybody: whoever is due by themselves goes first.';
comment on column keyfund.pushes.next_attempt_at is
  'When the next visit is due; null: nothing to do, or parked after too many refusals.';
comment on column keyfund.pushes.unsettled_until is
  'Until then a request of unknown outcome may still land: nothing counts as synced before it was read after '
  'this.';
comment on column keyfund.pushes.calm_at is
  'Each change that somebody makes to keys moves it on by ten seconds; more than half a minute ahead, the '
  'account is restless.';
comment on column keyfund.pushes.claimed_at is 'When the account was last leased for a push.';
alter table keyfund.pushes enable row level security;
-- What LiteLLM has not confirmed: the backlog.
create index pushes_unconfirmed_idx on keyfund.pushes (account_id) where revision > confirmed_revision;
-- What is due, by class and turn: the only rows that a claim looks at.
create index pushes_turn_idx on keyfund.pushes (urgent, patient, greatest(next_attempt_at, calm_at))
  where next_attempt_at is not null;
create index pushes_claimed_idx on keyfund.pushes (claimed_at) where lease_token is not null;

create function keyfund.make_account(p_account_id uuid, p_kind text) returns void
language sql set search_path = '' as $$
  insert into keyfund.accounts (id, kind) values (p_account_id, p_kind) on conflict (id) do nothing;
  insert into keyfund.wallets (account_id) values (p_account_id) on conflict (account_id) do nothing;
  insert into keyfund.pushes (account_id) values (p_account_id) on conflict (account_id) do nothing;
$$;
comment on function keyfund.make_account(uuid, text) is 'Makes what is missing of an account. Safe to repeat.';

create function keyfund.hold_account(p_account_id uuid) returns void
language sql set search_path = '' as $$
  select from public.profiles where id = p_account_id for no key update;
  select from public.teams where id = p_account_id for no key update;
$$;
comment on function keyfund.hold_account(uuid) is
  'The first lock of all that changes an account: the row with its credits.';

create function keyfund.lock_account(p_account_id uuid) returns void
language sql set search_path = '' as $$
  select keyfund.hold_account(p_account_id);
  select from keyfund.wallets where account_id = p_account_id for no key update;
  select from keyfund.pushes where account_id = p_account_id for no key update;
$$;
comment on function keyfund.lock_account(uuid) is 'Whoever goes on to change keys has the account before them.';

create function keyfund.touch_account(p_account_id uuid, p_urgent boolean default false) returns bigint
language sql set search_path = '' as $$
  update keyfund.pushes
  set patient = coalesce(current_setting('keyfund.patient', true) = 'on', false)
    and (patient or next_attempt_at is null),
      changed_at = case when revision = confirmed_revision or next_attempt_at is null then now() else changed_at end,
      revision = revision + 1, urgent = urgent or p_urgent, attempts = 0, refusals = 0, next_attempt_at = now()
  where account_id = p_account_id
  returning revision;
$$;
comment on function keyfund.touch_account(uuid, boolean) is
  'Something that LiteLLM must learn has changed: due now, parked or not. Returns the new revision. In a '
  'transaction with keyfund.patient on, behind those that are due by themselves.';

create function keyfund.wallet_micros(p_wallet keyfund.wallets) returns bigint
language sql stable set search_path = '' as $$
  select greatest(0, p_wallet.wallet_credits) * s.credit_value_cents * 10000 from keyfund.settings s;
$$;
comment on function keyfund.wallet_micros(keyfund.wallets) is
  'All that the account was ever entitled to spend, in micro-dollars.';

create function keyfund.wallet_cents(p_wallet keyfund.wallets) returns integer
language sql stable set search_path = '' as $$
  select least(keyfund.wallet_micros(p_wallet) / 10000, 2147483647)::integer;
$$;
comment on function keyfund.wallet_cents(keyfund.wallets) is
  'The cap of a key that has none of its own: the wallet, in US cents.';

create function keyfund.budget_micros(p_wallet keyfund.wallets) returns bigint
language sql stable set search_path = '' as $$
  -- booked and seen differ only after LiteLLM lost spend: what was spent before stays spent.
  select case when keyfund.is_suspended(p_wallet.account_id) then 0
    else greatest(0, keyfund.wallet_micros(p_wallet) - p_wallet.booked_micros + p_wallet.seen_micros) end;
$$;
comment on function keyfund.budget_micros(keyfund.wallets) is
  'The max_budget that LiteLLM''s user row must hold, in micro-dollars.';

-- --------------------------------------------------------------------- status

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

create function keyfund.status_of(p_account_id uuid) returns text
language sql stable set search_path = '' as $$
  select p.status from public.profiles p where p.id = p_account_id
  union all
  select t.status from public.teams t where t.id = p_account_id;
$$;

create function keyfund.is_suspended(p_account_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select keyfund.status_of(p_account_id) <> 'active';
$$;
comment on function keyfund.is_suspended(uuid) is
  'Whether all keys of the account must be blocked in LiteLLM, whatever their owners want; a deleted account, '
  'too.';

create function keyfund.is_gone(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from auth.users where id = p_user_id and deleted_at is not null)
    or exists (
      select from public.profiles p
      where p.id = p_user_id and (p.status = 'deleted' or not exists (select from auth.users u where u.id = p.id)));
$$;
comment on function keyfund.is_gone(uuid) is
  'Whether a user was deleted, softly or not: asked of Supabase itself, because a token outlives its user and a '
  'trigger may have failed.';

create function keyfund.refuse_gone(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if keyfund.is_gone(p_user_id) then
    perform keyfund.refuse('account_deleted');
  end if;
end;
$$;

create function keyfund.push_status(p_account_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_revision bigint := keyfund.touch_account(p_account_id, true);
begin
  update public.virtual_keys
  set revision = v_revision, sync_status = 'pending', next_attempt_at = now(), last_error = null, attempts = 0,
    refusals = 0
  where account_id = p_account_id and state = 'active';
  update public.virtual_keys set sync_status = 'pending', next_attempt_at = now()
  where account_id = p_account_id and state = 'blocked'; -- they are blocked either way, and wait for the wallet alone
end;
$$;
comment on function keyfund.push_status(uuid) is
  'Has an account whose status changed pushed before all others: its live keys blocked or unblocked, its wallet 0 '
  'or what it was.';

create function keyfund.follow_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  if old.status <> new.status then
    perform keyfund.push_status(new.id);
  end if;
  if new.status = 'deleted' then
    perform keyfund.note('account_deleted', new.id);
    return null;
  end if;
  if old.status <> new.status then
    perform keyfund.follow_holder(new.id, new.status);
  end if;
  if (old.suspended_at is null) <> (new.suspended_at is null) then
    perform keyfund.note(case when new.suspended_at is null then 'account_reinstated' else 'account_suspended' end,
      new.id);
  end if;
  if old.banned_until is distinct from new.banned_until then
    perform keyfund.note(case when new.banned_until is null then 'account_unbanned' else 'account_banned' end, new.id,
      null,
      jsonb_build_object('until', new.banned_until));
  end if;
  return null;
end;
$$;
comment on function keyfund.follow_status() is
  'Suspended or back: LiteLLM learns of it before anything else is pushed; each reason is written down by itself.';
create trigger profiles_status_is_followed after update on public.profiles
  for each row when (old.status <> 'deleted'
    and (old.status, old.suspended_at, old.banned_until) is distinct
      from (new.status, new.suspended_at, new.banned_until))
  execute function keyfund.follow_status();

create function keyfund.check_open(p_account_id uuid) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_status text := keyfund.status_of(p_account_id);
begin
  if v_status is null or v_status = 'deleted' then
    perform keyfund.refuse('account_deleted');
  elsif v_status = 'suspended' then
    perform keyfund.refuse('account_suspended');
  end if;
end;
$$;

create function keyfund.open_account(
  p_user_id uuid, p_account_id uuid default null, p_least_role text default 'member'
) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_account_id uuid := coalesce(p_account_id, p_user_id);
begin
  if p_user_id is null then
    perform keyfund.refuse('not_signed_in');
  end if;
  perform keyfund.ensure_account(p_user_id); -- heals an account whose trigger failed at sign-up
  perform keyfund.lock_account(p_user_id);
  perform keyfund.check_open(p_user_id);
  if v_account_id <> p_user_id then
    perform keyfund.lock_account(v_account_id);
    perform keyfund.check_role(v_account_id, p_user_id, p_least_role);
    perform keyfund.check_open(v_account_id);
  end if;
  return v_account_id;
end;
$$;
comment on function keyfund.open_account(uuid, uuid, text) is
  'Locks a person and the account that they act in, null: their own; or says why they may do nothing there.';

-- ------------------------------------------------------------ restless owners

create function keyfund.stir_account() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- The account is locked already by whoever writes this down.
  update keyfund.pushes
  set calm_at = least(greatest(calm_at, now()) + interval '10 seconds', now() + interval '2 minutes')
  where account_id = new.account_id;
  return null;
end;
$$;
create trigger audit_log_stirs_the_account after insert on public.audit_log
  for each row
    when (new.actor in ('owner', 'member') and new.key_id is not null) execute function keyfund.stir_account();

create function keyfund.note_claim() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.claimed_at := now();
  return new;
end;
$$;
create trigger pushes_claims_are_noted before update of lease_token on keyfund.pushes
  for each row when (new.lease_token is not null and new.lease_token is distinct from old.lease_token)
  execute function keyfund.note_claim();

create function keyfund.is_restless(p_push keyfund.pushes) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(p_push.calm_at > now() + interval '30 seconds', false);
$$;
