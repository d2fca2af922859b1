-- What administrators read of other people is written down: one line in the audit log each time.
-- Never what was searched for, which may be somebody's address: how much was shown, and of whom where it was one.

create function keyfund.note_reading(p_action text, p_shown integer, p_account_id uuid default null, p_details jsonb default '{}')
returns void
language sql set search_path = '' as $$
  select keyfund.note(p_action, p_account_id, null, jsonb_build_object('shown', p_shown) || p_details);
$$;
comment on function keyfund.note_reading(text, integer, uuid, jsonb) is 'That the caller was shown so many things of other people.';

create or replace function public.find_accounts(search text default null, page_size integer default 50) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_search text := lower(nullif(btrim(find_accounts.search), ''));
  v_id uuid := case when v_search ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_search::uuid end;
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(jsonb_build_object(
      'user_id', found.id, 'email', found.email, 'status', found.status, 'credits', found.credits,
      'suspended_at', found.suspended_at, 'banned_until', found.banned_until, 'created_at', found.created_at,
      'keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.state in ('active', 'blocked') and k.successor_id is null),
      'failing_keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.sync_status = 'failed' and k.state <> 'placeholder'),
      'wallet_confirmed', coalesce((
        select a.revision <= a.confirmed_revision from keyfund.accounts a where a.user_id = found.id), false))
      order by found.created_at desc, found.id desc)
    from (
      select p.* from public.profiles p
      where v_search is null or p.id = v_id
        or (v_id is null and p.email ~>=~ v_search and p.email ~<~ (v_search || chr(1114111)))
      order by p.created_at desc, p.id desc
      limit least(greatest(find_accounts.page_size, 1), 200)
    ) found), '[]');
  perform keyfund.note_reading('accounts_read', jsonb_array_length(v_found), v_id);
  return v_found;
end;
$$;

create or replace function public.find_payments(
  search text default null, status text default null, before_reference text default null, page_size integer default 50
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_search text := nullif(btrim(find_payments.search), '');
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_payment(found.payment) order by (found.payment).created_at desc, (found.payment).id desc)
    from (
      select t as payment from public.transactions t
      where (v_search is null or t.reference = v_search or t.provider_id::text = v_search or t.user_id in (
          select p.id from public.profiles p where p.id::text = lower(v_search) or p.email = lower(v_search)))
        and (find_payments.status is null or t.status = find_payments.status)
        and (find_payments.before_reference is null or (t.created_at, t.id) < (
          select last.created_at, last.id from public.transactions last where last.reference = find_payments.before_reference))
      order by t.created_at desc, t.id desc
      limit least(greatest(find_payments.page_size, 1), 200)
    ) found), '[]');
  perform keyfund.note_reading('payments_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;

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

create or replace function public.list_events(
  only_kind text default null, reference text default null, before_id bigint default null, page_size integer default 50
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  if list_events.only_kind not in ('waiting', 'failing', 'unknown') then
    perform keyfund.refuse(400, 'invalid_kind', 'only_kind is waiting, failing or unknown.');
  end if;
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_event(found.event) order by (found.event).id desc)
    from (
      select e as event from keyfund.paystack_events e
      where (list_events.reference is null or e.reference = list_events.reference)
        and (list_events.before_id is null or e.id < list_events.before_id)
        and case list_events.only_kind
          when 'waiting' then e.handled_at is null
          when 'failing' then e.handled_at is null and e.attempts > 0
          when 'unknown' then e.outcome = 'not_ours'
          else true end
      order by e.id desc
      limit least(greatest(list_events.page_size, 1), 200)
    ) found), '[]');
  perform keyfund.note_reading('events_read', jsonb_array_length(v_found));
  return v_found;
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

create or replace function public.list_failing_keys(after_key uuid default null, page_size integer default 50) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_key(found.key) order by (found.key).user_id, (found.key).id)
    from (
      select k as key from public.virtual_keys k
      where k.sync_status = 'failed' and k.state <> 'placeholder'
        and (after_key is null or (k.user_id, k.id) > (
          select last.user_id, last.id from public.virtual_keys last where last.id = after_key))
      order by k.user_id, k.id
      limit least(greatest(page_size, 1), 200)
    ) found), '[]');
  perform keyfund.note_reading('keys_read', jsonb_array_length(v_found));
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
