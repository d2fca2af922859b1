-- What administrators decide about money: in the audit log as administrators, even where the account is their own.

-- -------------------------------------------------------------------- audit

create or replace function keyfund.check_administrator() returns void
language plpgsql set search_path = '' as $$
begin
  if not public.is_administrator() then
    perform keyfund.refuse(403, 'not_an_administrator', 'Only an administrator may do this.');
  end if;
  perform set_config('keyfund.administrator', (select auth.uid())::text, true);
end;
$$;
comment on function keyfund.check_administrator() is
  'Refuses everybody else. What the caller does in this transaction is then written down as an administrator''s '
  'doing.';

create or replace function keyfund.note(
  p_action text, p_account_id uuid, p_key_id uuid default null, p_details jsonb default '{}'
) returns void
language sql set search_path = '' as $$
  insert into public.audit_log (actor, actor_id, action, account_id, key_id, details)
  select case
      when (select auth.uid()) is null then 'system'
      when current_setting('keyfund.administrator', true) = (select auth.uid())::text then 'administrator'
      when (select auth.uid()) = p_account_id then 'owner'
      else 'administrator' end,
    (select auth.uid()), p_action, p_account_id, p_key_id,
    jsonb_strip_nulls(jsonb_build_object('reason', nullif(current_setting('keyfund.reason', true), '')) || p_details);
$$;

create index audit_log_administrators_idx on public.audit_log (at) where actor = 'administrator';

alter table keyfund.settings add column large_adjustment_credits bigint not null default 10000
  constraint settings_large_adjustment_credits_check check (large_adjustment_credits > 0);
comment on column keyfund.settings.large_adjustment_credits is
  'An adjustment of so many credits, either way, is shown among the concerns for 30 days.';

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

create or replace function public.read_concerns() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return keyfund.concerns() || keyfund.adjustment_concerns() || jsonb_build_object(
    'reconciliation', (
      select jsonb_build_object('at', r.ended_at, 'differences', r.differences, 'complete', r.complete)
      from keyfund.reconciliations r order by r.id desc limit 1),
    'drift', (
      select jsonb_build_object('at', d.ended_at, 'differences', d.differences, 'complete', d.complete)
      from keyfund.drift_reports d order by d.id desc limit 1));
end;
$$;

-- ------------------------------------------------------------------- reviews

create function keyfund.proportion(p_payment public.transactions) returns bigint
language plpgsql stable set search_path = '' as $$
declare
  v_credits bigint;
begin
  if p_payment.paid_currency is distinct from p_payment.currency or p_payment.paid_amount is null then
    perform keyfund.refuse(409, 'no_proportion',
      'What was paid cannot be set against the price: credit it as ordered, or refund it.');
  end if;
  v_credits := least(p_payment.credits,
    floor(p_payment.credits::numeric * (p_payment.paid_amount - coalesce(p_payment.borne_fee, 0)) / p_payment.amount));
  if v_credits < 1 then
    perform keyfund.refuse(409, 'too_little_paid', 'What was paid does not buy one credit.');
  end if;
  return v_credits;
end;
$$;
comment on function keyfund.proportion(public.transactions) is
  'The credits that were paid for, fee apart, in whole credits.';

