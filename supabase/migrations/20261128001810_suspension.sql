-- Suspension: while an account is suspended, its keys are blocked in LiteLLM besides the wallet of 0, which a model that
-- costs nothing does not ask for.
--
-- virtual_keys.state stays what the key's owner wants. Whether LiteLLM must hold a key blocked follows from the state and
-- from the account's status, and is worked out when the key is pushed: a claim tells "suspended". So a suspension overtakes
-- every other push as a block does, and lifting it unblocks the keys that nobody else blocked.
--
-- Claims, comparisons and adoptions also tell the fences here: see the file on routes.

create function keyfund.is_suspended(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select status <> 'active' from public.profiles where id = p_user_id;
$$;
comment on function keyfund.is_suspended(uuid) is 'Whether all keys of the account must be blocked in LiteLLM, whatever their owners want; a deleted account, too.';

create function keyfund.push_status(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_revision bigint := keyfund.touch_account(p_user_id, true);
begin
  update public.virtual_keys
  set revision = v_revision, sync_status = 'pending', next_attempt_at = now(), last_error = null, attempts = 0, refusals = 0
  where user_id = p_user_id and state = 'active';
  update public.virtual_keys set sync_status = 'pending', next_attempt_at = now()
  where user_id = p_user_id and state = 'blocked'; -- they are blocked either way, and wait for the wallet alone
end;
$$;
comment on function keyfund.push_status(uuid) is 'Has an account whose status changed pushed before all others: its live keys blocked or unblocked, its wallet 0 or what it was.';

create or replace function keyfund.follow_status() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform keyfund.push_status(new.id);
  perform keyfund.note('account_' || case new.status when 'active' then 'reinstated' else new.status end, new.id);
  return null;
end;
$$;
comment on function keyfund.follow_status() is 'Suspended or back: LiteLLM learns of it before anything else is pushed.';

-- ----------------------------------------------------------------------- push

create or replace function keyfund.lease_account(p_account keyfund.accounts, p_lease_seconds integer, p_key_limit integer) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_account keyfund.accounts;
  v_suspended boolean := keyfund.is_suspended(p_account.user_id);
  v_keys jsonb;
begin
  update keyfund.accounts
  set lease_token = gen_random_uuid(),
      lease_expires_at = now() + make_interval(secs => p_lease_seconds),
      -- A holder that dies is simply followed by the next one.
      next_attempt_at = now() + make_interval(secs => p_lease_seconds),
      -- The holder before us never came back: what it sent may still land.
      unsettled_until = case when lease_token is null then unsettled_until else now() + interval '30 seconds' end
  where user_id = p_account.user_id
  returning * into v_account;
  with outstanding as (
    select k.* from public.virtual_keys k
    where k.user_id = v_account.user_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
      and (k.next_attempt_at is null or k.next_attempt_at <= now() or k.state in ('blocked', 'revoked') or v_suspended)
      and (k.refusals < (select parking_refusals from keyfund.settings) or k.next_attempt_at is not null)
    -- Blocks first, then keys that LiteLLM has not seen: somebody waits for those.
    order by k.state in ('blocked', 'revoked') or v_suspended desc, k.confirmed_at is null desc, k.revision
    limit p_key_limit
  ), sent as (
    update public.virtual_keys k set create_sent_at = coalesce(k.create_sent_at, now())
    from outstanding o where k.id = o.id and o.state <> 'revoked' and o.confirmed_at is null
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', o.id, 'key', o.litellm_key_id, 'key_hash', o.key_hash, 'name', o.name, 'state', o.state,
    'budget_cents', keyfund.cap_cents(k), 'budget_duration', o.budget_duration, 'previous_hash', o.previous_hash,
    'rpm_limit', o.rpm_limit, 'tpm_limit', o.tpm_limit, 'models', o.models, 'revision', o.revision,
    'confirmed', o.confirmed_at is not null, 'maybe_created', o.create_sent_at is not null,
    'of_key', coalesce(o.successor_id, o.id))), '[]'::jsonb)
  into v_keys from outstanding o join public.virtual_keys k on k.id = o.id;
  return (select jsonb_build_object(
    'user_id', v_account.user_id, 'token', v_account.lease_token, 'revision', v_account.revision,
    'budget_micros', keyfund.budget_micros(v_account), 'seen_micros', v_account.seen_micros,
    'confirmed', v_account.confirmed_at is not null, 'keys', v_keys, 'suspended', v_suspended, 'fences', keyfund.fences(),
    'installation_id', s.installation_id, 'models', coalesce(to_jsonb(s.allowed_models), '[]'::jsonb),
    'rpm_limit', s.account_rpm_limit, 'tpm_limit', s.account_tpm_limit,
    'live_keys', case when v_account.confirmed_at is null then '[]'::jsonb else (
      select coalesce(jsonb_agg(l.litellm_key_id), '[]'::jsonb) from (
        select litellm_key_id from public.virtual_keys
        where user_id = v_account.user_id and state = 'active' and confirmed_at is not null
          and litellm_key_id is not null
        order by confirmed_at desc limit 3) l) end,
    'waits_for_effect', exists (
      select from public.transactions t
      where t.user_id = v_account.user_id and t.credited_at is not null and t.effective_at is null))
  from keyfund.settings s);
