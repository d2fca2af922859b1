-- How a payment stands, told as it is: nothing is called given back before it is.

alter table public.transactions add column standing text not null generated always as (
  case
    when status = 'reversed' or (refunded_amount > 0 and refunded_amount >= coalesce(paid_amount, amount))
      then 'refunded'
    when refunding_amount > 0 and (credited_at is null or refunded_amount + refunding_amount
      >= case when paid_currency = currency then least(amount, paid_amount) else paid_amount end)
      then 'refund_under_way'
    when status = 'needs_review' then 'under_review'
    when credited_at is not null then 'credited'
    when decided_at is not null then 'declined'
    else status end) stored;
comment on column public.transactions.standing is
  'pending, failed, abandoned, credited; under_review: a person decides; declined: a person refused it, and its '
  'money is to be given back; refund_under_way: Paystack is giving it back; refunded: it went back, at refunded_at.';

create or replace function keyfund.describe_payment(p_payment public.transactions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'reference', p_payment.reference, 'order_id', p_payment.order_id, 'user_id', p_payment.user_id,
    'email', p.email, 'account_status', p.status, 'package_id', p_payment.package_id,
    'status', p_payment.status, 'standing', p_payment.standing,
    'review_reason', p_payment.review_reason, 'decided_at', p_payment.decided_at,
    'credits', p_payment.credits,
    'granted_credits', case when p_payment.credited_at is not null then keyfund.granted(p_payment) end,
    'amount', p_payment.amount, 'currency', p_payment.currency,
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
