-- What waits for a person, and how everything stands.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ----------------------------------------------------------------- what waits

create function keyfund.is_owed(p_payment public.transactions) returns boolean
language sql stable set search_path = '' as $$
  select keyfund.lost_amount(p_payment) < keyfund.paid_amount(p_payment);
$$;
comment on function keyfund.is_owed(public.transactions) is
  'Of a refused payment: whether its money was not given back yet, as far as the provider says.';

create function keyfund.adjustment_concerns() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'self_dealings', count(*) filter (where a.actor_id = a.account_id and a.action in (
      'credits_adjusted', 'payment_accepted', 'payment_accepted_in_part', 'refund_asked', 'account_reinstated',
      'key_unblocked', 'key_limited')),
    'large_adjustments', count(*) filter (where a.action = 'credits_adjusted'
      and abs((a.details ->> 'credits')::bigint) >= s.large_adjustment_credits))
  from public.audit_log a cross join keyfund.settings s
  where a.actor = 'administrator' and a.at > now() - interval '30 days';
$$;
comment on function keyfund.adjustment_concerns() is
  'What administrators did in the last 30 days and another should look at: for their own account, or in a large '
  'amount.';

create function keyfund.user_concerns() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'waiting_grants', (select count(*) from keyfund.signups where grant_waits_since is not null),
    'missing_triggers', jsonb_array_length(public.list_missing_triggers()));
$$;

create function keyfund.list_deleted() returns table (id uuid, deleted_at timestamptz)
language sql stable set search_path = '' as $$
  select p.id, p.deleted_at from public.profiles p where p.status = 'deleted'
  union all
  select t.id, t.deleted_at from public.teams t where t.status = 'deleted';
$$;
comment on function keyfund.list_deleted() is 'Accounts of which nobody is left.';

create function keyfund.concerns() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'needs_review', (select count(*) from public.transactions where status = 'needs_review'),
    'failing_events', (select count(*) from keyfund.events where handled_at is null and attempts > 0),
    'unknown_payments', (
      select count(distinct reference) from keyfund.events where outcome = 'not_ours'
        and received_at > now() - interval '30 days'),
    'paid_after_deletion', (
      select count(*) from public.transactions t join keyfund.list_deleted() gone on gone.id = t.account_id
      where t.credited_at > gone.deleted_at and t.status <> 'reversed'),
    'refused_not_returned', (
      select count(*) from public.transactions t
      where t.decided_at is not null and t.credited_at is null and keyfund.is_owed(t)),
    'parked_accounts', (
      select count(*) from keyfund.pushes where revision > confirmed_revision and next_attempt_at is null
        and refusals > 0),
    'parked_keys', (
      select count(*) from public.virtual_keys where sync_status = 'failed' and next_attempt_at is null
        and state <> 'placeholder'));
$$;

create function public.read_concerns() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return keyfund.concerns() || keyfund.user_concerns() || keyfund.adjustment_concerns() || jsonb_build_object(
    'reconciliation', (
      select jsonb_build_object('at', r.ended_at, 'differences', r.differences, 'complete', r.complete)
      from keyfund.reconciliations r order by r.id desc limit 1),
    'drift', (
      select jsonb_build_object('at', d.ended_at, 'differences', d.differences, 'complete', d.complete)
      from keyfund.drift_reports d order by d.id desc limit 1));
end;
$$;
comment on function public.read_concerns() is
  'For administrators: how many things wait for a person, by kind; all zero when all is well.';

create function public.list_paid_after_deletion() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_payment(t) order by t.credited_at desc)
    from public.transactions t join keyfund.list_deleted() gone on gone.id = t.account_id
    where t.credited_at > gone.deleted_at and t.status <> 'reversed'), '[]');
  perform keyfund.note_reading('payments_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;
comment on function public.list_paid_after_deletion() is
  'For administrators: money that came for people who were gone. Refund it at the provider.';

-- ------------------------------------------------------ how everything stands

create function public.read_status() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'breaker', (select case when opened_at is null then 'closed' when probe_at > now() then 'open'
      else 'half-open' end
      from keyfund.gateways where name = 'litellm'),
    'litellm_answers', (select failures = 0 and last_ok_at is not null from keyfund.gateways where name = 'litellm'),
    'litellm_warnings', (select warnings from keyfund.gateways where name = 'litellm'),
    'litellm_last_ok_at', (select last_ok_at from keyfund.gateways where name = 'litellm'),
    'accounts', (select count(*) from keyfund.pushes where revision > confirmed_revision),
    'keys', (select count(*) from public.virtual_keys where sync_status <> 'synced' and state <> 'placeholder'),
    'events', (select count(*) from keyfund.events where handled_at is null),
    'parked', (select count(*) from (
        select account_id from keyfund.pushes where revision > confirmed_revision and next_attempt_at is null
          and refusals > 0
        union select account_id from public.virtual_keys
        where sync_status = 'failed' and next_attempt_at is null and state <> 'placeholder') p),
    -- What is parked waits for a person, for as long as they like: it must not sound the alarm for ever.
    'oldest_seconds', (select coalesce(extract(epoch from now() - min(since))::integer, 0) from (
        select min(changed_at) as since from keyfund.pushes where revision > confirmed_revision
          and next_attempt_at is not null
        union all select min(received_at) from keyfund.events where handled_at is null) s),
    'worker_last_seen', (select max(last_seen) from keyfund.workers),
    'reconciled_at', (select extract(epoch from max(ended_at))::bigint from keyfund.reconciliations where complete),
    'reconciliation', (select report -> 'checks' from keyfund.reconciliations order by id desc limit 1),
    'drift_compared_at', (select extract(epoch from max(ended_at))::bigint from keyfund.drift_reports where complete),
    'drift', (select report -> 'kinds' from keyfund.drift_reports order by id desc limit 1));
$$;
comment on function public.read_status() is
  'LiteLLM''s breaker, the backlog, the workers'' last sign of life and the last comparisons, for /api/status and '
  '/metrics.';

create function public.read_own_backlog(account_id uuid default null) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'keys', (select count(*) from public.virtual_keys k
      where k.account_id = me.id and k.sync_status <> 'synced' and k.state <> 'placeholder'),
    'events', (select count(*) from keyfund.events e join public.transactions t on t.reference = e.reference
      where t.account_id = me.id and e.handled_at is null),
    'parked', (select count(*) from (
      select a.account_id from keyfund.pushes a
      where a.account_id = me.id and a.revision > a.confirmed_revision and a.next_attempt_at is null and a.refusals > 0
      union select k.account_id from public.virtual_keys k
      where k.account_id = me.id and k.sync_status = 'failed' and k.next_attempt_at is null
        and k.state <> 'placeholder') p),
    'oldest_seconds', (select coalesce(extract(epoch from now() - min(s.since))::integer, 0) from (
      select a.changed_at as since from keyfund.pushes a
      where a.account_id = me.id and a.revision > a.confirmed_revision and a.next_attempt_at is not null
      union all select e.received_at
      from keyfund.events e join public.transactions t on t.reference = e.reference
      where t.account_id = me.id and e.handled_at is null) s))
  from (select keyfund.act_in(read_own_backlog.account_id) as id) me;
$$;
comment on function public.read_own_backlog(uuid) is
  'Of an account of the caller''s: keys that LiteLLM has not confirmed, events not handled, what is parked, and '
  'how long the oldest has waited.';

revoke all on function public.read_concerns, public.list_paid_after_deletion, public.read_status,
  public.read_own_backlog from public, anon, authenticated, service_role;
