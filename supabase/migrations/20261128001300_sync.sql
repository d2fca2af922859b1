-- Pushing accounts to LiteLLM: claim, finish, fail, release.
--
-- Blocks and revocations overtake every other push, so people who block and unblock without end would keep
-- everybody else waiting. Two rules bound that. An account whose owner changes its keys again and again is
-- restless: of all restless accounts one is pushed at a time, in the order in which they became due, so they cost
-- everybody else little, and each gets its turn. And of what is claimed at once a quarter is kept for what is not
-- urgent.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ---------------------------------------------------------------------- claim

create function keyfund.list_due(
  p_urgent boolean, p_patient boolean, p_limit integer, p_at timestamptz
) returns setof uuid
language sql stable set search_path = '' as $$
  select a.account_id from keyfund.pushes a
  where a.urgent = p_urgent and a.patient = p_patient and greatest(a.next_attempt_at,
    a.calm_at) <= p_at + interval '30 seconds'
    and a.next_attempt_at <= p_at and (a.lease_expires_at is null or a.lease_expires_at <= p_at)
  order by greatest(a.next_attempt_at, a.calm_at) limit p_limit;
$$;
comment on function keyfund.list_due(boolean, boolean, integer, timestamptz) is
  'Calm accounts of a class that are due, in the order of their turn.';

create function keyfund.next_restless(p_at timestamptz) returns setof uuid
language sql stable set search_path = '' as $$
  select a.account_id from keyfund.pushes a
  where a.urgent in (true, false) and a.patient in (true, false)
    and greatest(a.next_attempt_at, a.calm_at) > p_at + interval '30 seconds'
      and a.calm_at > p_at + interval '30 seconds'
    and a.next_attempt_at <= p_at and (a.lease_expires_at is null or a.lease_expires_at <= p_at)
    and not exists (
      -- A holder that has not come back by then has died, or is very slow.
      select from keyfund.pushes held
      where held.lease_token is not null and held.claimed_at > p_at - interval '10 seconds'
        and keyfund.is_restless(held))
  order by a.next_attempt_at limit 1;
$$;
comment on function keyfund.next_restless(timestamptz) is
  'The restless account whose turn it is; none while another one is being pushed.';

create function keyfund.choose_due(p_limit integer, p_at timestamptz) returns setof uuid
language sql stable set search_path = '' as $$
  select due.account_id from (
    select account_id, 1 as rank, 0 as place from keyfund.next_restless(p_at) as restless (account_id)
    union all
    select account_id, case when place <= p_limit / 4 then 2 else 4 end, place
    from keyfund.list_due(false, false, p_limit, p_at) with ordinality as plain (account_id, place)
    union all
    select account_id, 3, place
    from keyfund.list_due(true, false, p_limit, p_at) with ordinality as urgent (account_id, place)
    union all
    select account_id, 3, place
    from keyfund.list_due(true, true, p_limit, p_at) with ordinality as urgent (account_id, place)
    union all
    select account_id, 5, place
    from keyfund.list_due(false, true, p_limit, p_at) with ordinality as patient (account_id, place)
  ) due order by case when due.rank = 1 and p_limit < 4 then 6 else due.rank end, due.place limit p_limit;
$$;
comment on function keyfund.choose_due(integer, timestamptz) is
  'Whom to claim: one who is restless, the quarter that is kept for what is not urgent, then what is, then the '
  'rest, and what concerns everybody last.';