drop function public.decide_review(text, boolean, text);
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
    perform keyfund.refuse(400, 'reason_missing', 'Say why: the reason is kept.');
  end if;
  v_payment := keyfund.hold_payment(decide_review.reference);
  if v_payment.id is null or v_payment.status <> 'needs_review' then
    perform keyfund.refuse(409, 'nothing_to_decide', 'No payment with this reference waits for a decision.');
  end if;
  if decide_review.accept then
    if v_payment.borne_fee is null and keyfund.lost_amount(v_payment) > 0 then
      perform keyfund.refuse(409, 'fee_unknown',
        'Something of it was given back: do its steps again first, so that Paystack is asked who bore the fee.');
    end if;
    v_credits := case when decide_review.in_part then keyfund.proportion(v_payment) else v_payment.credits end;
    perform keyfund.append_entry(v_payment.user_id, v_credits, 'purchase',
      'purchase:' || v_payment.reference, btrim(decide_review.reason));
    update public.transactions
    set status = 'success', credited_at = now(), decided_at = now(), decided_by = (select auth.uid()),
        granted_credits = nullif(v_credits, credits),
        account_revision = (select revision from keyfund.accounts where user_id = v_payment.user_id)
    where id = v_payment.id;
    -- As its refunds and disputes left it.
    select * into strict v_payment from public.transactions where id = v_payment.id;
  else
    update public.transactions
    set status = 'failed', review_reason = review_reason || ': ' || btrim(decide_review.reason),
        decided_at = now(), decided_by = (select auth.uid())
    where id = v_payment.id returning * into v_payment;
  end if;
  perform keyfund.note('payment_' || v_deed, v_payment.user_id, null,
    jsonb_build_object('reference', v_payment.reference, 'reason', btrim(decide_review.reason), 'credits', v_credits));
  return v_payment;
end;
$$;
comment on function public.decide_review(text, boolean, text, boolean) is
  'An administrator credits a payment that did not fit its order, as ordered or in proportion to what was paid, '
  'or refuses it (and refunds it at Paystack).';

-- --------------------------------------------------------------- adjustments

drop function public.adjust_credits(uuid, bigint, text, text);
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
  if coalesce(btrim(adjust_credits.reason), '') = '' or coalesce(btrim(adjust_credits.adjustment_id), '') = '' then
    perform keyfund.refuse(400, 'reason_missing',
      'Say why, and give an id: repeating it with the same id changes nothing.');
  end if;
  if coalesce(adjust_credits.credits, 0) = 0 or abs(adjust_credits.credits) > 1000000000 then
    perform keyfund.refuse(400, 'invalid_credits',
      'credits is a whole number other than 0, up to a thousand million either way.');
  end if;
  select p.credits into v_before from public.profiles p where p.id = adjust_credits.account_id for update;
  if v_before is null then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
  select * into v_entry from public.credit_ledger where cause = v_cause;
  if v_entry.id is null then
    if v_before + adjust_credits.credits < least(0, v_before)
        and not coalesce(adjust_credits.allow_negative, false) then
      perform keyfund.refuse(409, 'below_zero', format(
        'The account has %s credits and would have %s: that is less than nothing. Allow it with allow_negative.',
        v_before, v_before + adjust_credits.credits));
    end if;
    if keyfund.append_entry(adjust_credits.account_id, adjust_credits.credits, 'adjustment', v_cause,
        btrim(adjust_credits.reason)) is not null then
      perform keyfund.note('credits_adjusted', adjust_credits.account_id, null, jsonb_build_object(
        'credits', adjust_credits.credits, 'before', v_before, 'after', v_before + adjust_credits.credits,
        'reason', btrim(adjust_credits.reason)));
    end if;
    select * into strict v_entry from public.credit_ledger where cause = v_cause;
  end if;
  if (v_entry.user_id, v_entry.delta) is distinct from (adjust_credits.account_id, adjust_credits.credits) then
    perform keyfund.refuse(409, 'adjustment_exists', 'This id was used for another adjustment.');
  end if;
  return v_entry;
end;
$$;
comment on function public.adjust_credits(uuid, bigint, text, text, boolean) is
  'An administrator gives or takes credits, once per adjustment_id, with a reason that is kept; below zero only '
  'with allow_negative.';

revoke all on function public.decide_review(text, boolean, text, boolean)
  from public, anon, authenticated, service_role;
revoke all on function public.adjust_credits(uuid, bigint, text, text, boolean)
  from public, anon, authenticated, service_role;
grant execute on function public.decide_review(text, boolean, text, boolean) to authenticated;
grant execute on function public.adjust_credits(uuid, bigint, text, text, boolean) to authenticated;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
