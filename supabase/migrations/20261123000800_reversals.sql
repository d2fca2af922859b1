-- Refunds and disputes: facts per payment, and what they withhold of the credits it granted.

alter table public.transactions add column refunded_amount bigint not null default 0;
alter table public.transactions add column withheld_credits bigint not null default 0;
alter table public.transactions add column reversals integer not null default 0;
comment on column public.transactions.refunded_amount is 'Sum of Paystack''s processed refunds, in subunits.';
comment on column public.transactions.withheld_credits is 'Credits of this payment that are withheld now for refunds and disputes.';
comment on column public.transactions.reversals is 'How many ledger entries have moved withheld_credits.';

create table keyfund.disputes (
  id bigint primary key,
  transaction_id uuid not null references public.transactions (id),
  resolved boolean not null,
  resolution text,
  refund_amount bigint,
  updated_at timestamptz not null default now()
);
comment on table keyfund.disputes is 'Paystack''s disputes by its id, each with the last state that counts: resolved is final.';
comment on column keyfund.disputes.refund_amount is 'What a lost dispute gave back, in subunits; null: all of it.';
create index disputes_transaction_id_idx on keyfund.disputes (transaction_id);
alter table keyfund.disputes enable row level security;

create function keyfund.disputed_amount(p_payment public.transactions) returns bigint
language sql stable set search_path = '' as $$
  -- Open: all of it is in doubt. Declined: nothing. Accepted, by us or by time: what was given back.
  select coalesce(sum(case
    when not d.resolved then p_payment.paid_amount
    when d.resolution in ('merchant-accepted', 'auto-accepted') then coalesce(d.refund_amount, p_payment.paid_amount)
    else 0 end), 0)::bigint
  from keyfund.disputes d where d.transaction_id = p_payment.id;
$$;

create function keyfund.credits_to_withhold(p_payment public.transactions) returns bigint
language sql stable set search_path = '' as $$
  -- The same money may be refunded and disputed: the larger counts, never both. Rounded up, in integers.
  select case when p_payment.credited_at is null or coalesce(p_payment.paid_amount, 0) = 0 then 0
    else least(p_payment.credits, ceil(p_payment.credits::numeric
      * greatest(p_payment.refunded_amount, keyfund.disputed_amount(p_payment)) / p_payment.paid_amount))::bigint end;
$$;
comment on function keyfund.credits_to_withhold(public.transactions) is
  'min(granted, ceil(granted x max(refunded, disputed or lost) / paid)).';

create function keyfund.withhold(p_transaction_id uuid) returns bigint
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
  update public.transactions
  set status = case when withheld_credits = credits and refunded_amount >= paid_amount then 'reversed' else 'success' end
  where id = v_payment.id and credited_at is not null and paid_amount > 0;
  -- Money that was never credited and is given back asks for no decision any more.
  update public.transactions set status = 'reversed'
  where id = v_payment.id and credited_at is null and status in ('needs_review', 'failed')
    and paid_amount > 0 and refunded_amount >= paid_amount;
  return v_change;
end;
$$;
comment on function keyfund.withhold(uuid) is 'Books target minus booked, so any event may come in any order, any number of times.';

