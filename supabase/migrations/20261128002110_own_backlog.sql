-- What of one's own is not finished: what everybody else waits for is nobody's business but an administrator's.

create function public.read_own_backlog() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'keys', (select count(*) from public.virtual_keys k
      where k.user_id = me.id and k.sync_status <> 'synced' and k.state <> 'placeholder'),
    'events', (select count(*) from keyfund.paystack_events e join public.transactions t on t.reference = e.reference
      where t.user_id = me.id and e.handled_at is null),
    'parked', (select count(*) from (
      select a.user_id from keyfund.accounts a
      where a.user_id = me.id and a.revision > a.confirmed_revision and a.next_attempt_at is null and a.refusals > 0
      union select k.user_id from public.virtual_keys k
      where k.user_id = me.id and k.sync_status = 'failed' and k.next_attempt_at is null and k.state <> 'placeholder') p),
    'oldest_seconds', (select coalesce(extract(epoch from now() - min(s.since))::integer, 0) from (
      select a.changed_at as since from keyfund.accounts a
      where a.user_id = me.id and a.revision > a.confirmed_revision and a.next_attempt_at is not null
      union all select e.received_at
      from keyfund.paystack_events e join public.transactions t on t.reference = e.reference
      where t.user_id = me.id and e.handled_at is null) s))
  from (select (select auth.uid()) as id) me;
$$;
comment on function public.read_own_backlog() is
  'Of the caller''s own: keys that LiteLLM has not confirmed, events not handled, what is parked, and how long the oldest has waited.';

revoke all on function public.read_own_backlog() from public, anon, authenticated, service_role;
grant execute on function public.read_own_backlog() to authenticated;
