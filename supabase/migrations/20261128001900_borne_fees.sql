-- Refunds and disputes, measured by what was paid towards the price.
--
-- Of a payment we know P, the price of what was granted; A, what was paid; F, the fee that the buyer bore. Towards the
-- price went B = min(P, A - F). L is lost: refunds and disputes, no more than A. What is left of A covers F first, so
-- withheld = ceil(granted x max(0, B - max(0, A - F - L)) / B). Giving back what was paid beyond price and fee takes
-- nothing; giving back the price takes everything.
--
-- F is frozen when a payment is credited. Payments from before have none: they keep what is withheld of them until
-- Paystack was asked, with their next event or by "python -m operate remeasure". No ledger changes by this file.

alter table public.transactions
  add column borne_fee bigint constraint transactions_borne_fee_check check (borne_fee >= 0),
  add column granted_credits bigint
    constraint transactions_granted_credits_check check (granted_credits between 1 and credits),
  add column refunded_in_disputes bigint not null default 0,
  add column refunding_amount bigint not null default 0,
  add column refunded_at timestamptz;
comment on column public.transactions.borne_fee is
  'What the buyer paid for Paystack''s fee, in subunits; null: Paystack was not asked yet.';
comment on column public.transactions.granted_credits is
  'What an administrator granted of the order, in proportion to what was paid; null: as ordered.';
comment on column public.transactions.refunded_in_disputes is
  'What of refunded_amount belongs to a dispute, and counts there.';
comment on column public.transactions.refunding_amount is
  'Refunds that Paystack has begun and not processed yet, in subunits.';
comment on column public.transactions.refunded_at is 'When the last refund was processed.';

-- ------------------------------------------------------------------ formula

create function keyfund.granted(p_payment public.transactions) returns bigint
language sql immutable set search_path = '' as $$
  select coalesce(p_payment.granted_credits, p_payment.credits);
$$;
comment on function keyfund.granted(public.transactions) is 'The credits that the payment bought, or would buy.';

create function keyfund.paid_amount(p_payment public.transactions) returns bigint
language sql immutable set search_path = '' as $$
  select coalesce(p_payment.paid_amount, p_payment.amount);
$$;
comment on function keyfund.paid_amount(public.transactions) is
  'A: what was paid. Where Paystack did not say it, the price.';

create function keyfund.paid_for_price(p_payment public.transactions) returns bigint
language sql immutable set search_path = '' as $$
  -- Granted in part, or paid in another currency: what was paid is the price.
  select greatest(0, least(
    case when p_payment.granted_credits is null
        and coalesce(p_payment.paid_currency, p_payment.currency) = p_payment.currency
      then p_payment.amount else keyfund.paid_amount(p_payment) end,
    keyfund.paid_amount(p_payment) - coalesce(p_payment.borne_fee, 0)));
$$;
comment on function keyfund.paid_for_price(public.transactions) is
  'B: what was paid towards the price, without the fee.';

drop function keyfund.disputed_amount(public.transactions);
create function keyfund.disputed_amount(p_payment public.transactions, p_with_open boolean default true) returns bigint
language sql stable set search_path = '' as $$
  -- Open: all of it is in doubt. Declined: nothing. Accepted, by us or by time: what was given back.
  select coalesce(sum(case
    when not d.resolved then case when p_with_open then keyfund.paid_amount(p_payment) else 0 end
    when d.resolution in ('merchant-accepted', 'auto-accepted')
      then coalesce(d.refund_amount, keyfund.paid_amount(p_payment))
    else 0 end), 0)::bigint
  from keyfund.disputes d where d.transaction_id = p_payment.id;
$$;

create function keyfund.lost_amount(p_payment public.transactions, p_with_open boolean default true) returns bigint
language sql stable set search_path = '' as $$
  select least(keyfund.paid_amount(p_payment),
    p_payment.refunded_amount - p_payment.refunded_in_disputes + keyfund.disputed_amount(p_payment, p_with_open));
