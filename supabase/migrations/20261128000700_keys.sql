-- LiteLLM keys: what their owners want of them, and what LiteLLM has confirmed.

set local check_function_bodies = off; -- a function may name what a later file makes

create table public.virtual_keys (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references keyfund.accounts (id),
  user_id uuid not null references public.profiles (id),
  name text not null default 'Key' constraint virtual_keys_name_check check (length(name) between 1 and 100),
  litellm_key_id text constraint virtual_keys_litellm_key_id_key unique
    constraint virtual_keys_litellm_key_id_check check (litellm_key_id ~ '^sk-[A-Za-z0-9_-]{13,97}$'),
  key_hash text constraint virtual_keys_key_hash_key unique
    constraint virtual_keys_key_hash_check check (key_hash ~ '^[0-9a-f]{64}$'),
  key_preview text,
  state text not null default 'active'
    constraint virtual_keys_state_check check (state in ('placeholder', 'active', 'blocked', 'revoked')),
  blocked_by text constraint virtual_keys_blocked_by_check
    check (blocked_by in ('owner', 'team', 'administrator', 'suspension')),
  cap text constraint virtual_keys_cap_check check (cap in ('wallet', 'fixed')),
  max_budget integer constraint virtual_keys_max_budget_check check (max_budget >= 0),
  budget_duration text default '30d'
    -- All that LiteLLM takes: what somebody set there by hand must be representable.
    constraint virtual_keys_budget_duration_check
    check (budget_duration ~ '^([1-9][0-9]{0,4}([smhdw]|mo)|hourly|daily|weekly|monthly)$'),
  rpm_limit integer default 100 constraint virtual_keys_rpm_limit_check check (rpm_limit > 0),
  tpm_limit integer default 10000 constraint virtual_keys_tpm_limit_check check (tpm_limit > 0),
  models text[] constraint virtual_keys_models_check check (
    cardinality(models) > 0 and array_position(models, null) is null and array_position(models, '') is null),
  expires_at timestamptz constraint virtual_keys_expires_at_check check (isfinite(expires_at)),
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
  period_ends_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  share_cents integer constraint virtual_keys_share_cents_check check (share_cents >= 0),
  uncounted boolean not null default false,
  count_at timestamptz,
  constraint virtual_keys_placeholder_has_no_key check (state <> 'placeholder' or litellm_key_id is null),
  constraint virtual_keys_hash_is_of_the_key check (
    litellm_key_id is null or key_hash is null
    or key_hash = encode(sha256(convert_to(litellm_key_id, 'UTF8')), 'hex')),
  -- Without its string a key cannot be created: it must have been seen in LiteLLM, or be over.
  constraint virtual_keys_without_string_is_confirmed check (
    litellm_key_id is not null or key_hash is null or confirmed_at is not null or state = 'revoked')
);
comment on table public.virtual_keys is
  'LiteLLM keys. A cap limits; it holds no money: that is the account''s wallet.';
comment on column public.virtual_keys.account_id is
  'Whose wallet the key spends; left out, the personal account of the person who holds it.';
comment on column public.virtual_keys.user_id is 'The person who holds the key, and alone sees it whole.';
comment on column public.virtual_keys.litellm_key_id is
  'The key itself, chosen by us before LiteLLM hears of it. Null once a revocation is confirmed, and for an '
  'adopted key of which only the hash is known.';
comment on column public.virtual_keys.key_hash is
  'sha256 of the key, hex: LiteLLM''s own id for it. Never used twice.';
comment on column public.virtual_keys.state is
  'placeholder: made at sign-up, waits for the first create. revoked: blocked in LiteLLM for good.';
comment on column public.virtual_keys.blocked_by is
  'owner: who holds it. team: an owner or admin of its team. administrator. suspension: who holds it is suspended. '
  'Whoever may block so, alone unblocks it.';
comment on column public.virtual_keys.cap is
  'wallet: max_budget follows the wallet. fixed: somebody chose it; no purchase touches it.';
comment on column public.virtual_keys.max_budget is 'US cents per budget_duration.';
comment on column public.virtual_keys.budget_duration is
  'How often the cap begins anew, as LiteLLM writes it; null: never, the cap is for life.';
comment on column public.virtual_keys.models is
  'The models that its owner chose; null: all. LiteLLM is told those of them that the installation allows.';
comment on column public.virtual_keys.expires_at is
  'From then on LiteLLM refuses the key; its state stays, and another time here lets it work again. Null: never.';
comment on column public.virtual_keys.sync_status is
  'pending: what we want is newer than what LiteLLM confirmed. synced: LiteLLM showed it when read. failed: the '
  'last attempt failed.';
comment on column public.virtual_keys.last_error is 'Our own code and sentence, never the vendor''s text.';
comment on column public.virtual_keys.next_attempt_at is
  'When a pending or failed key is tried next; null on a failed one: parked, re-sync it by hand.';
