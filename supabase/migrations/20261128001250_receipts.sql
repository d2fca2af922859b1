-- Receipts: what a payment was for, as lines that whoever shows them need not take apart.

set local check_function_bodies = off; -- a function may name what a later file makes

create function public.read_receipt(reference text) returns jsonb
language sql stable set search_path = '' as $$
  -- With the caller's own rights: row-level security shows their payments alone. What was paid is the price, the fee
  -- that the buyer bore, and whatever came beyond; in part, or in another currency, all but the fee is the price.
  select jsonb_build_object(
    'reference', t.reference, 'order_id', t.order_id, 'email', p.email, 'provider', t.provider,
    'provider_id', t.provider_id, 'ordered_at', t.created_at, 'paid_at', coalesce(t.paid_at, t.credited_at),
    'credited_at', t.credited_at, 'refunded_at', t.refunded_at, 'currency', coalesce(t.paid_currency, t.currency),
    'lines', jsonb_build_array(jsonb_build_object('what', 'credits', 'credits', paid.credits,
        'amount', t.paid_amount - paid.fee - paid.beyond))
      || case when paid.fee > 0 then jsonb_build_array(jsonb_build_object('what', 'fee', 'amount', paid.fee))
        else '[]' end
      || case when paid.beyond > 0 then jsonb_build_array(jsonb_build_object('what', 'beyond', 'amount', paid.beyond))
        else '[]' end,
    'paid_amount', t.paid_amount, 'borne_fee', t.borne_fee, 'refunded_amount', t.refunded_amount,
    'total', t.paid_amount - t.refunded_amount, 'credits', paid.credits, 'withheld_credits', t.withheld_credits)
  from public.transactions t
  left join public.profiles p on p.id = t.user_id -- a member sees no other one's
  cross join lateral (
    select coalesce(t.borne_fee, 0) as fee, coalesce(t.granted_credits, t.credits) as credits,
      case when t.granted_credits is null and t.paid_currency is not distinct from t.currency
        then greatest(0, t.paid_amount - coalesce(t.borne_fee, 0) - t.amount) else 0 end as beyond) paid
  where t.reference = read_receipt.reference and t.credited_at is not null and t.paid_amount is not null;
$$;
comment on function public.read_receipt(text) is
  'The receipt of one of the caller''s credited payments, amounts in subunits; null: there is none. The lines '
  '(credits, fee, beyond: paid beyond the price) add up to paid_amount; total is what is left of it after refunds.';

revoke all on function public.read_receipt from public, anon, authenticated, service_role;
