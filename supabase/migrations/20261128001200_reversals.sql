-- Refunds and disputes: facts per payment, and what they withhold of the credits it granted.
--
-- Of a payment we know P, the price of what was granted; A, what was paid; F, the fee that the buyer bore. Towards
-- the price went B = min(P, A - F). L is lost: refunds and disputes, no more than A. What is left of A covers F
-- first, so withheld = ceil(granted x max(0, B - max(0, A - F - L)) / B). Giving back what was paid beyond price
-- and fee takes nothing; giving back the price takes everything. F is frozen when a payment is credited.

set local check_function_bodies = off; -- a function may name what a later file makes

create table keyfund.disputes (
  provider keyfund.provider not null,
  id bigint not null,
  transaction_id uuid not null references public.transactions (id),
  resolved boolean not null,
  resolution text,
  refund_amount bigint,
  updated_at timestamptz not null default now(),
  constraint disputes_pkey primary key (provider, id)
);
comment on table keyfund.disputes is
  'Disputes by the provider and its id, each with the last state that counts: resolved is final.';
comment on column keyfund.disputes.refund_amount is 'What a lost dispute gave back, in subunits; null: all of it.';
alter table keyfund.disputes enable row level security;
create index disputes_transaction_id_idx on keyfund.disputes (transaction_id);

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
  'A: what was paid. Where the provider did not say it, the price.';

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

create function keyfund.disputed_amount(
  p_payment public.transactions, p_with_open boolean default true
) returns bigint
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
  'L: refunds that belong to no dispute, lost disputes and, while they are open, open ones; never more than was '
  'paid.';

create function keyfund.credits_to_withhold(p_payment public.transactions) returns bigint
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

create function keyfund.withhold(p_transaction_id uuid) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_payment public.transactions;
  v_change bigint;
begin
  select * into strict v_payment from public.transactions where id = p_transaction_id for update;
  v_change := keyfund.credits_to_withhold(v_payment) - v_payment.withheld_credits;
  if v_change <> 0 then
    perform keyfund.append_entry(v_payment.account_id, -v_change, 'withheld',
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
comment on function keyfund.withhold(uuid) is
  'Books target minus booked, so any event may come in any order, any number of times.';

create function keyfund.withhold_from_the_start() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform keyfund.withhold(new.id); -- refunded or disputed before it was credited
  return null;
end;
$$;
create trigger transactions_credited_are_withheld after update of credited_at on public.transactions
  for each row when (old.credited_at is null and new.credited_at is not null)
  execute function keyfund.withhold_from_the_start();

-- ----------------------------------------------------- what the provider says

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
    perform keyfund.refuse('payment_not_found');
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
    insert into keyfund.disputes (provider, id, transaction_id, resolved, resolution, refund_amount)
    select v_payment.provider, d.id, v_payment.id, d.resolved, d.resolution, d.refund_amount
    from jsonb_to_recordset(p_disputes) as d (id bigint, resolved boolean, resolution text, refund_amount bigint)
    on conflict on constraint disputes_pkey do update
    set resolved = excluded.resolved, resolution = excluded.resolution, refund_amount = excluded.refund_amount,
        updated_at = now()
    where not keyfund.disputes.resolved;
    if v_payment.credited_at is not null and v_payment.borne_fee is null and keyfund.lost_amount(v_payment) > 0 then
      perform keyfund.refuse('fee_unknown');
    end if;
    v_change := keyfund.withhold(v_payment.id);
    if p_only_show then
      raise exception using errcode = 'KF001'; -- what it would do is what it does, taken back
    end if;
  exception when sqlstate 'KF001' then
    null;
  end;
  return jsonb_build_object('user_id', v_payment.account_id, 'withheld', v_change, 'before', v_before,
    'borne_fee', v_payment.borne_fee);
end;
$$;
comment on function public.record_reversals(text, bigint, jsonb, bigint, bigint, timestamptz, bigint, boolean) is
  'What the provider says now of a payment''s refunds (subunits), its disputes and, once, the fee that the buyer '
  'bore. Returns by how many credits more (or less) is withheld; with p_only_show nothing is changed.';

create function public.was_payment_heard_of(p_reference text, p_reversals boolean) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from keyfund.events e
    where e.reference = p_reference
      and case when p_reversals
        then e.kind = 'reversal' and (e.handled_at is null or e.received_at > now() - interval '1 day')
        else e.kind = 'payment' end);
$$;
comment on function public.was_payment_heard_of(text, boolean) is
  'Whether the provider''s webhook has told of the payment or, within a day, of its refunds and disputes. Then the '
  'webhook works, even where the sweep handled the payment before it.';

create function public.list_uncredited(p_references text[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(reference), '[]') from public.transactions
  where reference = any(p_references) and credited_at is null and status not in ('success', 'needs_review')
    and decided_at is null;
$$;
comment on function public.list_uncredited(text[]) is
  'Those of our references that their provider says are paid, and that nobody has credited or decided about.';

create function public.list_changed_reversals(p_provider text, p_refunds jsonb, p_disputes jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(changed.reference), '[]') from (
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_refunds) as r (provider_id bigint, amount bigint, in_disputes bigint, refunding bigint)
    on r.provider_id = t.provider_id
  where t.provider = p_provider and (r.amount > t.refunded_amount or r.in_disputes > t.refunded_in_disputes
    or r.refunding <> t.refunding_amount)
  union
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_disputes) as d (id bigint, reference text, resolved boolean) on d.reference = t.reference
  left join keyfund.disputes known on known.provider = t.provider and known.id = d.id
  where t.provider = p_provider and t.provider_id is not null
    and (known.id is null or (d.resolved and not known.resolved))) changed;
$$;
comment on function public.list_changed_reversals(text, jsonb, jsonb) is
  'Our payments of which the provider''s lists show refunds or disputes that we have not counted.';

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

revoke all on function public.record_reversals, public.was_payment_heard_of, public.list_uncredited,
  public.list_changed_reversals, public.list_unmeasured from public, anon, authenticated, service_role;