comment on column public.virtual_keys.revision is 'The account''s revision at which this key last changed.';
comment on column public.virtual_keys.confirmed_at is
  'When LiteLLM first showed the key: from then on it is never created again.';
comment on column public.virtual_keys.create_sent_at is
  'When a pusher first took the key to create it: from then on it may exist in LiteLLM.';
comment on column public.virtual_keys.most_rpm_limit is
  'An administrator''s ceilings for this key, which its owner cannot go beyond; null: the installation''s.';
comment on column public.virtual_keys.rotations is
  'How often the key string was replaced; the row and its history stay.';
comment on column public.virtual_keys.successor_id is
  'This is the former string of that key, alive until retires_at.';
comment on column public.virtual_keys.previous_hash is
  'The former string, while this one waits until what former strings spent is counted. Null: it does not wait.';
comment on column public.virtual_keys.period_ends_at is
  'Until when this former string''s spend counts against the key''s cap.';
comment on column public.virtual_keys.deleted_at is
  'When the revoked key was deleted from LiteLLM, a day after it was blocked there.';
comment on column public.virtual_keys.share_cents is
  'US cents of the key''s cap that this former string takes: its share while it lives, later what it spent. Null: '
  'nothing of this period''s.';
comment on column public.virtual_keys.uncounted is
  'This former string may have spent more than its share, until LiteLLM shows what it spent.';
comment on column public.virtual_keys.count_at is
  'When LiteLLM is asked what this former string spent; null while uncounted: a push has to confirm its share or '
  'its block first.';
alter table public.virtual_keys enable row level security;
revoke all on public.virtual_keys from public, anon, authenticated, service_role;
grant select on public.virtual_keys to authenticated, service_role;
create policy "people see their own keys" on public.virtual_keys
  for select to authenticated using ((select auth.uid()) = user_id);
create index virtual_keys_successor_id_idx on public.virtual_keys (successor_id);
create unique index virtual_keys_successor_id_key on public.virtual_keys (successor_id) where state <> 'revoked';
-- What a clock changes: strings that retire, periods that end.
create index virtual_keys_retiring_idx on public.virtual_keys (retires_at) where successor_id is not null
  and state <> 'revoked';
create index virtual_keys_periods_idx on public.virtual_keys (period_ends_at) where period_ends_at is not null;
create index virtual_keys_account_id_idx on public.virtual_keys (account_id, created_at);
create index virtual_keys_user_id_idx on public.virtual_keys (user_id, created_at);
-- At most one placeholder per account, whoever calls ensure_account() at once.
create unique index virtual_keys_one_placeholder on public.virtual_keys (account_id) where state = 'placeholder';
-- What a push of the account has to handle.
create index virtual_keys_outstanding_idx on public.virtual_keys (account_id, revision)
  where revision > confirmed_revision;
-- What is shown as behind, and what the sweep for stray rows looks at.
create index virtual_keys_unsynced_idx on public.virtual_keys (account_id)
  where sync_status <> 'synced' and state <> 'placeholder';
create index virtual_keys_to_delete_idx on public.virtual_keys (revoked_at) where state = 'revoked'
  and deleted_at is null;
create index virtual_keys_uncounted_idx on public.virtual_keys (count_at) where count_at is not null;
create index virtual_keys_to_forget_idx on public.virtual_keys (deleted_at) where state = 'revoked'
  and deleted_at is not null;

-- ------------------------------------------ from what is wanted to a revision

create function keyfund.new_key_string() returns text
language sql volatile set search_path = '' as $$
  -- Two version-4 UUIDs: 244 random bits from the server's strong source, no extension needed.
  select 'sk-kf-' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
$$;

create function keyfund.period_length(p_duration text) returns interval
language sql immutable set search_path = '' as $$
  select coalesce(substring(p_duration from '^[0-9]+')::integer, 1)
    * case substring(p_duration from '[a-z]+$')
      when 's' then interval '1 second' when 'm' then interval '1 minute'
      when 'h' then interval '1 hour' when 'hourly' then interval '1 hour'
      when 'd' then interval '1 day' when 'daily' then interval '1 day'
      when 'w' then interval '7 days' when 'weekly' then interval '7 days'
      when 'mo' then interval '30 days' when 'monthly' then interval '30 days'
      else interval '36500 days' end;
$$;
comment on function keyfund.period_length(text) is
  'How long a period of a cap lasts at most; null, for life: a hundred years.';

create function keyfund.is_too_short(p_duration text, p_most_max_budget integer) returns boolean
language sql stable set search_path = '' as $$
  -- A ceiling in cents means nothing where its owner chooses how often it begins anew.
  select coalesce(p_most_max_budget, s.most_max_budget) is not null
    and keyfund.period_length(p_duration) < keyfund.period_length(s.key_budget_duration)
  from keyfund.settings s;
