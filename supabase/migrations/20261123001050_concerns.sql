-- What waits for a person.

create index profiles_deleted_idx on public.profiles (id) where status = 'deleted';

create function keyfund.is_owed(p_payment public.transactions) returns boolean
language sql stable set search_path = '' as $$
  select p_payment.paid_amount is null
    or greatest(p_payment.refunded_amount, keyfund.disputed_amount(p_payment)) < p_payment.paid_amount;
$$;
comment on function keyfund.is_owed(public.transactions) is 'Of a refused payment: whether its money was not given back yet, as far as Paystack says.';

create function keyfund.concerns() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'needs_review', (select count(*) from public.transactions where status = 'needs_review'),
    'failing_events', (select count(*) from keyfund.paystack_events where handled_at is null and attempts > 0),
    'unknown_payments', (
      select count(distinct reference) from keyfund.paystack_events where outcome = 'not_ours' and received_at > now() - interval '30 days'),
    'paid_after_deletion', (
      select count(*) from public.transactions t join public.profiles p on p.id = t.user_id
      where p.status = 'deleted' and t.credited_at > p.deleted_at and t.status <> 'reversed'),
    'refused_not_returned', (
      select count(*) from public.transactions t
      where t.decided_at is not null and t.credited_at is null and keyfund.is_owed(t)),
    'parked_accounts', (
      select count(*) from keyfund.accounts where revision > confirmed_revision and next_attempt_at is null and refusals > 0),
    'parked_keys', (
      select count(*) from public.virtual_keys where sync_status = 'failed' and next_attempt_at is null and state <> 'placeholder'));
$$;

create function public.read_concerns() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return keyfund.concerns() || jsonb_build_object(
    'reconciliation', (
      select jsonb_build_object('at', r.ended_at, 'differences', r.differences, 'complete', r.complete)
      from keyfund.reconciliations r order by r.id desc limit 1),
    'drift', (
      select jsonb_build_object('at', d.ended_at, 'differences', d.differences, 'complete', d.complete)
      from keyfund.drift_reports d order by d.id desc limit 1));
end;
$$;
comment on function public.read_concerns() is 'For administrators: how many things wait for a person, by kind; all zero when all is well.';

create function public.list_paid_after_deletion() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return coalesce((
    select jsonb_agg(keyfund.describe_payment(t) order by t.credited_at desc)
    from public.transactions t join public.profiles p on p.id = t.user_id
    where p.status = 'deleted' and t.credited_at > p.deleted_at and t.status <> 'reversed'), '[]');
end;
$$;
comment on function public.list_paid_after_deletion() is 'For administrators: money that came for people who were gone. Refund it at Paystack.';

revoke all on function public.read_concerns() from public, anon, authenticated, service_role;
revoke all on function public.list_paid_after_deletion() from public, anon, authenticated, service_role;
grant execute on function public.read_concerns() to authenticated;
grant execute on function public.list_paid_after_deletion() to authenticated;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