$$;
comment on function keyfund.lost_amount(public.transactions, boolean) is
  'L: refunds that belong to no dispute, lost disputes and, while they are open, open ones; never more than was paid.';

create or replace function keyfund.credits_to_withhold(p_payment public.transactions) returns bigint
language sql stable set search_path = '' as $$
  select case
    when p_payment.credited_at is null or (lost = 0 and p_payment.borne_fee is not null) then 0
    when p_payment.borne_fee is null then p_payment.withheld_credits
    when price = 0 then granted
    else least(granted, ceil(granted::numeric
      * greatest(0, price - greatest(0, keyfund.paid_amount(p_payment) - p_payment.borne_fee - lost))
      / price))::bigint end
  from (select keyfund.granted(p_payment) as granted, keyfund.paid_for_price(p_payment) as price,
    keyfund.lost_amount(p_payment) as lost) known;
$$;
comment on function keyfund.credits_to_withhold(public.transactions) is
  'min(granted, ceil(granted x max(0, B - max(0, A - F - L)) / B)); while F is unknown, what is withheld already.';

create or replace function keyfund.withhold(p_transaction_id uuid) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_payment public.transactions;
  v_change bigint;
begin
  select * into strict v_payment from public.transactions where id = p_transaction_id for update;
  v_change := keyfund.credits_to_withhold(v_payment) - v_payment.withheld_credits;
  if v_change <> 0 then
    perform keyfund.append_entry(v_payment.user_id, -v_change, 'withheld',
      'withheld:' || v_payment.reference || ':' || v_payment.reversals + 1);
    update public.transactions
    set withheld_credits = withheld_credits + v_change, reversals = reversals + 1
    where id = v_payment.id;
  end if;
  -- An open dispute may still be won: only what went back for good reverses a payment.
  update public.transactions t
  set status = case when withheld_credits = keyfund.granted(t)
      and keyfund.lost_amount(t, false) >= keyfund.paid_for_price(t)
    then 'reversed' else 'success' end
  where id = v_payment.id and credited_at is not null;
  -- Money that was never credited and is given back asks for no decision any more.
  update public.transactions t set status = 'reversed'
  where id = v_payment.id and credited_at is null and status in ('needs_review', 'failed')
    and keyfund.paid_amount(t) > 0 and keyfund.lost_amount(t, false) >= keyfund.paid_amount(t);
  return v_change;
end;
$$;

-- -------------------------------------------------------------------- facts