$$;
comment on function keyfund.is_too_short(text, integer) is
  'Whether a cap with a ceiling, the key''s own or the installation''s, begins anew more often than the ceiling: '
  'that is for settings.key_budget_duration.';

create function keyfund.covers(p_names text[], p_model text) returns boolean
language sql immutable set search_path = '' as $$
  select exists (
    select from unnest(p_names) name
    where p_model = name or p_model like replace(regexp_replace(name, '([\\%_])', '\\\1', 'g'), '*', '%'));
$$;
comment on function keyfund.covers(text[], text) is
  'Whether a model is one of these; a name with an asterisk stands for many, as in LiteLLM.';

create function keyfund.models_of(p_key public.virtual_keys) returns text[]
language sql stable set search_path = '' as $$
  select case
    when p_key.models is null then coalesce(s.allowed_models, '{}')
    when s.allowed_models is null then p_key.models
    else coalesce((
      select array_agg(distinct model order by model) from (
        select chosen as model from unnest(p_key.models) chosen where keyfund.covers(s.allowed_models, chosen)
        union all
        select allowed from unnest(s.allowed_models) allowed where keyfund.covers(p_key.models, allowed)) both_ways
    -- Nothing is left. An empty list would open all models: this is LiteLLM's own name for none.
    ), array['no-default-models']) end
  from keyfund.settings s;
$$;
comment on function keyfund.models_of(public.virtual_keys) is
  'The models that LiteLLM must hold of a key: those that its owner chose and the installation allows; empty: '
  'all.';

create function keyfund.stamp_key() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_changed boolean;
  v_settings keyfund.settings;
begin
  select * into strict v_settings from keyfund.settings;
  new.account_id := coalesce(new.account_id, new.user_id);
  if new.cap is null then
    new.cap := case when new.max_budget is null then 'wallet' else 'fixed' end;
  end if;
  if new.cap = 'wallet' and new.state <> 'revoked' then
    select keyfund.wallet_cents(w) into new.max_budget from keyfund.wallets w where w.account_id = new.account_id;
  end if;
  -- Ceilings hold whoever writes, and whenever they were set; functions refuse what is beyond them first.
  new.max_budget := least(new.max_budget, new.most_max_budget, v_settings.most_max_budget);
  new.rpm_limit := least(new.rpm_limit, new.most_rpm_limit, v_settings.most_rpm_limit);
  new.tpm_limit := least(new.tpm_limit, new.most_tpm_limit, v_settings.most_tpm_limit);
  if keyfund.is_too_short(new.budget_duration, new.most_max_budget) then
    new.budget_duration := v_settings.key_budget_duration;
  end if;
  if new.state <> 'placeholder' and new.key_hash is null then
    new.litellm_key_id := coalesce(new.litellm_key_id, keyfund.new_key_string());
    new.key_hash := encode(sha256(convert_to(new.litellm_key_id, 'UTF8')), 'hex');
    new.key_preview := 'sk-...' || right(new.litellm_key_id, 4);
  end if;
  if new.successor_id is null and keyfund.bound_cents(new) is null then
    new.previous_hash := null; -- the wallet bounds both strings: it waits for none
  elsif new.successor_id is not null and new.state <> 'revoked' and keyfund.bound_cents(new) is null then
    new.share_cents := null;
    new.uncounted := false;
    new.count_at := null;
  elsif new.successor_id is not null and new.state <> 'revoked' and new.share_cents is null then
    new.share_cents := keyfund.divide_cap(new);
    new.uncounted := true;
  end if;
  if tg_op = 'UPDATE' then
    if old.state = 'revoked' and new.state <> 'revoked' then
      raise exception 'a revoked key stays revoked';
    end if;
    if old.key_hash is not null and new.rotations = old.rotations and (new.key_hash is distinct from old.key_hash
        or (new.litellm_key_id is not null and new.litellm_key_id is distinct from old.litellm_key_id)) then
      raise exception 'a key string is never replaced but by a rotation';
    end if;
    if new.period_ends_at is not null and new.budget_duration is distinct from old.budget_duration then
      -- What was spent stays spent, as LiteLLM has it, until the new period ends.
      new.period_ends_at := greatest(new.period_ends_at,
        now() + keyfund.period_length(new.budget_duration) + interval '15 minutes');
    end if;
    if new.state = 'revoked' and old.state <> 'revoked' and new.share_cents is not null then
      new.uncounted := true; -- what it spent is final some time after it is blocked
      new.count_at := null;
    end if;
    -- Of a revoked string LiteLLM only has to know that it is blocked.
    v_changed := (old.state, old.max_budget, old.budget_duration, old.rpm_limit, old.tpm_limit, old.models,
        old.expires_at, old.rotations, old.cap, old.most_max_budget, old.previous_hash)
      is distinct from (new.state, new.max_budget, new.budget_duration, new.rpm_limit, new.tpm_limit, new.models,
        new.expires_at, new.rotations, new.cap, new.most_max_budget, new.previous_hash)
      or (new.state <> 'revoked' and new.share_cents is distinct from old.share_cents);
  else
    v_changed := new.sync_status <> 'synced';
  end if;
  if v_changed and new.state <> 'placeholder' then
    new.revision := keyfund.touch_account(new.account_id, new.state in ('blocked', 'revoked'));
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
  'Whoever writes a row: the key string exists before LiteLLM hears of it, and every change of what is wanted '
  'makes the account due.';