create function keyfund.lease_account(
  p_push keyfund.pushes, p_lease_seconds integer, p_key_limit integer
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_push keyfund.pushes;
  v_wallet keyfund.wallets;
  v_suspended boolean := keyfund.is_suspended(p_push.account_id);
  v_keys jsonb;
begin
  update keyfund.pushes
  set lease_token = gen_random_uuid(),
      lease_expires_at = now() + make_interval(secs => p_lease_seconds),
      -- A holder that dies is simply followed by the next one.
      next_attempt_at = now() + make_interval(secs => p_lease_seconds),
      -- The holder before us never came back: what it sent may still land.
      unsettled_until = case when lease_token is null then unsettled_until else now() + interval '30 seconds' end
  where account_id = p_push.account_id
  returning * into v_push;
  select * into strict v_wallet from keyfund.wallets where account_id = v_push.account_id;
  with outstanding as (
    select k.* from public.virtual_keys k
    where k.account_id = v_push.account_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
      and (k.next_attempt_at is null or k.next_attempt_at <= now() or k.state in ('blocked', 'revoked')
        or v_suspended)
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
    'rpm_limit', o.rpm_limit, 'tpm_limit', o.tpm_limit, 'models', keyfund.models_of(k), 'expires_at', o.expires_at,
    'revision', o.revision,
    'confirmed', o.confirmed_at is not null, 'maybe_created', o.create_sent_at is not null,
    'of_key', coalesce(o.successor_id, o.id))
    order by o.state in ('blocked', 'revoked') or v_suspended desc, o.confirmed_at is null desc, o.revision),
      '[]'::jsonb)
  into v_keys from outstanding o join public.virtual_keys k on k.id = o.id;
  return (select jsonb_build_object(
    'user_id', v_push.account_id, 'token', v_push.lease_token, 'revision', v_push.revision,
    'budget_micros', keyfund.budget_micros(v_wallet), 'seen_micros', v_wallet.seen_micros,
    'confirmed', v_push.confirmed_at is not null, 'keys', v_keys, 'suspended', v_suspended, 'fences',
      keyfund.fences(),
    'installation_id', s.installation_id, 'rpm_limit', s.account_rpm_limit, 'tpm_limit', s.account_tpm_limit,
    'live_keys', case when v_push.confirmed_at is null then '[]'::jsonb else (
      select coalesce(jsonb_agg(jsonb_build_object('key', l.litellm_key_id, 'models', l.models)), '[]'::jsonb)
      from (
        select k.litellm_key_id, keyfund.models_of(k) as models from public.virtual_keys k
        where k.account_id = v_push.account_id and k.state = 'active' and k.confirmed_at is not null
          and k.litellm_key_id is not null and (k.expires_at is null or k.expires_at > now())
        order by k.confirmed_at desc limit 3) l) end,
    'waits_for_effect', exists (
      select from public.transactions t
      where t.account_id = v_push.account_id and t.credited_at is not null and t.effective_at is null))
  from keyfund.settings s);
end;
$$;

create function public.claim_pushes(
  p_limit integer, p_lease_seconds integer, p_key_limit integer default 50
) returns setof jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
begin
  if exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null) then
    return;
  end if;
  for v_push in
    select * from keyfund.pushes
    where account_id = any (array(select keyfund.choose_due(least(p_limit, 1000), now())))
      and next_attempt_at <= now() and (lease_expires_at is null or lease_expires_at <= now())
    order by urgent desc, patient, greatest(next_attempt_at, calm_at)
    for update skip locked
  loop
    return next keyfund.lease_account(v_push, p_lease_seconds, p_key_limit);
  end loop;
end;
$$;
comment on function public.claim_pushes(integer, integer, integer) is
  'Leases accounts that are due: blocks and revocations first but for the places that are kept for others, '
  'changes that concern everybody last. None while the breaker is open.';

create function public.claim_push(
  p_account_id uuid, p_lease_seconds integer, p_key_limit integer default 50
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
begin
  select * into v_push from keyfund.pushes a
  where a.account_id = p_account_id and a.next_attempt_at is not null
    and (a.lease_expires_at is null or a.lease_expires_at <= now())
    and not exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null)
    -- A restless account has its turn in the worker's line while another one is pushed.
    and not (keyfund.is_restless(a) and exists (
      select from keyfund.pushes held
      where held.lease_token is not null and held.claimed_at > now() - interval '10 seconds'
        and keyfund.is_restless(held)))
  for update skip locked;
  if v_push.account_id is null then
    return null;
  end if;
  return keyfund.lease_account(v_push, p_lease_seconds, p_key_limit);
