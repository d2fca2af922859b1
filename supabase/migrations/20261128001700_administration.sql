-- What administrators see and decide. Reading everybody's data leaves a line in the audit log.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ------------------------------------------------------------------- accounts

create function public.find_accounts(
  search text default null, page_size integer default 50, after_account uuid default null
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_search text := lower(nullif(btrim(find_accounts.search), ''));
  v_id uuid := case when v_search ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_search::uuid end;
  v_size integer;
  v_last record;
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_size := keyfund.page_size(find_accounts.page_size);
  select last.id, last.created_at into v_last from (
    select p.id, p.created_at from public.profiles p union all select t.id, t.created_at from public.teams t) last
  where last.id = find_accounts.after_account;
  v_found := coalesce((
    select jsonb_agg(jsonb_build_object(
      'account_id', found.id, 'email', found.email, 'name', found.name, 'status', found.status,
      'credits', found.credits, 'suspended_at', found.suspended_at, 'banned_until', found.banned_until,
      'created_at', found.created_at,
      'keys', (
        select count(*) from public.virtual_keys k
        where k.account_id = found.id and k.state in ('active', 'blocked') and k.successor_id is null),
      'failing_keys', (
        select count(*) from public.virtual_keys k
        where k.account_id = found.id and k.sync_status = 'failed' and k.state <> 'placeholder'),
      'wallet_confirmed', coalesce((
        select a.revision <= a.confirmed_revision from keyfund.pushes a where a.account_id = found.id), false))
      order by found.created_at desc, found.id desc)
    from (
      (select p.id, p.email, null as name, p.status, p.credits, p.suspended_at, p.banned_until, p.created_at
      from public.profiles p
      where (v_search is null or p.id = v_id
          or (v_id is null and p.email ~>=~ v_search and p.email ~<~ (v_search || chr(1114111))))
        and (v_last.id is null or (p.created_at, p.id) < (v_last.created_at, v_last.id))
      order by p.created_at desc, p.id desc
      limit v_size)
      union all
      (select t.id, null, t.name, t.status, t.credits, t.suspended_at, null, t.created_at from public.teams t
      where (v_search is null or t.id = v_id
          or (v_id is null and lower(t.name) ~>=~ v_search and lower(t.name) ~<~ (v_search || chr(1114111))))
        and (v_last.id is null or (t.created_at, t.id) < (v_last.created_at, v_last.id))
      order by t.created_at desc, t.id desc
      limit v_size)
      order by created_at desc, id desc
      limit v_size
    ) found), '[]');
  perform keyfund.note_reading('accounts_read', jsonb_array_length(v_found), v_id);
  return v_found;
end;
$$;
comment on function public.find_accounts(text, integer, uuid) is
  'For administrators: accounts, newest first, by id or by how the person''s address or the team''s name begins. '
  'after_account: the last of the page before.';

create function keyfund.set_status(p_account_id uuid, p_status text, p_reason text) returns void
language plpgsql set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.give_reason(p_reason);
  update public.profiles set status = p_status, updated_at = now() where id = p_account_id and status <> 'deleted';
  if not found then
    update public.teams set status = p_status, updated_at = now() where id = p_account_id and status <> 'deleted';
  end if;
  if not found then
    perform keyfund.refuse('account_not_found');
  end if;
end;
$$;

create function public.suspend_account(account_id uuid, reason text) returns void
language sql security definer set search_path = '' as $$
  select keyfund.set_status(account_id, 'suspended', reason);
$$;
comment on function public.suspend_account(uuid, text) is
  'For administrators: the wallet in LiteLLM becomes 0, no keys, no checkout, until the account is reinstated.';

create function public.reinstate_account(account_id uuid, reason text) returns void
language sql security definer set search_path = '' as $$
  select keyfund.set_status(account_id, 'active', reason);
$$;
comment on function public.reinstate_account(uuid, text) is 'For administrators: lifts a suspension.';

create function public.adjust_credits(
  account_id uuid, credits bigint, reason text, adjustment_id text, allow_negative boolean default false
) returns public.credit_ledger
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_cause text := 'adjustment:' || adjust_credits.adjustment_id;
  v_entry public.credit_ledger;
  v_before bigint;
begin
  perform keyfund.check_administrator();
  if coalesce(btrim(adjust_credits.reason), '') = '' then
    perform keyfund.refuse('reason_missing');
  elsif coalesce(btrim(adjust_credits.adjustment_id), '') = '' then
    perform keyfund.refuse('adjustment_id_missing');
  end if;
  if coalesce(adjust_credits.credits, 0) = 0 or abs(adjust_credits.credits) > 1000000000 then
    perform keyfund.refuse('invalid_credits');
  end if;
  perform keyfund.hold_account(adjust_credits.account_id);
  v_before := keyfund.credits_of(adjust_credits.account_id);
  if v_before is null then
    perform keyfund.refuse('account_not_found');
  end if;
  select * into v_entry from public.credit_ledger where cause = v_cause;
  if v_entry.id is null then
    if v_before + adjust_credits.credits < least(0, v_before)
        and not coalesce(adjust_credits.allow_negative, false) then
      perform keyfund.refuse('below_zero', v_before::text, (v_before + adjust_credits.credits)::text);
    end if;
    if keyfund.append_entry(adjust_credits.account_id, adjust_credits.credits, 'adjustment', v_cause,
        btrim(adjust_credits.reason)) is not null then
      perform keyfund.note('credits_adjusted', adjust_credits.account_id, null, jsonb_build_object(
        'credits', adjust_credits.credits, 'before', v_before, 'after', v_before + adjust_credits.credits,
        'reason', btrim(adjust_credits.reason)));
    end if;
    select * into strict v_entry from public.credit_ledger where cause = v_cause;
  end if;
  if (v_entry.account_id, v_entry.delta) is distinct from (adjust_credits.account_id, adjust_credits.credits) then
    perform keyfund.refuse('adjustment_exists');
  end if;
  return v_entry;
end;
$$;
comment on function public.adjust_credits(uuid, bigint, text, text, boolean) is
  'An administrator gives or takes credits, once per adjustment_id, with a reason that is kept; below zero only '
  'with allow_negative.';

-- ------------------------------------------------------------------- payments

create function keyfund.proportion(p_payment public.transactions) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_credits bigint;
begin
  if p_payment.paid_currency is distinct from p_payment.currency or p_payment.paid_amount is null then
    perform keyfund.refuse('no_proportion');
  end if;
  v_credits := least(p_payment.credits,
    floor(p_payment.credits::numeric * (p_payment.paid_amount - coalesce(p_payment.borne_fee,
      0)) / p_payment.amount));
  if v_credits < 1 then
    perform keyfund.refuse('too_little_paid');
  end if;
  return v_credits;
end;
$$;
comment on function keyfund.proportion(public.transactions) is
  'The credits that were paid for, fee apart, in whole credits.';

create function keyfund.describe_payment(p_payment public.transactions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'reference', p_payment.reference, 'order_id', p_payment.order_id,
    'account_id', p_payment.account_id, 'user_id', p_payment.user_id,
    'email', p.email, 'account_status', keyfund.status_of(p_payment.account_id), 'package_id', p_payment.package_id,
    'status', p_payment.status, 'standing', p_payment.standing,
    'review_reason', p_payment.review_reason, 'decided_at', p_payment.decided_at,
    'credits', p_payment.credits,
    'granted_credits', case when p_payment.credited_at is not null then keyfund.granted(p_payment) end,
    'amount', p_payment.amount, 'currency', p_payment.currency, 'provider', p_payment.provider,
    'provider_id', p_payment.provider_id, 'provider_status', p_payment.provider_status,
    'paid_amount', p_payment.paid_amount, 'paid_currency', p_payment.paid_currency, 'paid_at', p_payment.paid_at,
    'borne_fee', p_payment.borne_fee,
    'refunded_amount', p_payment.refunded_amount, 'refunded_at', p_payment.refunded_at,
    'refunding_amount', p_payment.refunding_amount, 'withheld_credits', p_payment.withheld_credits,
    'next_verify_at', p_payment.next_verify_at,
    'timeline', jsonb_build_object(
      'ordered', p_payment.created_at, 'webhook', p_payment.webhook_at, 'verified', p_payment.verified_at,
      'credited', p_payment.credited_at, 'pushed', p_payment.pushed_at, 'effective', p_payment.effective_at))
  from public.profiles p where p.id = p_payment.user_id;
$$;

create function keyfund.order_earnings(p_order_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select keyfund.earnings(o.credits, o.amount, r)
  from keyfund.orders o left join keyfund.rates r on r.id = o.rate_id where o.id = p_order_id;
$$;
comment on function keyfund.order_earnings(uuid) is
  'What an order''s credits cost, the fee and the margin, in subunits, at the rate that it was made at.';

create function public.find_payments(
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
    select jsonb_agg(keyfund.describe_payment(found.payment) order by (found.payment).created_at desc,
      (found.payment).id desc)
    from (
      select t as payment from public.transactions t
      where (v_search is null or t.reference = v_search or t.provider_id::text = v_search or t.user_id in (
          select p.id from public.profiles p where p.id::text = lower(v_search) or p.email = lower(v_search)))
        and (find_payments.status is null or t.status = find_payments.status)
        and (find_payments.before_reference is null or (t.created_at, t.id) < (
          select last.created_at, last.id from public.transactions last
            where last.reference = find_payments.before_reference))
      order by t.created_at desc, t.id desc
      limit keyfund.page_size(find_payments.page_size)
    ) found), '[]');
  perform keyfund.note_reading('payments_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;
comment on function public.find_payments(text, text, text, integer) is
  'For administrators: payments, newest first, by reference, the provider''s id, e-mail or account id. '
  'before_reference: the last one of the page before.';

create function public.read_payment(reference text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_payment public.transactions;
begin
  perform keyfund.check_administrator();
  select t.* into v_payment from public.transactions t where t.reference = read_payment.reference;
  if v_payment.id is null then
    perform keyfund.refuse('payment_not_found');
  end if;
  perform keyfund.note_reading('payment_read', 1, v_payment.account_id,
    jsonb_build_object('reference', v_payment.reference));
  return keyfund.describe_payment(v_payment) || keyfund.order_earnings(v_payment.order_id) || jsonb_build_object(
    'attempts', (
      select jsonb_agg(jsonb_build_object('reference', t.reference, 'status', t.status) order by t.created_at)
      from public.transactions t where t.order_id = v_payment.order_id),
    'events', coalesce((
      select jsonb_agg(keyfund.describe_event(e) order by e.id)
      from keyfund.events e where e.reference = v_payment.reference), '[]'),
    'disputes', coalesce((
      select jsonb_agg(to_jsonb(d) - 'transaction_id' order by d.id)
      from keyfund.disputes d where d.transaction_id = v_payment.id), '[]'),
    'ledger', coalesce((
      select jsonb_agg(jsonb_build_object('delta', l.delta, 'kind', l.kind, 'reason', l.reason, 'created_at',
        l.created_at) order by l.id)
      from public.credit_ledger l
      where l.account_id = v_payment.account_id and l.kind in ('purchase', 'withheld')
        and split_part(l.cause, ':', 2) = v_payment.reference), '[]'));
end;
$$;
comment on function public.read_payment(text) is
  'For administrators: all that is known of one payment: times, events, disputes, ledger entries.';

create function public.decide_review(reference text, accept boolean, reason text, in_part boolean default false)
returns public.transactions
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_payment public.transactions;
  v_credits bigint;
  v_deed text := case when not accept then 'refused' when in_part then 'accepted_in_part' else 'accepted' end;
begin
  perform keyfund.check_administrator();
  if coalesce(btrim(decide_review.reason), '') = '' then
    perform keyfund.refuse('reason_missing');
  end if;
  v_payment := keyfund.hold_payment(decide_review.reference);
  if v_payment.id is null or v_payment.status <> 'needs_review' then
    perform keyfund.refuse('nothing_to_decide');
  end if;
  if decide_review.accept and v_payment.credits = 0 then
    -- Taken over: it is in the opening entry, or the administrator gives what it lacks with adjust_credits().
    update public.transactions set status = 'success', review_reason = null
    where id = v_payment.id returning * into v_payment;
  elsif decide_review.accept then
    if v_payment.borne_fee is null and keyfund.lost_amount(v_payment) > 0 then
      perform keyfund.refuse('fee_unknown');
    end if;
    v_credits := case when decide_review.in_part then keyfund.proportion(v_payment) else v_payment.credits end;
    perform keyfund.append_entry(v_payment.account_id, v_credits, 'purchase',
      'purchase:' || v_payment.reference, btrim(decide_review.reason), v_payment.user_id);
    update public.transactions
    set status = 'success', credited_at = now(), decided_at = now(), decided_by = (select auth.uid()),
        granted_credits = nullif(v_credits, credits),
        account_revision = (select revision from keyfund.pushes where account_id = v_payment.account_id)
    where id = v_payment.id;
    -- As its refunds and disputes left it.
    select * into strict v_payment from public.transactions where id = v_payment.id;
  else
    update public.transactions
    set status = 'failed', review_reason = review_reason || ': ' || btrim(decide_review.reason),
        decided_at = now(), decided_by = (select auth.uid())
    where id = v_payment.id returning * into v_payment;
  end if;
  perform keyfund.note('payment_' || v_deed, v_payment.account_id, null,
    jsonb_build_object('reference', v_payment.reference, 'reason', btrim(decide_review.reason), 'credits',
      v_credits));
  return v_payment;
end;
$$;
comment on function public.decide_review(text, boolean, text, boolean) is
  'An administrator credits a payment that did not fit its order, as ordered or in proportion to what was paid, '
  'or refuses it (and refunds it at the provider).';

create function public.note_refund(reference text, reason text) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform keyfund.check_administrator();
  perform keyfund.give_reason(note_refund.reason);
  perform keyfund.note('refund_asked', t.account_id, null, jsonb_build_object('reference', t.reference))
  from public.transactions t where t.reference = note_refund.reference;
end;
$$;
comment on function public.note_refund(text, text) is
  'For administrators: writes down that a refund is asked of the provider, before it is.';

-- ----------------------------------------------------------------------- keys

create function keyfund.any_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_administrator();
  perform keyfund.lock_account((select account_id from public.virtual_keys where id = p_key_id));
  select * into v_key from public.virtual_keys where id = p_key_id and state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse('key_not_found');
  elsif v_key.state = 'revoked' then
    perform keyfund.refuse('key_revoked');
  elsif v_key.successor_id is not null then
    perform keyfund.refuse('key_retiring');
  end if;
  return v_key;
end;
$$;

create function keyfund.describe_key(p_key public.virtual_keys) returns jsonb
language sql stable set search_path = '' as $$
  -- Nothing of the key itself: that is its owner's.
  select jsonb_build_object(
    'id', p_key.id, 'account_id', p_key.account_id, 'user_id', p_key.user_id, 'name', p_key.name,
    'state', p_key.state, 'blocked_by', p_key.blocked_by,
    'cap', p_key.cap, 'max_budget', p_key.max_budget, 'budget_duration', p_key.budget_duration,
    'rpm_limit', p_key.rpm_limit, 'tpm_limit', p_key.tpm_limit, 'models', p_key.models,
    'expires_at', p_key.expires_at, 'most_max_budget', p_key.most_max_budget,
    'most_rpm_limit', p_key.most_rpm_limit, 'most_tpm_limit', p_key.most_tpm_limit, 'successor_id',
      p_key.successor_id,
    'retires_at', p_key.retires_at, 'sync_status', p_key.sync_status,
    'last_synced_at', p_key.last_synced_at, 'last_error', p_key.last_error, 'next_attempt_at', p_key.next_attempt_at,
    'created_at', p_key.created_at, 'updated_at', p_key.updated_at, 'revoked_at', p_key.revoked_at);
$$;
comment on function keyfund.describe_key(public.virtual_keys) is 'A key as administrators see it.';

create function keyfund.find_key(p_key_id uuid) returns public.virtual_keys
language plpgsql stable set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  select * into v_key from public.virtual_keys where id = p_key_id and state <> 'placeholder';
  if v_key.id is null then
    perform keyfund.refuse('key_not_found');
  end if;
  return v_key;
end;
$$;

create function public.read_key(key_id uuid) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_administrator();
  v_key := keyfund.find_key(key_id);
  perform keyfund.note('key_read', v_key.account_id, v_key.id, '{"shown": 1}');
  return keyfund.describe_key(v_key);
end;
$$;
comment on function public.read_key(uuid) is
  'For administrators: how a key stands, whoever owns it; never the key itself.';

create function public.hold_virtual_key(key_id uuid, reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.give_reason(reason);
  return keyfund.describe_key(keyfund.set_state(v_key, 'blocked', 'administrator', 'key_blocked'));
end;
$$;
comment on function public.hold_virtual_key(uuid, text) is
  'For administrators: stops anybody''s key until an administrator releases it.';

create function public.release_virtual_key(key_id uuid, reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.give_reason(reason);
  return keyfund.describe_key(keyfund.set_state(v_key, 'active', null, 'key_unblocked'));
end;
$$;
comment on function public.release_virtual_key(uuid, text) is
  'For administrators: lets a blocked key work again, whoever blocked it.';

create function public.limit_virtual_key(
  key_id uuid, reason text, max_budget integer default null, rpm_limit integer default null,
    tpm_limit integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.check_limits(null, limit_virtual_key.max_budget, limit_virtual_key.rpm_limit,
    limit_virtual_key.tpm_limit);
  perform keyfund.give_reason(reason);
  update public.virtual_keys
  set most_max_budget = limit_virtual_key.max_budget, most_rpm_limit = limit_virtual_key.rpm_limit,
      most_tpm_limit = limit_virtual_key.tpm_limit
  where v_key.id in (id, successor_id);
  select * into strict v_key from public.virtual_keys where id = v_key.id;
  perform keyfund.note('key_limited', v_key.account_id, v_key.id, jsonb_build_object(
    'max_budget', v_key.most_max_budget, 'rpm_limit', v_key.most_rpm_limit, 'tpm_limit', v_key.most_tpm_limit));
  return keyfund.describe_key(v_key);
end;
$$;
comment on function public.limit_virtual_key(uuid, text, integer, integer, integer) is
  'For administrators: ceilings for one key, beyond which its owner cannot go; what is left out has none.';

create function public.resync_any_key(key_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_administrator();
  v_key := keyfund.find_key(key_id);
  perform keyfund.lock_account(v_key.account_id);
  select * into strict v_key from public.virtual_keys where id = key_id for update;
  return keyfund.describe_key(keyfund.resync_key(v_key));
end;
$$;
comment on function public.resync_any_key(uuid) is
  'For administrators: has a key compared with LiteLLM again, parked or not, whoever owns it; never shows the key '
  'itself.';

-- --------------------------------------------------------------------- events

create function keyfund.describe_event(p_event keyfund.events) returns jsonb
language sql stable set search_path = '' as $$
  -- Never the body: it holds card authorisations and other people's data.
  select to_jsonb(p_event) - 'body' - 'lease_token' - 'fingerprint'
    || jsonb_build_object('facts', keyfund.facts_of(p_event));
$$;

create function public.list_events(
  only_kind text default null, reference text default null, before_id bigint default null,
    page_size integer default 50
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  if list_events.only_kind not in ('waiting', 'failing', 'unknown') then
    perform keyfund.refuse('invalid_kind');
  end if;
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_event(found.event) order by (found.event).id desc)
    from (
      select e as event from keyfund.events e
      where (list_events.reference is null or e.reference = list_events.reference)
        and (list_events.before_id is null or e.id < list_events.before_id)
        and case list_events.only_kind
          when 'waiting' then e.handled_at is null
          when 'failing' then e.handled_at is null and e.attempts > 0
          when 'unknown' then e.outcome = 'not_ours'
          else true end
      order by e.id desc
      limit keyfund.page_size(list_events.page_size)
    ) found), '[]');
  perform keyfund.note_reading('events_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;
comment on function public.list_events(text, text, bigint, integer) is
  'For administrators: events of the providers, newest first. waiting: not handled; failing: tried in vain; unknown: '
  'about no order of ours.';

revoke all on function public.find_accounts, public.suspend_account, public.reinstate_account,
  public.adjust_credits, public.find_payments, public.read_payment, public.decide_review, public.note_refund,
  public.read_key, public.hold_virtual_key, public.release_virtual_key, public.limit_virtual_key,
  public.resync_any_key, public.list_events from public, anon, authenticated, service_role;