create trigger virtual_keys_stamp before insert or update on public.virtual_keys
  for each row execute function keyfund.stamp_key();

create function keyfund.follow_entry() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_revision bigint;
begin
  update public.profiles set credits = new.balance_after, updated_at = now()
  where id = new.account_id and credits = new.balance_after - new.delta;
  if not found then
    update public.teams set credits = new.balance_after, updated_at = now()
    where id = new.account_id and credits = new.balance_after - new.delta;
  end if;
  if not found then
    raise exception 'ledger entry % does not continue the balance of %', new.id, new.account_id;
  end if;
  if new.kind = 'usage' then
    return null; -- LiteLLM knows its own spend: the wallet is unchanged
  end if;
  update keyfund.wallets set wallet_credits = wallet_credits + new.delta where account_id = new.account_id;
  select revision into strict v_revision from keyfund.pushes
  where account_id = new.account_id for no key update; -- before the keys
  -- Wallet caps follow (the row's own trigger computes them); every live key waits for the wallet.
  update public.virtual_keys
  set sync_status = case when state = 'placeholder' then sync_status else 'pending' end,
      next_attempt_at = case when state = 'placeholder' then null else now() end
  where account_id = new.account_id and state <> 'revoked';
  -- A fresh sign-up is no work for LiteLLM: its user row is made with the first key or purchase.
  if new.kind <> 'signup_grant' or v_revision > 0 then
    perform keyfund.touch_account(new.account_id);
  end if;
  return null;
end;
$$;
comment on function keyfund.follow_entry() is
  'What changes in the same transaction as a ledger entry: the balance, the wallet, the caps that follow it.';
create trigger credit_ledger_is_followed after insert on public.credit_ledger
  for each row execute function keyfund.follow_entry();

create function keyfund.follow_settings() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform set_config('keyfund.patient', 'on', true); -- a purchase made a moment later does not wait for everybody
  -- Lower ceilings reach the keys they concern: the rows' own trigger applies them.
  update public.virtual_keys set updated_at = now()
  where state <> 'revoked' and (max_budget > new.most_max_budget or rpm_limit > new.most_rpm_limit
    or tpm_limit > new.most_tpm_limit or (rpm_limit is null and new.most_rpm_limit is not null)
    or (tpm_limit is null and new.most_tpm_limit is not null)
    or keyfund.is_too_short(budget_duration, most_max_budget));
  if (old.account_rpm_limit, old.account_tpm_limit) is distinct
    from (new.account_rpm_limit, new.account_tpm_limit) then
    perform keyfund.touch_account(account_id) from keyfund.pushes where confirmed_at is not null;
  end if;
  perform set_config('keyfund.patient', 'off', true);
  return null;
end;
$$;
create trigger settings_are_followed after update on keyfund.settings
  for each row execute function keyfund.follow_settings();

create function keyfund.fence_keys() returns void
language plpgsql set search_path = '' as $$
begin
  perform set_config('keyfund.patient', 'on', true);
  -- Accounts before keys, as everywhere.
  perform keyfund.touch_account(live.account_id)
  from (select distinct account_id from public.virtual_keys where state = 'active' order by account_id) live;
  perform set_config('keyfund.patient', 'off', true);
  update public.virtual_keys k
  set revision = p.revision, sync_status = 'pending', next_attempt_at = now(), last_error = null, attempts = 0,
    refusals = 0
  from keyfund.pushes p where p.account_id = k.account_id and k.state = 'active';
end;
$$;
comment on function keyfund.fence_keys() is
  'Has every live key pushed again, parked or not, behind those that are due by themselves.';

create function keyfund.follow_fences() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform keyfund.fence_keys();
  return null;
end;
$$;
create trigger settings_fences_are_followed after update on keyfund.settings
  for each row when ((old.open_routes, old.key_max_parallel, old.account_max_parallel, old.allowed_models)
    is distinct from (new.open_routes, new.key_max_parallel, new.account_max_parallel, new.allowed_models))
  execute function keyfund.follow_fences();