end;
$$;

create or replace function public.finish_push(
  p_user_id uuid, p_token uuid, p_revision bigint, p_spend_micros bigint, p_keys jsonb,
  p_effective text default 'unknown', p_cache_seconds integer default 0
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
  v_result jsonb;
  v_settled boolean;
  v_next timestamptz;
  v_pushed_at timestamptz;
  v_effect_at timestamptz;
  v_suspended boolean;
begin
  perform from public.profiles where id = p_user_id for update; -- before the account, as everywhere
  v_account := keyfund.hold_lease(p_user_id, p_token);
  if v_account.user_id is null then
    return false;
  end if;
  v_suspended := keyfund.is_suspended(p_user_id);
  perform keyfund.book_usage(v_account, p_spend_micros);
  perform keyfund.breaker_succeeded('litellm');
  v_settled := v_account.unsettled_until is null or v_account.unsettled_until <= now();
  for v_result in select * from jsonb_array_elements(p_keys) loop
    perform keyfund.finish_key(p_user_id, v_result, v_account.unsettled_until);
  end loop;

  if v_settled then
    if v_account.revision = p_revision then
      -- Keys that only waited for the wallet.
      update public.virtual_keys
      set sync_status = 'synced', last_synced_at = now(), last_error = null, next_attempt_at = null
      where user_id = p_user_id and state <> 'placeholder' and sync_status <> 'synced' and confirmed_revision >= revision;
    end if;
    update public.transactions set pushed_at = now()
    where user_id = p_user_id and credited_at is not null and pushed_at is null and account_revision <= p_revision;
    update public.transactions set effective_at = now()
    where user_id = p_user_id and pushed_at is not null and effective_at is null and p_effective = 'yes'
      and pushed_at + make_interval(secs => p_cache_seconds) <= now();
    select min(pushed_at), min(pushed_at) + make_interval(secs => p_cache_seconds) into v_pushed_at, v_effect_at from public.transactions
    where user_id = p_user_id and pushed_at is not null and effective_at is null and p_effective <> 'exhausted';
  end if;

  select min(coalesce(k.next_attempt_at, now())) into v_next from public.virtual_keys k
  where k.user_id = p_user_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
    and not (k.sync_status = 'failed' and k.next_attempt_at is null); -- parked
  if not v_settled then
    v_next := least(v_next, v_account.unsettled_until);
  elsif v_effect_at is not null then
    -- Looked at again soon after the push, then ever less often.
    v_next := least(v_next, greatest(v_effect_at, now() + greatest(interval '2 seconds', least(interval '5 minutes', (now() - v_pushed_at) / 4))));
  end if;
  update keyfund.accounts
  set lease_token = null, lease_expires_at = null,
      confirmed_at = coalesce(confirmed_at, now()),
      confirmed_revision = case when v_settled and not exists (
          select from public.virtual_keys k
          where k.user_id = p_user_id and k.revision > k.confirmed_revision and k.state <> 'placeholder' and k.revision <= p_revision)
        then greatest(confirmed_revision, p_revision) else confirmed_revision end,
      unsettled_until = case when v_settled then null else unsettled_until end,
      attempts = 0, refusals = 0, last_error = null,
      urgent = exists (
        select from public.virtual_keys k
        where k.user_id = p_user_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
          and (k.state in ('blocked', 'revoked') or v_suspended)),
      next_attempt_at = case when revision > p_revision then now() else v_next end
  where user_id = p_user_id;
  return true;
end;
$$;

create or replace function public.fail_push(
  p_user_id uuid, p_token uuid, p_kind text, p_error text, p_retry_after_seconds integer default null, p_keys jsonb default '[]'
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
  v_result jsonb;
  v_next timestamptz;
  v_suspended boolean;
begin
  v_account := keyfund.hold_lease(p_user_id, p_token);
  if v_account.user_id is null then
    return false;
  end if;
  v_suspended := keyfund.is_suspended(p_user_id);
  if p_kind not in ('transient', 'unknown', 'refused') then
    raise exception 'unknown kind of failure: %', p_kind;
  end if;
  for v_result in select * from jsonb_array_elements(p_keys) loop
    perform keyfund.finish_key(p_user_id, v_result, v_account.unsettled_until);
  end loop;
  if p_kind = 'refused' then
    v_next := case when v_account.refusals + 1 < (select parking_refusals from keyfund.settings)
      then now() + keyfund.backoff(v_account.refusals + 1) end;
  else
    perform keyfund.breaker_failed('litellm', p_error);
    v_next := now() + keyfund.pause(p_retry_after_seconds, v_account.attempts + 1);
  end if;
  -- A block that was asked for meanwhile waits for no wallet.
  select least(v_next, min(k.next_attempt_at)) into v_next from public.virtual_keys k
  where k.user_id = p_user_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
    and (k.state in ('blocked', 'revoked') or v_suspended);
  update keyfund.accounts
  set lease_token = null, lease_expires_at = null, last_error = p_error,
      attempts = attempts + 1, refusals = refusals + (p_kind = 'refused')::integer,
      unsettled_until = case when p_kind = 'unknown' then now() + interval '30 seconds' else unsettled_until end,
      next_attempt_at = v_next
  where user_id = p_user_id;
  update public.virtual_keys set sync_status = 'failed', last_error = p_error, next_attempt_at = v_next
  where user_id = p_user_id and state = 'active' and not v_suspended and sync_status <> 'synced'
    and (next_attempt_at is not null or sync_status <> 'failed');
  return true;
end;
$$;

-- ---------------------------------------------------------------------- drift

create or replace function keyfund.describe_drift(p_key public.virtual_keys, p_account keyfund.accounts) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_key.id, 'of_key', coalesce(p_key.successor_id, p_key.id), 'user_id', p_key.user_id, 'key_hash', p_key.key_hash, 'state', p_key.state,
    'budget_cents', keyfund.cap_cents(p_key), 'models', p_key.models, 'budget_duration', p_key.budget_duration,
    'rpm_limit', p_key.rpm_limit, 'tpm_limit', p_key.tpm_limit, 'revision', p_key.revision,
    'confirmed', p_key.confirmed_at is not null,
    'settled', p_key.confirmed_revision >= p_key.revision and p_key.confirmed_at is not null and p_key.unsettled_until is null,
    'parked', p_key.sync_status = 'failed' and p_key.next_attempt_at is null,
    'account_revision', p_account.revision, 'resting', keyfund.is_resting(p_account),
    'seen_micros', p_account.seen_micros, 'suspended', keyfund.is_suspended(p_key.user_id), 'fences', keyfund.fences(),
    'installation_id', s.installation_id, 'account_rpm_limit', s.account_rpm_limit, 'account_tpm_limit', s.account_tpm_limit)
  -- The account's wallet is compared once: at the first of its keys that LiteLLM should show.
  || case when p_key.state in ('active', 'blocked') and p_key.confirmed_at is not null and not exists (
      select from public.virtual_keys o
      where o.user_id = p_key.user_id and o.key_hash < p_key.key_hash and o.state in ('active', 'blocked') and o.confirmed_at is not null)
    then jsonb_build_object('leads', true, 'budget_micros', keyfund.budget_micros(p_account))
    else jsonb_build_object('leads', false, 'budget_micros', 0) end
  from keyfund.settings s;
$$;

create or replace function public.mend_drift(p_user_id uuid, p_revision bigint, p_key_hash text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
  v_key public.virtual_keys;
begin
  select * into v_account from keyfund.accounts where user_id = p_user_id for update; -- account before key, everywhere
  if v_account.revision is distinct from p_revision or not keyfund.is_resting(v_account) then
    return false;
  end if;
  select * into v_key from public.virtual_keys where key_hash = p_key_hash and user_id = p_user_id;
  perform keyfund.touch_account(p_user_id, coalesce(v_key.state in ('blocked', 'revoked'), false) or keyfund.is_suspended(p_user_id));
  -- Where one thing was changed behind our back others may be: the push reads all keys that were confirmed.
  update public.virtual_keys
  set confirmed_revision = revision - 1, sync_status = 'pending', next_attempt_at = now(),
      deleted_at = case when key_hash = p_key_hash then null else deleted_at end -- it came back: it is deleted again
  where user_id = p_user_id and state <> 'placeholder' and confirmed_at is not null and confirmed_revision >= revision;
  return true;
end;
$$;

-- ------------------------------------------------------------------- adoption

create or replace function public.find_adoptee(p_account text, p_key_hash text, p_owner text) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'accounts', coalesce((
      select jsonb_agg(jsonb_build_object('user_id', p.id, 'status', p.status)) from public.profiles p
      where p.email = lower(p_account)
        or p.id = case when p_account ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_account::uuid end), '[]'),
    'holder', (select k.user_id from public.virtual_keys k where k.key_hash = p_key_hash),
    'owner_is_ours', exists (select from public.profiles p where p.id::text = p_owner),
    'fences', keyfund.fences());
$$;

-- ------------------------------------------------------------ what was before

-- Keys from before are narrowed by an update, behind what people wait for; those of suspended accounts are blocked first.
select id from public.profiles where status = 'suspended' order by id for update; -- the profile first, as everywhere
select keyfund.fence_keys();
select keyfund.push_status(id) from public.profiles where status = 'suspended' order by id;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
