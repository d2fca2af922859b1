-- How everything stands, in one look.

create function public.read_status() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'breaker', (select case when opened_at is null then 'closed' when probe_at > now() then 'open' else 'half-open' end
      from keyfund.gateways where name = 'litellm'),
    'litellm_answers', (select failures = 0 and last_ok_at is not null from keyfund.gateways where name = 'litellm'),
    'litellm_warnings', (select warnings from keyfund.gateways where name = 'litellm'),
    'litellm_last_ok_at', (select last_ok_at from keyfund.gateways where name = 'litellm'),
    'accounts', (select count(*) from keyfund.accounts where revision > confirmed_revision),
    'keys', (select count(*) from public.virtual_keys where sync_status <> 'synced' and state <> 'placeholder'),
    'events', (select count(*) from keyfund.paystack_events where handled_at is null),
    'parked', (select count(*) from (
        select user_id from keyfund.accounts where revision > confirmed_revision and next_attempt_at is null and refusals > 0
        union select user_id from public.virtual_keys
        where sync_status = 'failed' and next_attempt_at is null and state <> 'placeholder') p),
    -- What is parked waits for a person, for as long as they like: it must not sound the alarm for ever.
    'oldest_seconds', (select coalesce(extract(epoch from now() - min(since))::integer, 0) from (
        select min(changed_at) as since from keyfund.accounts where revision > confirmed_revision and next_attempt_at is not null
        union all select min(received_at) from keyfund.paystack_events where handled_at is null) s),
    'worker_last_seen', (select max(last_seen) from keyfund.workers),
    'reconciled_at', (select extract(epoch from max(ended_at))::bigint from keyfund.reconciliations where complete),
    'reconciliation', (select report -> 'checks' from keyfund.reconciliations order by id desc limit 1),
    'drift_compared_at', (select extract(epoch from max(ended_at))::bigint from keyfund.drift_reports where complete),
    'drift', (select report -> 'kinds' from keyfund.drift_reports order by id desc limit 1));
$$;
comment on function public.read_status() is 'LiteLLM''s breaker, the backlog, the workers'' last sign of life and the last comparisons, for /api/status and /metrics.';

revoke all on function public.read_status() from public, anon, authenticated, service_role;
grant execute on function public.read_status() to service_role;