end;
$$;
comment on function public.claim_push(uuid, integer, integer) is
  'Leases one account that has something outstanding; null when another process has it, LiteLLM is away, or it is '
  'restless and another such is being pushed.';

-- ------------------------------------------------------ finish, fail, release

create function keyfund.hold_lease(p_account_id uuid, p_token uuid) returns keyfund.pushes
language plpgsql set search_path = '' as $$
declare
  v_push keyfund.pushes;
begin
  select * into v_push from keyfund.pushes where account_id = p_account_id for update;
  if v_push.lease_token is distinct from p_token or p_token is null then
    -- What this late process sent may have landed after the new holder's: have it all read again.
    update keyfund.pushes
    set unsettled_until = now() + interval '30 seconds', revision = revision + 1,
        next_attempt_at = least(next_attempt_at, now() + interval '30 seconds')
    where account_id = p_account_id;
    update public.virtual_keys
    set confirmed_revision = revision - 1, sync_status = 'pending', next_attempt_at = now() + interval '30 seconds'
    where account_id = p_account_id and state <> 'placeholder' and confirmed_revision >= revision;
    return null;
  end if;
  return v_push;
end;
$$;
comment on function keyfund.hold_lease(uuid, uuid) is
  'The leased push, or null (and a second look at everything) for a process whose lease another now has.';

create function keyfund.book_usage(p_wallet keyfund.wallets, p_spend_micros bigint) returns void
language plpgsql set search_path = '' as $$
declare
  v_credit_micros bigint;
  v_booked bigint := p_wallet.booked_micros + p_spend_micros - p_wallet.seen_micros;
  v_credits bigint;
begin
  if p_spend_micros = p_wallet.seen_micros and p_wallet.lower_micros is not null then
    update keyfund.wallets set lower_micros = null where account_id = p_wallet.account_id; -- it was a mistake
  end if;
  if p_spend_micros <= p_wallet.seen_micros then
    return;
  end if;
  select credit_value_cents * 10000 into strict v_credit_micros from keyfund.settings;
  v_credits := v_booked / v_credit_micros - p_wallet.booked_micros / v_credit_micros;
  update keyfund.wallets set booked_micros = v_booked, seen_micros = p_spend_micros, lower_micros = null
  where account_id = p_wallet.account_id;
  if v_credits > 0 then
    perform keyfund.append_entry(p_wallet.account_id, -v_credits, 'usage',
      'usage:' || p_wallet.account_id || ':' || v_booked);
  end if;
end;
$$;
comment on function keyfund.book_usage(keyfund.wallets, bigint) is
  'Books what LiteLLM shows as spent: the difference of the two floors in whole credits, so no call is free and '
  'none counts twice.';