drop function public.record_reversals(text, bigint, jsonb);
create function public.record_reversals(
  p_reference text, p_refunded bigint, p_disputes jsonb, p_in_disputes bigint default 0, p_refunding bigint default 0,
  p_refunded_at timestamptz default null, p_borne_fee bigint default null, p_only_show boolean default false
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_payment public.transactions;
  v_before bigint;
  v_change bigint;
begin
  v_payment := keyfund.hold_payment(p_reference);
  if v_payment.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  v_before := v_payment.withheld_credits;
  begin
    -- A refund that is processed stays processed: a late answer never lowers what a newer one raised.
    update public.transactions
    set refunded_at = case when p_refunded > refunded_amount then coalesce(p_refunded_at, now()) else refunded_at end,
        refunded_amount = greatest(refunded_amount, p_refunded),
        refunded_in_disputes = greatest(refunded_in_disputes, p_in_disputes), refunding_amount = p_refunding,
        borne_fee = coalesce(borne_fee, p_borne_fee)
    where id = v_payment.id returning * into v_payment;
    insert into keyfund.disputes (id, transaction_id, resolved, resolution, refund_amount)
    select d.id, v_payment.id, d.resolved, d.resolution, d.refund_amount
    from jsonb_to_recordset(p_disputes) as d (id bigint, resolved boolean, resolution text, refund_amount bigint)
    on conflict (id) do update
    set resolved = excluded.resolved, resolution = excluded.resolution, refund_amount = excluded.refund_amount,
        updated_at = now()
    where not keyfund.disputes.resolved;
    if v_payment.credited_at is not null and v_payment.borne_fee is null and keyfund.lost_amount(v_payment) > 0 then
      perform keyfund.refuse(409, 'fee_unknown',
        'Ask Paystack first who bore the fee: nothing is withheld before that is known.');
    end if;
    v_change := keyfund.withhold(v_payment.id);
    if p_only_show then
      raise exception using errcode = 'KF001'; -- what it would do is what it does, taken back
    end if;
  exception when sqlstate 'KF001' then
    null;
  end;
  return jsonb_build_object('user_id', v_payment.user_id, 'withheld', v_change, 'before', v_before,
    'borne_fee', v_payment.borne_fee);
end;
$$;
comment on function public.record_reversals(text, bigint, jsonb, bigint, bigint, timestamptz, bigint, boolean) is
  'What Paystack says now of a payment''s refunds (subunits), its disputes and, once, the fee that the buyer '
  'bore. Returns by how many credits more (or less) is withheld; with p_only_show nothing is changed.';

drop function public.credit_payment(text, bigint, bigint, text, timestamptz, bigint, uuid, integer);
create function public.credit_payment(
  p_reference text, p_provider_id bigint, p_paid_amount bigint, p_currency text, p_paid_at timestamptz default null,
  p_event_id bigint default null, p_event_token uuid default null, p_lease_seconds integer default null,
  p_borne_fee bigint default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_payment public.transactions;
  v_entry bigint;
begin
  v_payment := keyfund.hold_payment(p_reference);
  if v_payment.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  if v_payment.status = 'success' or v_payment.credited_at is not null then
    return jsonb_build_object('credited', false, 'user_id', v_payment.user_id);
  end if;
  if v_payment.status = 'needs_review' then
    perform keyfund.refuse(409, 'payment_needs_review', 'An administrator has to decide about this payment.');
  elsif v_payment.decided_at is not null then
    perform keyfund.refuse(409, 'payment_refused', 'An administrator decided that this payment buys nothing.');
  end if;
  -- The caller has judged this already; money is not given on one opinion.
  if p_currency is distinct from v_payment.currency or coalesce(p_paid_amount, 0) < v_payment.amount then
    perform keyfund.refuse(409, 'payment_does_not_fit', 'What was paid is not what was ordered.');
  end if;
  v_entry := keyfund.append_entry(v_payment.user_id, v_payment.credits, 'purchase',
    'purchase:' || v_payment.reference);
  update public.transactions
  set status = 'success', provider_status = 'success', provider_id = p_provider_id, paid_amount = p_paid_amount,
      paid_currency = p_currency, paid_at = p_paid_at, verified_at = coalesce(verified_at, now()), credited_at = now(),
      next_verify_at = null, review_reason = null,
      -- A buyer who paid exactly the price paid no fee.
      borne_fee = coalesce(p_borne_fee, borne_fee, case when p_paid_amount = amount then 0 end),
      account_revision = (select revision from keyfund.accounts where user_id = v_payment.user_id)
  where id = v_payment.id;
  -- With the credits, not after them: one call less for each payment, and nothing in between to die in.
  perform public.finish_event(p_event_id, p_event_token, 'credited');
  return jsonb_build_object('credited', v_entry is not null, 'user_id', v_payment.user_id,
    'credits', v_payment.credits,
    'push', case when p_lease_seconds is not null then public.claim_push(v_payment.user_id, p_lease_seconds) end);
end;
$$;
comment on function public.credit_payment(text, bigint, bigint, text, timestamptz, bigint, uuid, integer, bigint) is
  'A payment verified with Paystack: grants the order''s own credits, once, however often and from wherever it is '
  'called. The event that told of it is handled with the credit, and with p_lease_seconds the account is leased '
  'for its push.';

drop function public.review_payment(text, text, bigint, bigint, text);
create function public.review_payment(
  p_reference text, p_reason text, p_provider_id bigint, p_paid_amount bigint, p_currency text,
  p_borne_fee bigint default null
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  update public.transactions
  set status = 'needs_review', review_reason = p_reason, provider_status = 'success', provider_id = p_provider_id,
      paid_amount = p_paid_amount, paid_currency = p_currency, borne_fee = coalesce(p_borne_fee, borne_fee),
      verified_at = coalesce(verified_at, now()), next_verify_at = null
  where reference = p_reference and status in ('pending', 'failed', 'abandoned', 'reversed') and credited_at is null
    and decided_at is null;
end;
$$;
comment on function public.review_payment(text, text, bigint, bigint, text, bigint) is
  'Money came that does not fit its order: an administrator decides.';

-- --------------------------------------------------------------------- sweep

create or replace function public.list_uncredited(p_references text[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(reference), '[]') from public.transactions
  where reference = any(p_references) and credited_at is null and status <> 'needs_review' and decided_at is null;
$$;
comment on function public.list_uncredited(text[]) is
  'Those of our references that Paystack says are paid, and that nobody has credited or decided about.';

create or replace function public.list_changed_reversals(p_refunds jsonb, p_disputes jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(changed.reference), '[]') from (
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_refunds) as r (provider_id bigint, amount bigint, in_disputes bigint, refunding bigint)
    on r.provider_id = t.provider_id
  where t.provider_id is not null and (r.amount > t.refunded_amount or r.in_disputes > t.refunded_in_disputes
    or r.refunding <> t.refunding_amount)
  union
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_disputes) as d (id bigint, reference text, resolved boolean) on d.reference = t.reference
  left join keyfund.disputes known on known.id = d.id
  where t.provider_id is not null and (known.id is null or (d.resolved and not known.resolved))) changed;
$$;

create function public.was_payment_heard_of(p_reference text, p_reversals boolean) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from keyfund.paystack_events e
    where e.reference = p_reference
      and case when p_reversals
        then (e.event like 'refund.%' or e.event like 'charge.dispute.%')
          and (e.handled_at is null or e.received_at > now() - interval '1 day')
        else e.event = 'charge.success' end);
$$;
comment on function public.was_payment_heard_of(text, boolean) is
  'Whether Paystack''s webhook has told of the payment or, within a day, of its refunds and disputes. Then the webhook '
  'works, even where the sweep handled the payment before it.';

-- ----------------------------------------------------------------- remeasure

create function public.list_unmeasured(p_after text, p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(page.reference order by page.reference), '[]') from (
    select t.reference from public.transactions t
    where t.credited_at is not null and t.borne_fee is null and (p_after is null or t.reference > p_after)
      and (t.refunded_amount > 0 or t.withheld_credits <> 0
        or exists (select from keyfund.disputes d where d.transaction_id = t.id))
    order by t.reference limit p_limit) page;
$$;
comment on function public.list_unmeasured(text, integer) is
  'Credited payments with refunds or disputes that were measured before fees were known, after that reference.';

-- --------------------------------------------------------------------- books

create or replace function keyfund.audit_account(p_user_id uuid) returns setof jsonb
language sql stable set search_path = '' as $$
  with entries as (
    select coalesce(sum(l.delta), 0) as total, coalesce(sum(l.delta) filter (where l.kind <> 'usage'), 0) as wallet,
      -coalesce(sum(l.delta) filter (where l.kind = 'usage'), 0) as used,
      coalesce((select last.balance_after from public.credit_ledger last
        where last.user_id = p_user_id order by last.id desc limit 1), 0) as last
    from public.credit_ledger l where l.user_id = p_user_id
  ), payments as (
    select t.*, keyfund.granted(t) as bought, e.purchases, e.granted, e.withheld_entries from public.transactions t
    left join lateral (
      select count(*) filter (where l.kind = 'purchase') as purchases,
        coalesce(sum(l.delta) filter (where l.kind = 'purchase'), 0) as granted,
        -coalesce(sum(l.delta) filter (where l.kind = 'withheld'), 0) as withheld_entries
      from public.credit_ledger l
      where l.user_id = t.user_id and l.kind in ('purchase', 'withheld') and split_part(l.cause, ':', 2) = t.reference
    ) e on true
    where t.user_id = p_user_id
  )
  -- transactions = ledger
  select keyfund.difference('ledger', 'payment ' || reference,
    format('%s entries of %s credits', purchases, granted),
    case when credited_at is null then 'none' else format('1 entry of %s credits', bought) end)
  from payments where (purchases, granted) is distinct from
    (case when credited_at is null then 0 else 1 end::bigint,
     case when credited_at is null then 0 else bought end::numeric)
  union all
  select keyfund.difference('ledger', 'payment ' || reference, status, 'success or reversed, as it is credited')
  from payments where credited_at is not null and status not in ('success', 'reversed')
  union all
  select keyfund.difference('ledger', 'withheld of payment ' || reference, withheld_entries::text,
    keyfund.credits_to_withhold(t)::text)
  from payments p join public.transactions t using (id, reference)
  where p.withheld_entries <> p.withheld_credits or p.withheld_credits <> keyfund.credits_to_withhold(t)
  union all
  select keyfund.difference('ledger', 'entry ' || l.id, l.cause, 'a payment of this account')
  from public.credit_ledger l
  where l.user_id = p_user_id and l.kind in ('purchase', 'withheld') and not exists (
    select from payments p where p.reference = split_part(l.cause, ':', 2))
  union all
  -- ledger = credits
  select keyfund.difference('credits', 'account ' || p_user_id, p.credits::text, e.total::text)
  from public.profiles p, entries e
  where p.id = p_user_id and (p.credits, p.credits) is distinct from (e.total, e.last)
  union all
  select keyfund.difference('credits', 'wallet of account ' || p_user_id,
    coalesce(a.wallet_credits::text, 'no account'), e.wallet::text)
  from entries e left join keyfund.accounts a on a.user_id = p_user_id where a.wallet_credits is distinct from e.wallet
  union all
  select keyfund.difference('credits', 'usage of account ' || p_user_id, e.used::text,
    (a.booked_micros / (s.credit_value_cents * 10000))::text)
  from entries e, keyfund.accounts a, keyfund.settings s
  where a.user_id = p_user_id and a.booked_micros / (s.credit_value_cents * 10000) <> e.used;
$$;

create or replace function keyfund.is_owed(p_payment public.transactions) returns boolean
language sql stable set search_path = '' as $$
  select keyfund.lost_amount(p_payment) < keyfund.paid_amount(p_payment);
$$;

revoke all on function public.record_reversals(text, bigint, jsonb, bigint, bigint, timestamptz, bigint, boolean)
  from public, anon, authenticated, service_role;
revoke all on function public.credit_payment(text, bigint, bigint, text, timestamptz, bigint, uuid, integer, bigint)
  from public, anon, authenticated, service_role;
revoke all on function public.review_payment(text, text, bigint, bigint, text, bigint)
  from public, anon, authenticated, service_role;
revoke all on function public.was_payment_heard_of(text, boolean) from public, anon, authenticated, service_role;
revoke all on function public.list_unmeasured(text, integer) from public, anon, authenticated, service_role;
grant execute on function public.record_reversals(text, bigint, jsonb, bigint, bigint, timestamptz, bigint, boolean)
  to service_role;
grant execute on function public.credit_payment(text, bigint, bigint, text, timestamptz, bigint, uuid, integer, bigint)
  to service_role;
grant execute on function public.review_payment(text, text, bigint, bigint, text, bigint) to service_role;
grant execute on function public.was_payment_heard_of(text, boolean) to service_role;
grant execute on function public.list_unmeasured(text, integer) to service_role;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
