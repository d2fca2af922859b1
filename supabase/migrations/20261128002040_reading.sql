-- What administrators read of other people is written down: one line in the audit log each time.
-- Never what was searched for, which may be somebody's address: how much was shown, and of whom where it was one.
-- Lists that have pages do so in the file on pages.

create function keyfund.note_reading(p_action text, p_shown integer, p_account_id uuid default null, p_details jsonb default '{}')
returns void
language sql set search_path = '' as $$
  select keyfund.note(p_action, p_account_id, null, jsonb_build_object('shown', p_shown) || p_details);
$$;
comment on function keyfund.note_reading(text, integer, uuid, jsonb) is 'That the caller was shown so many things of other people.';

create or replace function public.read_payment(reference text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_payment public.transactions;
begin
  perform keyfund.check_administrator();
  select t.* into v_payment from public.transactions t where t.reference = read_payment.reference;
  if v_payment.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  perform keyfund.note_reading('payment_read', 1, v_payment.user_id, jsonb_build_object('reference', v_payment.reference));
  return keyfund.describe_payment(v_payment) || jsonb_build_object(
    'attempts', (
      select jsonb_agg(jsonb_build_object('reference', t.reference, 'status', t.status) order by t.created_at)
      from public.transactions t where t.order_id = v_payment.order_id),
    'events', coalesce((
      select jsonb_agg(keyfund.describe_event(e) order by e.id)
      from keyfund.paystack_events e where e.reference = v_payment.reference), '[]'),
    'disputes', coalesce((
      select jsonb_agg(to_jsonb(d) - 'transaction_id' order by d.id)
      from keyfund.disputes d where d.transaction_id = v_payment.id), '[]'),
    'ledger', coalesce((
      select jsonb_agg(jsonb_build_object('delta', l.delta, 'kind', l.kind, 'reason', l.reason, 'created_at', l.created_at) order by l.id)
      from public.credit_ledger l
      where l.user_id = v_payment.user_id and l.kind in ('purchase', 'withheld') and split_part(l.cause, ':', 2) = v_payment.reference), '[]'));
end;
$$;

create or replace function public.list_paid_after_deletion() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_payment(t) order by t.credited_at desc)
    from public.transactions t join public.profiles p on p.id = t.user_id
    where p.status = 'deleted' and t.credited_at > p.deleted_at and t.status <> 'reversed'), '[]');
  perform keyfund.note_reading('payments_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;

create or replace function public.read_key(key_id uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_administrator();
  v_key := keyfund.find_key(key_id);
  perform keyfund.note('key_read', v_key.user_id, v_key.id, '{"shown": 1}');
  return keyfund.describe_key(v_key);
end;
$$;

create or replace function public.read_reconciliation() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.note('reconciliation_read', null);
  return (select to_jsonb(r) from keyfund.reconciliations r order by r.id desc limit 1);
end;
$$;

create or replace function public.read_drift_report() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.note('drift_report_read', null);
  return (select to_jsonb(r) from keyfund.drift_reports r order by r.id desc limit 1);
end;
$$;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