create function public.observe_spend(
  p_account_id uuid, p_token uuid, p_spend_micros bigint, p_user_is_missing boolean
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
  v_wallet keyfund.wallets;
  v_verdict text := 'as_expected';
begin
  perform keyfund.hold_account(p_account_id);
  v_push := keyfund.hold_lease(p_account_id, p_token);
  if v_push.account_id is null then
    return jsonb_build_object('verdict', 'lease_lost');
  end if;
  select * into strict v_wallet from keyfund.wallets where account_id = p_account_id for no key update;
  if p_spend_micros >= v_wallet.seen_micros then
    perform keyfund.book_usage(v_wallet, p_spend_micros);
  elsif p_user_is_missing or v_wallet.lower_micros is not null then
    v_verdict := 'new_epoch';
    update keyfund.wallets
    set epoch = epoch + 1, epoch_at = clock_timestamp(), seen_micros = p_spend_micros, lower_micros = null
    where account_id = p_account_id;
    update keyfund.pushes set revision = revision + 1 where account_id = p_account_id;
    -- What LiteLLM forgot of the user it may have forgotten of the keys: revoked ones may be alive again, new ones
    -- gone.
    update public.virtual_keys
    set confirmed_revision = revision - 1, sync_status = 'pending', next_attempt_at = now()
    where account_id = p_account_id and confirmed_at is not null and confirmed_revision >= revision;
  else
    v_verdict := 'read_again';
    update keyfund.wallets set lower_micros = p_spend_micros where account_id = p_account_id;
  end if;
  select * into strict v_wallet from keyfund.wallets where account_id = p_account_id;
  return jsonb_build_object('verdict', v_verdict, 'budget_micros', keyfund.budget_micros(v_wallet));
end;
$$;
comment on function public.observe_spend(uuid, uuid, bigint, boolean) is
  'Books a user''s spend, or, when it went backwards twice in a row, starts a new epoch in which spent money '
  'stays spent. Returns the budget to push.';

create function public.recheck_keys(p_account_id uuid, p_token uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_hashes jsonb;
begin
  if (keyfund.hold_lease(p_account_id, p_token)).account_id is null then
    return '[]';
  end if;
  with rechecked as (
    update public.virtual_keys
    set confirmed_revision = revision - 1, sync_status = 'pending', next_attempt_at = now()
    where account_id = p_account_id and state = 'active' and confirmed_at is not null
    returning key_hash
  )
  select coalesce(jsonb_agg(key_hash), '[]') into v_hashes from rechecked;
  return v_hashes; -- one value: a limit on rows must not leave a key unblocked
end;
$$;
comment on function public.recheck_keys(uuid, uuid) is
  'Makes every live key of a leased account outstanding again, and returns their hashes.';

create function keyfund.finish_key(p_account_id uuid, p_result jsonb, p_unsettled_until timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
  v_outcome text := p_result ->> 'outcome';
  v_until timestamptz;
begin
  -- By the string, not the row: a key that was rotated meanwhile has another, of which this says nothing.
  select * into v_key from public.virtual_keys where key_hash = p_result ->> 'key_hash'
    and account_id = p_account_id for update;
  if v_key.id is null then
    return;
  end if;
  if v_outcome = 'unknown' then
    v_key.unsettled_until := now() + interval '30 seconds';
  end if;
  v_until := greatest(p_unsettled_until, v_key.unsettled_until);
  if (p_result ->> 'revision')::bigint <> v_key.revision then
    -- It changed while it was pushed: pushed again, but never created again.
    update public.virtual_keys set unsettled_until = v_key.unsettled_until,
      confirmed_at = case when v_outcome = 'synced' then coalesce(confirmed_at, now()) else confirmed_at end
    where id = v_key.id;
  elsif v_outcome = 'synced' and (v_until is null or v_until <= now()) then
    update public.virtual_keys
    set confirmed_revision = v_key.revision, confirmed_at = coalesce(confirmed_at, now()), unsettled_until = null,
        sync_status = 'synced', last_synced_at = now(), last_error = null, next_attempt_at = null, refusals = 0,
          attempts = 0,
        litellm_key_id = case when state = 'revoked' then null else litellm_key_id end,
        -- From now on it spends no more than its share; what it had spent before shows a little later.
        count_at = case when uncounted and count_at is null then now() + make_interval(
          secs => (select spend_settles_seconds from keyfund.settings)) else count_at end
    where id = v_key.id;
  elsif v_outcome in ('synced', 'unknown') then
    update public.virtual_keys
    set confirmed_at = case when v_outcome = 'synced' then coalesce(confirmed_at, now()) else confirmed_at end,
        unsettled_until = v_key.unsettled_until, sync_status = 'pending', next_attempt_at = v_until,
        last_error = 'unsettled: LiteLLM did not answer a request in time; '
          'it is read again before this counts as synced.'
    where id = v_key.id;
  elsif v_outcome = 'waits' then
    -- count_share makes it due; the minute is for when that is late.
    update public.virtual_keys
    set sync_status = 'pending', next_attempt_at = now() + interval '1 minute',
        last_error = 'cap_is_counted: What the former string spent of the cap is being counted; '
          'this string works in about a minute.'
    where id = v_key.id;
  elsif v_outcome = 'refused' then
    update public.virtual_keys
    set sync_status = 'failed', refusals = refusals + 1, last_error = p_result ->> 'error',
        next_attempt_at = case when refusals + 1 >= (select parking_refusals from keyfund.settings) then null
          else now() + keyfund.backoff(refusals + 1) end,
        -- Nothing is there to be confirmed, nor to spend.
        count_at = case when uncounted and p_result ->> 'error' like 'litellm_key_vanished:%' then now()
          else count_at end
    where id = v_key.id;
  else -- transient
    update public.virtual_keys
    set sync_status = 'failed', last_error = p_result ->> 'error', attempts = attempts + 1,
        next_attempt_at = now() + keyfund.pause((p_result ->> 'retry_after_seconds')::integer, attempts + 1)
    where id = v_key.id;
  end if;
end;
$$;

create function public.finish_push(
  p_account_id uuid, p_token uuid, p_revision bigint, p_spend_micros bigint, p_keys jsonb,
  p_effective text default 'unknown', p_cache_seconds integer default 0
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
  v_wallet keyfund.wallets;
  v_result jsonb;
  v_settled boolean;
  v_next timestamptz;
  v_pushed_at timestamptz;
  v_effect_at timestamptz;
  v_suspended boolean;
begin
  perform keyfund.hold_account(p_account_id); -- before the push, as everywhere
  v_push := keyfund.hold_lease(p_account_id, p_token);
  if v_push.account_id is null then
    return false;
  end if;
  v_suspended := keyfund.is_suspended(p_account_id);
  select * into strict v_wallet from keyfund.wallets where account_id = p_account_id for no key update;
  perform keyfund.book_usage(v_wallet, p_spend_micros);
  perform keyfund.breaker_succeeded('litellm');
  v_settled := v_push.unsettled_until is null or v_push.unsettled_until <= now();
  for v_result in select * from jsonb_array_elements(p_keys) loop
    perform keyfund.finish_key(p_account_id, v_result, v_push.unsettled_until);
  end loop;

  if v_settled then
    if v_push.revision = p_revision then
      -- Keys that only waited for the wallet.
      update public.virtual_keys
      set sync_status = 'synced', last_synced_at = now(), last_error = null, next_attempt_at = null
      where account_id = p_account_id and state <> 'placeholder' and sync_status <> 'synced'
        and confirmed_revision >= revision;
    end if;
    update public.transactions set pushed_at = now()
    where account_id = p_account_id and credited_at is not null and pushed_at is null
      and account_revision <= p_revision;
    update public.transactions set effective_at = now()
    where account_id = p_account_id and pushed_at is not null and effective_at is null and p_effective = 'yes'
      and pushed_at + make_interval(secs => p_cache_seconds) <= now();
    select min(pushed_at), min(pushed_at) + make_interval(secs => p_cache_seconds) into v_pushed_at, v_effect_at
      from public.transactions
    where account_id = p_account_id and pushed_at is not null and effective_at is null and p_effective <> 'exhausted';
  end if;

  select min(coalesce(k.next_attempt_at, now())) into v_next from public.virtual_keys k
  where k.account_id = p_account_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
    and not (k.sync_status = 'failed' and k.next_attempt_at is null); -- parked
  if not v_settled then
    v_next := least(v_next, v_push.unsettled_until);
  elsif v_effect_at is not null then
    -- Looked at again soon after the push, then ever less often.
    v_next := least(v_next, greatest(v_effect_at, now() + greatest(interval '2 seconds',
      least(interval '5 minutes', (now() - v_pushed_at) / 4))));
  end if;
  update keyfund.pushes
  set lease_token = null, lease_expires_at = null,
      confirmed_at = coalesce(confirmed_at, now()),
      confirmed_revision = case when v_settled and not exists (
          select from public.virtual_keys k
          where k.account_id = p_account_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
            and k.revision <= p_revision)
        then greatest(confirmed_revision, p_revision) else confirmed_revision end,
      unsettled_until = case when v_settled then null else unsettled_until end,
      attempts = 0, refusals = 0, last_error = null,
      urgent = exists (
        select from public.virtual_keys k
        where k.account_id = p_account_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
          and (k.state in ('blocked', 'revoked') or v_suspended)),
      next_attempt_at = case when revision > p_revision then now() else v_next end
  where account_id = p_account_id;
  return true;
end;
$$;
comment on function public.finish_push(uuid, uuid, bigint, bigint, jsonb, text, integer) is
  'LiteLLM showed the wallet as wanted; p_keys tells how each key went. p_effective: yes, no, unknown or '
  'exhausted (nothing left to spend). False: the lease was lost.';

create function public.fail_push(
  p_account_id uuid, p_token uuid, p_kind text, p_error text, p_retry_after_seconds integer default null,
    p_keys jsonb default '[]'
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
  v_result jsonb;
  v_next timestamptz;
  v_suspended boolean;
begin
  v_push := keyfund.hold_lease(p_account_id, p_token);
  if v_push.account_id is null then
    return false;
  end if;
  v_suspended := keyfund.is_suspended(p_account_id);
  if p_kind not in ('transient', 'unknown', 'refused') then
    raise exception 'unknown kind of failure: %', p_kind;
  end if;
  for v_result in select * from jsonb_array_elements(p_keys) loop
    perform keyfund.finish_key(p_account_id, v_result, v_push.unsettled_until);
  end loop;
  if p_kind = 'refused' then
    v_next := case when v_push.refusals + 1 < (select parking_refusals from keyfund.settings)
      then now() + keyfund.backoff(v_push.refusals + 1) end;
  else
    perform keyfund.breaker_failed('litellm', p_error);
    v_next := now() + keyfund.pause(p_retry_after_seconds, v_push.attempts + 1);
  end if;
  -- A block that was asked for meanwhile waits for no wallet.
  select least(v_next, min(k.next_attempt_at)) into v_next from public.virtual_keys k
  where k.account_id = p_account_id and k.revision > k.confirmed_revision and k.state <> 'placeholder'
    and (k.state in ('blocked', 'revoked') or v_suspended);
  update keyfund.pushes
  set lease_token = null, lease_expires_at = null, last_error = p_error,
      attempts = attempts + 1, refusals = refusals + (p_kind = 'refused')::integer,
      unsettled_until = case when p_kind = 'unknown' then now() + interval '30 seconds' else unsettled_until end,
      next_attempt_at = v_next
  where account_id = p_account_id;
  update public.virtual_keys set sync_status = 'failed', last_error = p_error, next_attempt_at = v_next
  where account_id = p_account_id and state = 'active' and not v_suspended and sync_status <> 'synced'
    and (next_attempt_at is not null or sync_status <> 'failed');
  return true;
end;
$$;
comment on function public.fail_push(uuid, uuid, text, text, integer, jsonb) is
  'The wallet could not be confirmed. transient and unknown never park; refused does, after '
  'settings.parking_refusals in a row.';

create function public.release_push(p_account_id uuid, p_token uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.pushes set lease_token = null, lease_expires_at = null, next_attempt_at = now()
  where account_id = p_account_id and lease_token = p_token;
  return found;
end;
$$;
comment on function public.release_push(uuid, uuid) is 'Gives an untouched account back.';

revoke all on function public.claim_pushes, public.claim_push, public.observe_spend, public.recheck_keys,
  public.finish_push, public.fail_push, public.release_push from public, anon, authenticated, service_role;
