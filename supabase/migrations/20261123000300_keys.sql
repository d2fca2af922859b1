-- LiteLLM keys: what their owners want of them, and what LiteLLM has confirmed.

create table public.virtual_keys (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.profiles (id),
  name text not null default 'Key' constraint virtual_keys_name_check check (length(name) between 1 and 100),
  litellm_key_id text constraint virtual_keys_litellm_key_id_key unique
    constraint virtual_keys_litellm_key_id_check check (litellm_key_id ~ '^sk-[A-Za-z0-9_-]{13,97}$'),
  key_hash text constraint virtual_keys_key_hash_key unique,
  key_preview text,
  state text not null default 'active'
    constraint virtual_keys_state_check check (state in ('placeholder', 'active', 'blocked', 'revoked')),
  blocked_by text constraint virtual_keys_blocked_by_check check (blocked_by in ('owner', 'administrator')),
  cap text constraint virtual_keys_cap_check check (cap in ('wallet', 'fixed')),
  max_budget integer constraint virtual_keys_max_budget_check check (max_budget >= 0),
  budget_duration text default '30d'
    constraint virtual_keys_budget_duration_check check (budget_duration ~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$'),
  rpm_limit integer default 100 constraint virtual_keys_rpm_limit_check check (rpm_limit > 0),
  tpm_limit integer default 10000 constraint virtual_keys_tpm_limit_check check (tpm_limit > 0),
  models text[],
  sync_status varchar(20) not null default 'pending'
    constraint virtual_keys_sync_status_check check (sync_status in ('pending', 'synced', 'failed')),
  last_synced_at timestamptz,
  last_error text,
  next_attempt_at timestamptz,
  revision bigint not null default 0,
  confirmed_revision bigint not null default 0,
  confirmed_at timestamptz,
  create_sent_at timestamptz,
  unsettled_until timestamptz,
  attempts integer not null default 0,
  refusals integer not null default 0,
  revoked_at timestamptz,
  most_rpm_limit integer constraint virtual_keys_most_rpm_limit_check check (most_rpm_limit > 0),
  most_tpm_limit integer constraint virtual_keys_most_tpm_limit_check check (most_tpm_limit > 0),
  most_max_budget integer constraint virtual_keys_most_max_budget_check check (most_max_budget >= 0),
  rotations integer not null default 0,
  successor_id uuid references public.virtual_keys (id),
  retires_at timestamptz,
  previous_hash text,
  period_spent integer not null default 0 constraint virtual_keys_period_spent_check check (period_spent >= 0),
  period_ends_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint virtual_keys_placeholder_has_no_key check (state <> 'placeholder' or litellm_key_id is null)
);
comment on table public.virtual_keys is 'LiteLLM keys. A cap limits; it holds no money: that is the account''s wallet.';
comment on column public.virtual_keys.litellm_key_id is 'The key itself, chosen by us before LiteLLM hears of it; null once a revocation is confirmed.';
comment on column public.virtual_keys.key_hash is 'sha256 of the key, hex: LiteLLM''s own id for it. Never used twice.';
comment on column public.virtual_keys.state is 'placeholder: made at sign-up, waits for the first create. revoked: blocked in LiteLLM for good.';
comment on column public.virtual_keys.cap is 'wallet: max_budget follows the wallet. fixed: somebody chose it; no purchase touches it.';
comment on column public.virtual_keys.max_budget is 'US cents per budget_duration.';
comment on column public.virtual_keys.sync_status is
  'pending: what we want is newer than what LiteLLM confirmed. synced: LiteLLM showed it when read. failed: the last attempt failed.';
comment on column public.virtual_keys.next_attempt_at is 'When a pending or failed key is tried next; null on a failed one: parked, re-sync it by hand.';
comment on column public.virtual_keys.last_error is 'Our own code and sentence, never the vendor''s text.';
comment on column public.virtual_keys.revision is 'The account''s revision at which this key last changed.';
comment on column public.virtual_keys.create_sent_at is 'When a pusher first took the key to create it: from then on it may exist in LiteLLM.';
comment on column public.virtual_keys.confirmed_at is 'When LiteLLM first showed the key: from then on it is never created again.';
comment on column public.virtual_keys.models is 'The only models it may use; empty: all; null: whatever LiteLLM has, as of a key from before.';
comment on column public.virtual_keys.most_rpm_limit is 'An administrator''s ceilings for this key, which its owner cannot go beyond; null: the installation''s.';
comment on column public.virtual_keys.rotations is 'How often the key string was replaced; the row and its history stay.';
comment on column public.virtual_keys.successor_id is 'This is the former string of that key, alive until retires_at.';
comment on column public.virtual_keys.previous_hash is 'The string before this one: what it spent counts against this period''s cap.';
comment on column public.virtual_keys.period_spent is 'US cents that former strings spent of the cap, until period_ends_at.';
create index virtual_keys_successor_id_idx on public.virtual_keys (successor_id);
create unique index virtual_keys_successor_id_key on public.virtual_keys (successor_id) where state <> 'revoked';
-- What a clock changes: strings that retire, periods that end.
create index virtual_keys_retiring_idx on public.virtual_keys (retires_at) where successor_id is not null and state <> 'revoked';
create index virtual_keys_periods_idx on public.virtual_keys (period_ends_at) where period_ends_at is not null;
create index virtual_keys_user_id_idx on public.virtual_keys (user_id, created_at);
-- At most one placeholder per account, whoever calls ensure_account() at once.
create unique index virtual_keys_one_placeholder on public.virtual_keys (user_id) where state = 'placeholder';
-- What a push of the account has to handle.
create index virtual_keys_outstanding_idx on public.virtual_keys (user_id, revision)
  where revision > confirmed_revision;
-- What is shown as behind, and what the sweep for stray rows looks at.
create index virtual_keys_unsynced_idx on public.virtual_keys (user_id)
  where sync_status <> 'synced' and state <> 'placeholder';

alter table public.virtual_keys enable row level security;
revoke all on public.virtual_keys from public, anon, authenticated, service_role;
grant select on public.virtual_keys to authenticated, service_role;
create policy "people see their own keys" on public.virtual_keys
  for select to authenticated using ((select auth.uid()) = user_id);

-- ---------------------------------------------------- what a change entails

create function keyfund.new_key_string() returns text
language sql volatile set search_path = '' as $$
  -- Two version-4 UUIDs: 244 random bits from the server's strong source, no extension needed.
  select 'sk-kf-' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
$$;

create function keyfund.stamp_key() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_changed boolean;
  v_settings keyfund.settings;
begin
  select * into strict v_settings from keyfund.settings;
  if new.cap is null then
    new.cap := case when new.max_budget is null then 'wallet' else 'fixed' end;
  end if;
  if new.cap = 'wallet' and new.state <> 'revoked' then
    select keyfund.wallet_cents(a) into new.max_budget from keyfund.accounts a where a.user_id = new.user_id;
  end if;
  -- Ceilings hold whoever writes, and whenever they were set; functions refuse what is beyond them first.
  new.max_budget := least(new.max_budget, new.most_max_budget, v_settings.most_max_budget);
  new.rpm_limit := least(new.rpm_limit, new.most_rpm_limit, v_settings.most_rpm_limit);
  new.tpm_limit := least(new.tpm_limit, new.most_tpm_limit, v_settings.most_tpm_limit);
  new.models := case when new.models is null and v_settings.allowed_models is null then null
    else coalesce(v_settings.allowed_models, '{}') end;
  if new.state <> 'placeholder' and new.key_hash is null then
    new.litellm_key_id := coalesce(new.litellm_key_id, keyfund.new_key_string());
    new.key_hash := encode(sha256(convert_to(new.litellm_key_id, 'UTF8')), 'hex');
    new.key_preview := 'sk-...' || right(new.litellm_key_id, 4);
  end if;
  if tg_op = 'UPDATE' then
    if old.state = 'revoked' and new.state <> 'revoked' then
      raise exception 'a revoked key stays revoked';
    end if;
    if old.key_hash is not null and new.rotations = old.rotations and (new.key_hash is distinct from old.key_hash
        or (new.litellm_key_id is not null and new.litellm_key_id is distinct from old.litellm_key_id)) then
      raise exception 'a key string is never replaced but by a rotation';
    end if;
    -- What former strings spent only matters to LiteLLM when it stops counting.
    v_changed := new.period_spent < old.period_spent
      or (old.state, old.max_budget, old.budget_duration, old.rpm_limit, old.tpm_limit, old.models, old.rotations)
      is distinct from (new.state, new.max_budget, new.budget_duration, new.rpm_limit, new.tpm_limit, new.models, new.rotations);
  else
    v_changed := new.sync_status <> 'synced';
  end if;
  if v_changed and new.state <> 'placeholder' then
    new.revision := keyfund.touch_account(new.user_id, new.state in ('blocked', 'revoked'));
    new.sync_status := 'pending';
    new.next_attempt_at := now();
    new.last_error := null;
    new.attempts := 0;
    new.refusals := 0;
    new.updated_at := now();
  end if;
  return new;
end;
$$;
comment on function keyfund.stamp_key() is
  'Whoever writes a row: the key string exists before LiteLLM hears of it, and every change of what is wanted makes the account due.';
create trigger virtual_keys_stamp before insert or update on public.virtual_keys
  for each row execute function keyfund.stamp_key();

create function keyfund.follow_entry() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_account keyfund.accounts;
begin
  update public.profiles set credits = new.balance_after, updated_at = now()
  where id = new.user_id and credits = new.balance_after - new.delta;
  if not found then
    raise exception 'ledger entry % does not continue the balance of %', new.id, new.user_id;
  end if;
  if new.kind = 'usage' then
    return null; -- LiteLLM knows its own spend: the wallet is unchanged
  end if;
  update keyfund.accounts set wallet_credits = wallet_credits + new.delta
  where user_id = new.user_id returning * into strict v_account;
  -- Wallet caps follow (the row's own trigger computes them); every live key waits for the wallet.
  update public.virtual_keys
  set sync_status = case when state = 'placeholder' then sync_status else 'pending' end,
      next_attempt_at = case when state = 'placeholder' then null else now() end
  where user_id = new.user_id and state <> 'revoked';
  -- A fresh sign-up is no work for LiteLLM: its user row is made with the first key or purchase.
  if new.kind <> 'signup_grant' or v_account.revision > 0 then
    perform keyfund.touch_account(new.user_id);
  end if;
  return null;
end;
$$;
comment on function keyfund.follow_entry() is 'What changes in the same transaction as a ledger entry: the balance, the wallet, the caps that follow it.';
create trigger credit_ledger_is_followed after insert on public.credit_ledger
  for each row execute function keyfund.follow_entry();

create function keyfund.follow_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform keyfund.touch_account(new.id, true);
  update public.virtual_keys set sync_status = 'pending', next_attempt_at = now()
  where user_id = new.id and state in ('active', 'blocked'); -- they wait for the wallet
  perform keyfund.note('account_' || case new.status when 'active' then 'reinstated' else new.status end, new.id);
  return null;
end;
$$;
comment on function keyfund.follow_status() is 'Suspended or back: the wallet in LiteLLM becomes 0 or what it was, before anything else is pushed.';
create trigger profiles_status_is_followed after update of status on public.profiles
  for each row when (old.status is distinct from new.status) execute function keyfund.follow_status();

create function keyfund.follow_settings() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform set_config('keyfund.patient', 'on', true); -- a purchase made a moment later does not wait for everybody
  -- Lower ceilings and other models reach the keys they concern: the rows' own trigger applies them.
  update public.virtual_keys set updated_at = now()
  where state <> 'revoked' and (max_budget > new.most_max_budget or rpm_limit > new.most_rpm_limit
    or tpm_limit > new.most_tpm_limit or (rpm_limit is null and new.most_rpm_limit is not null)
    or (tpm_limit is null and new.most_tpm_limit is not null)
    or old.allowed_models is distinct from new.allowed_models);
  if (old.account_rpm_limit, old.account_tpm_limit) is distinct from (new.account_rpm_limit, new.account_tpm_limit) then
    perform keyfund.touch_account(user_id) from keyfund.accounts where confirmed_at is not null;
  end if;
  perform set_config('keyfund.patient', 'off', true);
  return null;
end;
$$;
create trigger settings_are_followed after update on keyfund.settings
  for each row execute function keyfund.follow_settings();

create function keyfund.cap_cents(p_key public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  select case when p_key.period_ends_at > now() then greatest(0, p_key.max_budget - p_key.period_spent)
    else p_key.max_budget end;
$$;
comment on function keyfund.cap_cents(public.virtual_keys) is
  'The max_budget that LiteLLM must hold for the key''s string: the cap less what former strings spent in this period.';

-- --------------------------------------------------- what owners may do

create function keyfund.own_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
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
comment on function keyfund.own_key(uuid) is 'The caller''s key, locked after its account; refuses a stranger''s and a revoked one.';

create function keyfund.own_current_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_key(p_key_id);
begin
  if v_key.successor_id is not null then
    perform keyfund.refuse(409, 'key_retiring', 'This is the former string of a rotated key: change the key itself, or revoke this one.');
  end if;
  return v_key;
end;
$$;

create function keyfund.check_limits(p_name text, p_max_budget integer, p_rpm_limit integer, p_tpm_limit integer) returns void
language plpgsql set search_path = '' as $$
begin
  if p_name is not null and length(btrim(p_name)) not between 1 and 100 then
    perform keyfund.refuse(400, 'invalid_name', 'A name has between 1 and 100 characters.');
  end if;
  if p_max_budget < 0 then
    perform keyfund.refuse(400, 'invalid_max_budget', 'max_budget is a number of US cents, 0 or more.');
  end if;
  if p_rpm_limit < 1 then
    perform keyfund.refuse(400, 'invalid_rpm_limit', 'rpm_limit is a number of requests per minute, 1 or more.');
  end if;
  if p_tpm_limit < 1 then
    perform keyfund.refuse(400, 'invalid_tpm_limit', 'tpm_limit is a number of tokens per minute, 1 or more.');
  end if;
end;
$$;

create function keyfund.check_ceilings(
  p_max_budget integer, p_rpm_limit integer, p_tpm_limit integer, p_key public.virtual_keys default null
) returns void
language plpgsql set search_path = '' as $$
declare
  v_settings keyfund.settings;
  v_beyond text;
begin
  select * into strict v_settings from keyfund.settings;
  v_beyond := concat_ws(', ',
    case when p_max_budget > least(p_key.most_max_budget, v_settings.most_max_budget)
      then 'max_budget ' || least(p_key.most_max_budget, v_settings.most_max_budget) end,
    case when p_rpm_limit > least(p_key.most_rpm_limit, v_settings.most_rpm_limit)
      then 'rpm_limit ' || least(p_key.most_rpm_limit, v_settings.most_rpm_limit) end,
    case when p_tpm_limit > least(p_key.most_tpm_limit, v_settings.most_tpm_limit)
      then 'tpm_limit ' || least(p_key.most_tpm_limit, v_settings.most_tpm_limit) end);
  if v_beyond <> '' then
    perform keyfund.refuse(400, 'beyond_ceiling', format('Highest allowed here: %s.', v_beyond));
  end if;
end;
$$;
comment on function keyfund.check_ceilings(integer, integer, integer, public.virtual_keys) is
  'Says which limit is beyond what the operator, or an administrator for this key, allows.';

create function keyfund.open_account(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_status text;
begin
  if p_user_id is null then
    perform keyfund.refuse(401, 'not_signed_in', 'Sign in first.');
  end if;
  perform keyfund.ensure_account(p_user_id); -- heals an account whose trigger failed at sign-up
  perform keyfund.lock_account(p_user_id);
  select status into v_status from public.profiles where id = p_user_id;
  if v_status is null or v_status = 'deleted' then
    perform keyfund.refuse(403, 'account_deleted', 'This account does not exist any more.');
  elsif v_status = 'suspended' then
    perform keyfund.refuse(403, 'account_suspended', 'This account is suspended. Ask the people who run this service.');
  end if;
end;
$$;
comment on function keyfund.open_account(uuid) is 'Locks the account''s profile, or says why it may do nothing.';

create function keyfund.limits_of(p_key public.virtual_keys) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('cap', p_key.cap, 'max_budget', case when p_key.cap = 'fixed' then p_key.max_budget end,
    'rpm_limit', p_key.rpm_limit, 'tpm_limit', p_key.tpm_limit);
$$;

create function public.create_virtual_key(
  name text default 'Key', max_budget integer default null, rpm_limit integer default null, tpm_limit integer default null
) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_user_id uuid := (select auth.uid());
  v_name text := coalesce(btrim(create_virtual_key.name), 'Key');
  v_settings keyfund.settings;
  v_key public.virtual_keys;
begin
  perform keyfund.check_limits(
    v_name, create_virtual_key.max_budget, create_virtual_key.rpm_limit, create_virtual_key.tpm_limit);
  perform keyfund.check_ceilings(create_virtual_key.max_budget, create_virtual_key.rpm_limit, create_virtual_key.tpm_limit);
  perform keyfund.open_account(v_user_id);
  select * into strict v_settings from keyfund.settings;
  if (select count(*) from public.virtual_keys
      where user_id = v_user_id and state in ('active', 'blocked') and successor_id is null)
      >= v_settings.keys_per_account then
    perform keyfund.refuse(409, 'too_many_keys', format('An account has at most %s keys. Revoke one first.', v_settings.keys_per_account));
  end if;
  -- The profile is locked: of two first creates at once, one takes the placeholder and the other adds a row.
  update public.virtual_keys
  set state = 'active', name = v_name, created_at = now(),
      cap = case when create_virtual_key.max_budget is null then 'wallet' else 'fixed' end,
      max_budget = create_virtual_key.max_budget, budget_duration = v_settings.key_budget_duration,
      rpm_limit = coalesce(create_virtual_key.rpm_limit, v_settings.key_rpm_limit),
      tpm_limit = coalesce(create_virtual_key.tpm_limit, v_settings.key_tpm_limit)
  where user_id = v_user_id and state = 'placeholder'
  returning * into v_key;
  if v_key.id is null then
    insert into public.virtual_keys (user_id, name, max_budget, budget_duration, rpm_limit, tpm_limit)
    values (v_user_id, v_name, create_virtual_key.max_budget, v_settings.key_budget_duration,
      coalesce(create_virtual_key.rpm_limit, v_settings.key_rpm_limit),
      coalesce(create_virtual_key.tpm_limit, v_settings.key_tpm_limit))
    returning * into v_key;
  end if;
  perform keyfund.note('key_created', v_user_id, v_key.id, keyfund.limits_of(v_key));
  return v_key;
end;
$$;
comment on function public.create_virtual_key(text, integer, integer, integer) is
  'Creates a key for the caller. Without max_budget (US cents) its cap is the wallet. It works once sync_status is synced.';

create function public.update_virtual_key(
  key_id uuid, name text default null, max_budget integer default null, rpm_limit integer default null,
  tpm_limit integer default null, cap text default null
) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_limits(
    update_virtual_key.name, update_virtual_key.max_budget, update_virtual_key.rpm_limit, update_virtual_key.tpm_limit);
  if update_virtual_key.cap not in ('wallet', 'fixed')
      or (update_virtual_key.cap = 'wallet' and update_virtual_key.max_budget is not null) then
    perform keyfund.refuse(400, 'invalid_cap', 'cap is wallet (then without max_budget) or fixed.');
  end if;
  v_key := keyfund.own_current_key(key_id);
  perform keyfund.check_ceilings(
    update_virtual_key.max_budget, update_virtual_key.rpm_limit, update_virtual_key.tpm_limit, v_key);
  update public.virtual_keys
  set name = coalesce(btrim(update_virtual_key.name), name),
      cap = coalesce(update_virtual_key.cap, case when update_virtual_key.max_budget is null then cap else 'fixed' end),
      max_budget = coalesce(update_virtual_key.max_budget, max_budget),
      rpm_limit = coalesce(update_virtual_key.rpm_limit, rpm_limit),
      tpm_limit = coalesce(update_virtual_key.tpm_limit, tpm_limit)
  where v_key.id in (id, successor_id);
  select * into strict v_key from public.virtual_keys where id = v_key.id;
  perform keyfund.note('key_changed', v_key.user_id, v_key.id, keyfund.limits_of(v_key));
  return v_key;
end;
$$;
comment on function public.update_virtual_key(uuid, text, integer, integer, integer, text) is
  'Changes what is given of the caller''s key. max_budget (US cents) makes its cap fixed; cap wallet makes it follow the wallet again.';

create function keyfund.set_state(p_key public.virtual_keys, p_state text, p_blocked_by text, p_action text) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  -- A key is one thing to its owner, however many strings of it are alive.
  update public.virtual_keys
  set state = p_state, blocked_by = p_blocked_by,
      revoked_at = case when p_state = 'revoked' then coalesce(revoked_at, now()) else revoked_at end
  where p_key.id in (id, successor_id) and state <> 'revoked';
  select * into strict v_key from public.virtual_keys where id = p_key.id;
  if (p_key.state, p_key.blocked_by) is distinct from (v_key.state, v_key.blocked_by) then
    perform keyfund.note(p_action, v_key.user_id, v_key.id);
  end if;
  return v_key;
end;
$$;
comment on function keyfund.set_state(public.virtual_keys, text, text, text) is 'Blocks, unblocks or revokes a key with its former string, and writes it down.';

create function public.block_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_current_key(key_id);
begin
  return keyfund.set_state(v_key, 'blocked', coalesce(v_key.blocked_by, 'owner'), 'key_blocked');
end;
$$;
comment on function public.block_virtual_key(uuid) is 'Stops the caller''s key until it is unblocked.';

create function public.unblock_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_current_key(key_id);
begin
  if v_key.blocked_by = 'administrator' then
    perform keyfund.refuse(403, 'blocked_by_administrator', 'An administrator blocked this key; only an administrator can unblock it.');
  end if;
  return keyfund.set_state(v_key, 'active', null, 'key_unblocked');
end;
$$;
comment on function public.unblock_virtual_key(uuid) is 'Lets the caller''s own blocked key work again.';

create function public.revoke_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_key(key_id);
begin
  return keyfund.set_state(v_key, 'revoked', v_key.blocked_by, 'key_revoked');
end;
$$;
comment on function public.revoke_virtual_key(uuid) is 'Stops the caller''s key for good; of a rotated key''s former string, that string alone.';

create function public.resync_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.lock_account((select auth.uid()));
  select * into v_key from public.virtual_keys
  where id = key_id and user_id = (select auth.uid()) and state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  end if;
  return keyfund.resync_key(v_key);
end;
$$;
comment on function public.resync_virtual_key(uuid) is 'Has the caller''s key compared with LiteLLM again, parked or not.';

create function keyfund.resync_key(p_key public.virtual_keys) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  update public.virtual_keys
  set revision = keyfund.touch_account(p_key.user_id), sync_status = 'pending', next_attempt_at = now(),
      last_error = null, refusals = 0
  where id = p_key.id returning * into v_key;
  return v_key;
end;
$$;

revoke all on function public.create_virtual_key(text, integer, integer, integer) from public, anon, authenticated, service_role;
revoke all on function public.update_virtual_key(uuid, text, integer, integer, integer, text) from public, anon, authenticated, service_role;
revoke all on function public.block_virtual_key(uuid) from public, anon, authenticated, service_role;
revoke all on function public.unblock_virtual_key(uuid) from public, anon, authenticated, service_role;
revoke all on function public.revoke_virtual_key(uuid) from public, anon, authenticated, service_role;
revoke all on function public.resync_virtual_key(uuid) from public, anon, authenticated, service_role;
grant execute on function public.create_virtual_key(text, integer, integer, integer) to authenticated;
grant execute on function public.update_virtual_key(uuid, text, integer, integer, integer, text) to authenticated;
grant execute on function public.block_virtual_key(uuid) to authenticated;
grant execute on function public.unblock_virtual_key(uuid) to authenticated;
grant execute on function public.revoke_virtual_key(uuid) to authenticated;
grant execute on function public.resync_virtual_key(uuid) to authenticated;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