create function public.record_reversals(p_reference text, p_refunded bigint, p_disputes jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_payment public.transactions;
  v_change bigint;
begin
  v_payment := keyfund.hold_payment(p_reference);
  if v_payment.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  -- A refund that is processed stays processed: a late answer never lowers what a newer one raised.
  update public.transactions set refunded_amount = greatest(refunded_amount, p_refunded) where id = v_payment.id;
  insert into keyfund.disputes (id, transaction_id, resolved, resolution, refund_amount)
  select d.id, v_payment.id, d.resolved, d.resolution, d.refund_amount
  from jsonb_to_recordset(p_disputes) as d (id bigint, resolved boolean, resolution text, refund_amount bigint)
  on conflict (id) do update
  set resolved = excluded.resolved, resolution = excluded.resolution, refund_amount = excluded.refund_amount, updated_at = now()
  where not keyfund.disputes.resolved;
  v_change := keyfund.withhold(v_payment.id);
  return jsonb_build_object('user_id', v_payment.user_id, 'withheld', v_change);
end;
$$;
comment on function public.record_reversals(text, bigint, jsonb) is
  'What Paystack says now of a payment''s processed refunds (subunits) and its disputes. Returns by how many credits more (or less) is withheld.';

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

-- --------------------------------------------------------------------- sweep

-- One value each, not a set of rows: a limit on rows anywhere on the way could cut a set short unseen.
create function public.list_uncredited(p_references text[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(reference), '[]') from public.transactions
  where reference = any(p_references) and credited_at is null and status <> 'needs_review';
$$;
comment on function public.list_uncredited(text[]) is 'Those of our references that are not credited yet: Paystack says they are paid.';

create function public.list_changed_reversals(p_refunds jsonb, p_disputes jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(changed.reference), '[]') from (
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_refunds) as r (provider_id bigint, amount bigint) on r.provider_id = t.provider_id
  where t.paid_amount is not null and r.amount > t.refunded_amount
  union
  select t.reference from public.transactions t
  join jsonb_to_recordset(p_disputes) as d (id bigint, reference text, resolved boolean) on d.reference = t.reference
  left join keyfund.disputes known on known.id = d.id
  where t.paid_amount is not null and (known.id is null or (d.resolved and not known.resolved))) changed;
$$;
comment on function public.list_changed_reversals(jsonb, jsonb) is
  'Our payments of which Paystack''s lists show refunds or disputes that we have not counted.';

revoke all on function public.list_uncredited(text[]) from public, anon, authenticated, service_role;
revoke all on function public.list_changed_reversals(jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.list_uncredited(text[]) to service_role;
grant execute on function public.list_changed_reversals(jsonb, jsonb) to service_role;

-- ---------------------------------------------------------- administrators

create function keyfund.check_administrator() returns void
language plpgsql set search_path = '' as $$
begin
  if not public.is_administrator() then
    perform keyfund.refuse(403, 'not_an_administrator', 'Only an administrator may do this.');
  end if;
end;
$$;

create function public.decide_review(reference text, accept boolean, reason text) returns public.transactions
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_payment public.transactions;
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
    perform keyfund.append_entry(v_payment.user_id, v_payment.credits, 'purchase',
      'purchase:' || v_payment.reference, btrim(decide_review.reason));
    update public.transactions
    set status = 'success', credited_at = now(), decided_at = now(), decided_by = (select auth.uid()),
        account_revision = (select revision from keyfund.accounts where user_id = v_payment.user_id)
    where id = v_payment.id returning * into v_payment;
  else
    update public.transactions
    set status = 'failed', review_reason = review_reason || ': ' || btrim(decide_review.reason),
        decided_at = now(), decided_by = (select auth.uid())
    where id = v_payment.id returning * into v_payment;
  end if;
  perform keyfund.note(case when decide_review.accept then 'payment_accepted' else 'payment_refused' end, v_payment.user_id, null,
    jsonb_build_object('reference', v_payment.reference, 'reason', btrim(decide_review.reason)));
  return v_payment;
end;
$$;
comment on function public.decide_review(text, boolean, text) is
  'An administrator credits a payment that did not fit its order, or refuses it (and refunds it at Paystack).';

create function public.adjust_credits(account_id uuid, credits bigint, reason text, adjustment_id text)
returns public.credit_ledger
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_cause text := 'adjustment:' || adjust_credits.adjustment_id;
  v_entry public.credit_ledger;
begin
  perform keyfund.check_administrator();
  if coalesce(btrim(adjust_credits.reason), '') = '' or coalesce(btrim(adjust_credits.adjustment_id), '') = '' then
    perform keyfund.refuse(400, 'reason_missing', 'Say why, and give an id: repeating it with the same id changes nothing.');
  end if;
  if coalesce(adjust_credits.credits, 0) = 0 or abs(adjust_credits.credits) > 1000000000 then
    perform keyfund.refuse(400, 'invalid_credits', 'credits is a whole number other than 0, up to a thousand million either way.');
  end if;
  if not exists (select from public.profiles where id = adjust_credits.account_id) then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
  if keyfund.append_entry(adjust_credits.account_id, adjust_credits.credits, 'adjustment', v_cause, btrim(adjust_credits.reason)) is not null then
    perform keyfund.note('credits_adjusted', adjust_credits.account_id, null,
      jsonb_build_object('credits', adjust_credits.credits, 'reason', btrim(adjust_credits.reason)));
  end if;
  select * into strict v_entry from public.credit_ledger where cause = v_cause;
  if (v_entry.user_id, v_entry.delta) is distinct from (adjust_credits.account_id, adjust_credits.credits) then
    perform keyfund.refuse(409, 'adjustment_exists', 'This id was used for another adjustment.');
  end if;
  return v_entry;
end;
$$;
comment on function public.adjust_credits(uuid, bigint, text, text) is
  'An administrator gives or takes credits, once per adjustment_id, with a reason that is kept.';

revoke all on function public.record_reversals(text, bigint, jsonb) from public, anon, authenticated, service_role;
revoke all on function public.decide_review(text, boolean, text) from public, anon, authenticated, service_role;
revoke all on function public.adjust_credits(uuid, bigint, text, text) from public, anon, authenticated, service_role;
grant execute on function public.record_reversals(text, bigint, jsonb) to service_role;
grant execute on function public.decide_review(text, boolean, text) to authenticated;
grant execute on function public.adjust_credits(uuid, bigint, text, text) to authenticated;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
