-- A lease tells its keys in the order in which they are pushed, however the database joins them.

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
    'of_key', coalesce(o.successor_id, o.id))
    order by o.state in ('blocked', 'revoked') or v_suspended desc, o.confirmed_at is null desc, o.revision), '[]'::jsonb)
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

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
