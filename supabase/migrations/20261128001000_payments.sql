-- Money in: orders, their attempts, credited payments.
--
-- An order is made once and frozen; each attempt to pay it at a checkout is a transaction, which its buyer reads.
-- Orders are in the closed schema, because they know the rate, and so what the sale leaves.

set local check_function_bodies = off; -- a function may name what a later file makes

-- --------------------------------------------------------------------- orders

create table keyfund.orders (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references keyfund.accounts (id),
  user_id uuid not null references public.profiles (id),
  provider keyfund.provider not null,
  package_id text not null,
  amount bigint not null constraint orders_amount_check check (amount > 0),
  currency text not null,
  credits bigint not null constraint orders_credits_check check (credits >= 0),
  rate_id bigint references keyfund.rates (id),
  created_at timestamptz not null default now(),
  constraint orders_facts_key unique (id, account_id, user_id, provider, package_id, amount, currency, credits)
);
comment on table keyfund.orders is
  'What somebody ordered, frozen when they did: price, credits, and the rate at which they were sold.';
comment on column keyfund.orders.user_id is 'The person who ordered, for the account.';
comment on column keyfund.orders.credits is
  '0: it was taken over, and nobody knows what it buys beyond what its account''s opening entry holds.';
comment on column keyfund.orders.rate_id is
  'The rate that counted then: with it cost, fee and margin are known. Null: there was none.';
comment on constraint orders_facts_key on keyfund.orders is
  'What an attempt refers to: it has its order''s owner, price and credits, and no others.';
alter table keyfund.orders enable row level security;
create index orders_account_id_idx on keyfund.orders (account_id, created_at desc);
create index orders_user_id_idx on keyfund.orders (user_id);

create function keyfund.refuse_other_order() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'an order''s price, credits, owner and reference are frozen';
end;
$$;
create trigger orders_are_frozen before update or delete or truncate on keyfund.orders
  for each statement execute function keyfund.refuse_other_order();

-- --------------------------------------------------------------- transactions

create table public.transactions (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references keyfund.accounts (id),
  user_id uuid not null references public.profiles (id),
  order_id uuid not null,
  provider text not null,
  package_id text not null,
  reference text not null constraint transactions_reference_key unique
    constraint transactions_reference_check check (reference ~ '^[A-Za-z0-9._=-]{1,100}$'),
  amount bigint not null check (amount > 0),
  currency text not null,
  credits bigint not null check (credits >= 0),
  status text not null default 'pending' constraint transactions_status_check
    check (status in ('pending', 'success', 'failed', 'abandoned', 'needs_review', 'reversed')),
  review_reason text,
  authorization_url text,
  access_code text,
  provider_status text,
  provider_id bigint,
  paid_amount bigint,
  paid_currency text,
  paid_at timestamptz,
  account_revision bigint,
  created_at timestamptz not null default now(),
  webhook_at timestamptz,
  verified_at timestamptz,
  credited_at timestamptz,
  pushed_at timestamptz,
  effective_at timestamptz,
  decided_at timestamptz,
  decided_by uuid,
  verify_attempts integer not null default 0,
  next_verify_at timestamptz default now() + interval '2 minutes',
  refunded_amount bigint not null default 0,
  withheld_credits bigint not null default 0,
  reversals integer not null default 0,
  borne_fee bigint constraint transactions_borne_fee_check check (borne_fee >= 0),
  granted_credits bigint
    constraint transactions_granted_credits_check check (granted_credits between 1 and credits),
  refunded_in_disputes bigint not null default 0,
  refunding_amount bigint not null default 0,
  refunded_at timestamptz,
  standing text not null generated always as (
  case
    when status = 'reversed' or (refunded_amount > 0 and refunded_amount >= coalesce(paid_amount, amount))
      then 'refunded'
    when refunding_amount > 0 and (credited_at is null or refunded_amount + refunding_amount
      >= case when paid_currency = currency then least(amount, paid_amount) else paid_amount end)
      then 'refund_under_way'
    when status = 'needs_review' then 'under_review'
    when credited_at is not null or status = 'success' then 'credited'
    when decided_at is not null then 'declined'
    else status end) stored,
  constraint transactions_provider_id_key unique (provider, provider_id),
  constraint transactions_order_fkey foreign key (
      order_id, account_id, user_id, provider, package_id, amount, currency, credits)
    references keyfund.orders (id, account_id, user_id, provider, package_id, amount, currency, credits)
);
comment on table public.transactions is
  'One attempt each to pay an order at a provider''s checkout. Price and credits are the order''s; nothing a payload '
  'says changes them.';
comment on column public.transactions.account_id is 'Whose credits are bought.';
comment on column public.transactions.user_id is 'The person who ordered.';
comment on column public.transactions.order_id is
  'Attempts of one order share it; each paid one is credited as a purchase of its own.';
comment on column public.transactions.amount is 'Price in subunits of the currency.';
comment on column public.transactions.credits is
  'What the order buys. 0: it was taken over; the account''s opening entry holds what was bought until then.';
comment on column public.transactions.status is
  'Only success is final: a failed or abandoned one that turns out paid is credited, at any age.';
comment on column public.transactions.provider is 'Who is paid: paystack.';
comment on column public.transactions.provider_id is
  'The provider''s numeric id of the payment: refunds are asked for by it.';
comment on column public.transactions.account_revision is
  'The account''s revision that carries these credits to LiteLLM.';
comment on column public.transactions.verified_at is 'When the provider first said that it is paid.';
comment on column public.transactions.decided_at is
  'When an administrator credited or refused a payment that did not fit its order.';
comment on column public.transactions.refunded_amount is 'Sum of the provider''s processed refunds, in subunits.';
comment on column public.transactions.withheld_credits is
  'Credits of this payment that are withheld now for refunds and disputes.';
comment on column public.transactions.reversals is 'How many ledger entries have moved withheld_credits.';
comment on column public.transactions.borne_fee is
  'What the buyer paid for the provider''s fee, in subunits; null: the provider was not asked yet.';
comment on column public.transactions.granted_credits is
  'What an administrator granted of the order, in proportion to what was paid; null: as ordered.';
comment on column public.transactions.refunded_in_disputes is
  'What of refunded_amount belongs to a dispute, and counts there.';
comment on column public.transactions.refunding_amount is
  'Refunds that the provider has begun and not processed yet, in subunits.';
comment on column public.transactions.refunded_at is 'When the last refund was processed.';
comment on column public.transactions.standing is
  'pending, failed, abandoned, credited; under_review: a person decides; declined: a person refused it, and its '
  'money is to be given back; refund_under_way: the provider is giving it back; refunded: it went back, at '
  'refunded_at.';
alter table public.transactions enable row level security;
revoke all on public.transactions from public, anon, authenticated, service_role;
grant select on public.transactions to authenticated, service_role;
create policy "owners and admins see their account's transactions" on public.transactions
  for select to authenticated using (account_id = any (array(select public.own_accounts('admin'))));
create index transactions_order_id_idx on public.transactions (order_id);
create index transactions_account_id_idx on public.transactions (account_id, created_at desc);
create index transactions_user_id_idx on public.transactions (user_id, created_at);
-- What still has to be asked about, in the order in which it is due.
create index transactions_next_verify_idx on public.transactions (next_verify_at) where next_verify_at is not null;
-- Credits on their way to LiteLLM.
create index transactions_on_their_way_idx on public.transactions (account_id)
  where credited_at is not null and effective_at is null;
create index transactions_created_at_idx on public.transactions (created_at, id);
create index transactions_needs_review_idx on public.transactions (created_at) where status = 'needs_review';
create index transactions_refused_idx on public.transactions (decided_at) where decided_at is not null
  and credited_at is null;

create trigger transactions_are_frozen before update on public.transactions
  for each row when (
    (old.account_id, old.user_id, old.reference, old.amount, old.currency, old.credits, old.order_id, old.provider,
        old.package_id)
      is distinct from (new.account_id, new.user_id, new.reference, new.amount, new.currency, new.credits,
        new.order_id, new.provider, new.package_id))
  execute function keyfund.refuse_other_order();

-- ------------------------------------------------------------------- checkout

create function keyfund.attempt(p_order keyfund.orders) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_attempt public.transactions;
begin
  insert into public.transactions (account_id, user_id, order_id, provider, package_id, reference, amount, currency,
    credits)
  values (p_order.account_id, p_order.user_id, p_order.id, p_order.provider, p_order.package_id,
    'kf-' || replace(gen_random_uuid()::text, '-', ''), p_order.amount, p_order.currency, p_order.credits)
  returning * into v_attempt;
  return to_jsonb(v_attempt) || (
    select jsonb_build_object('email', email) from public.profiles where id = v_attempt.user_id);
end;
$$;
comment on function keyfund.attempt(keyfund.orders) is
  'Another attempt to pay an order, under a reference of its own that every provider accepts.';

create function public.open_order(
  p_user_id uuid, p_package_id text, p_amount bigint default null, p_credits bigint default null,
  p_account_id uuid default null, p_provider text default 'paystack'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account_id uuid;
  v_package public.credit_packages;
  v_order keyfund.orders;
begin
  v_account_id := keyfund.open_account(p_user_id, p_account_id, 'admin');
  if not exists (select from public.profiles where id = p_user_id and email <> '') then
    perform keyfund.refuse('email_missing');
  end if;
  -- Each order is asked about for a year: nobody may queue thousands before everybody else's.
  if (select count(*) from public.transactions
      where user_id = p_user_id and credited_at is null and created_at > now() - interval '1 hour')
      >= (select open_orders_per_hour from keyfund.settings) then
    perform keyfund.refuse('too_many_orders');
  end if;
  select * into v_package from public.credit_packages where id = p_package_id and active;
  if v_package.id is null then
    perform keyfund.refuse('package_not_found');
  end if;
  if p_amount <> v_package.amount or p_credits <> v_package.credits then -- null: whatever it is
    perform keyfund.refuse('price_changed', v_package.credits::text,
      keyfund.price_text(v_package.amount, v_package.currency));
  end if;
  insert into keyfund.orders (account_id, user_id, provider, package_id, amount, currency, credits, rate_id)
  values (v_account_id, p_user_id, p_provider, v_package.id, v_package.amount, v_package.currency, v_package.credits,
    (keyfund.rate_of(p_provider, v_package.currency)).id)
  returning * into v_order;
  return keyfund.attempt(v_order);
end;
$$;
comment on function public.open_order(uuid, text, bigint, bigint, uuid, text) is
  'Freezes a package''s price, credits and rate in an order and makes the first attempt to pay it; refused where '
  'price or credits are not those that the buyer was shown. p_account_id: whose credits are bought, null: the '
  'buyer''s own.';

create function public.repeat_order(p_reference text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_order keyfund.orders;
begin
  select o.* into v_order from keyfund.orders o join public.transactions t on t.order_id = o.id
  where t.reference = p_reference;
  if v_order.id is null then
    perform keyfund.refuse('payment_not_found');
  end if;
  return keyfund.attempt(v_order);
end;
$$;
comment on function public.repeat_order(text) is
  'Another attempt of the same order under a new reference; the old one stays watched.';

create function public.record_checkout(p_reference text, p_authorization_url text, p_access_code text) returns void
language sql security definer set search_path = '' as $$
  update public.transactions set authorization_url = p_authorization_url, access_code = p_access_code
  where reference = p_reference;
$$;
comment on function public.record_checkout(text, text, text) is 'Where the buyer pays.';

create function public.refuse_checkout(p_reference text, p_reason text) returns void
language sql security definer set search_path = '' as $$
  update public.transactions set status = 'failed', review_reason = p_reason, next_verify_at = null
  where reference = p_reference and status = 'pending' and authorization_url is null;
$$;
comment on function public.refuse_checkout(text, text) is
  'The provider refused to open this checkout: nothing can be paid for it.';

-- ------------------------------------------------------------------- payments

create function public.get_payment(p_reference text) returns jsonb
language sql stable security definer set search_path = '' as $$
  select to_jsonb(t) from public.transactions t where t.reference = p_reference;
$$;
comment on function public.get_payment(text) is 'The attempt with this reference, or null: not one of ours.';

create function keyfund.hold_payment(p_reference text) returns public.transactions
language plpgsql set search_path = '' as $$
declare
  v_payment public.transactions;
begin
  -- The account first, as everywhere: a push holds it when it writes the payment's times.
  perform keyfund.hold_account(account_id) from public.transactions where reference = p_reference;
  select * into v_payment from public.transactions where reference = p_reference for update;
  return v_payment;
end;
$$;

create function keyfund.next_verification(p_payment public.transactions) returns timestamptz
language sql stable set search_path = '' as $$
  -- Ever less often: each day in the first month, every other week at the end of a year, then no more.
  select case
    when now() - p_payment.created_at < interval '30 days'
      then now() + greatest(interval '1 minute', least(interval '1 day', (now() - p_payment.created_at) / 2))
    when now() - p_payment.created_at < interval '400 days'
      then now() + least(interval '14 days', (now() - p_payment.created_at) / 10) end;
$$;

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
    perform keyfund.refuse('payment_not_found');
  end if;
  if v_payment.status = 'success' or v_payment.credited_at is not null then
    return jsonb_build_object('credited', false, 'user_id', v_payment.account_id);
  end if;
  if v_payment.status = 'needs_review' then
    perform keyfund.refuse('payment_needs_review');
  elsif v_payment.decided_at is not null then
    perform keyfund.refuse('payment_refused');
  end if;
  -- The caller has judged this already; money is not given on one opinion.
  if v_payment.credits = 0 or p_currency is distinct from v_payment.currency
      or coalesce(p_paid_amount, 0) < v_payment.amount then
    perform keyfund.refuse('payment_does_not_fit');
  end if;
  v_entry := keyfund.append_entry(v_payment.account_id, v_payment.credits, 'purchase',
    'purchase:' || v_payment.reference, null, v_payment.user_id);
  update public.transactions
  set status = 'success', provider_status = 'success', provider_id = p_provider_id, paid_amount = p_paid_amount,
      paid_currency = p_currency, paid_at = p_paid_at, verified_at = coalesce(verified_at, now()),
        credited_at = now(),
      next_verify_at = null, review_reason = null,
      -- A buyer who paid exactly the price paid no fee.
      borne_fee = coalesce(p_borne_fee, borne_fee, case when p_paid_amount = amount then 0 end),
      account_revision = (select revision from keyfund.pushes where account_id = v_payment.account_id)
  where id = v_payment.id;
  -- With the credits, not after them: one call less for each payment, and nothing in between to die in.
  perform public.finish_event(p_event_id, p_event_token, 'credited');
  return jsonb_build_object('credited', v_entry is not null, 'user_id', v_payment.account_id,
    'credits', v_payment.credits,
    'push', case when p_lease_seconds is not null then public.claim_push(v_payment.account_id, p_lease_seconds) end);
end;
$$;
comment on function public.credit_payment(text, bigint, bigint, text, timestamptz, bigint, uuid, integer, bigint) is
  'A payment verified with its provider: grants the order''s own credits, once, however often and from wherever it is '
  'called. The event that told of it is handled with the credit, and with p_lease_seconds the account is leased '
  'for its push.';

create function public.observe_payment(p_reference text, p_status text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  update public.transactions t
  set provider_status = p_status, verify_attempts = verify_attempts + 1,
      status = case when p_status in ('failed', 'abandoned', 'reversed') then p_status else 'pending' end,
      next_verify_at = keyfund.next_verification(t)
  where reference = p_reference and status in ('pending', 'failed', 'abandoned', 'reversed') and credited_at is null
    and decided_at is null;
end;
$$;
comment on function public.observe_payment(text, text) is
  'The provider says that it is not paid (yet): an observation, never the end. A success that is on record is left '
  'alone.';

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

create function public.claim_verifications(p_limit integer) returns setof jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select id from public.transactions
    where next_verify_at <= now() and credited_at is null and status in ('pending', 'failed', 'abandoned', 'reversed')
    order by next_verify_at limit least(p_limit, 1000) for update skip locked
  )
  update public.transactions t set next_verify_at = now() + interval '2 minutes'
  from due where t.id = due.id
  returning to_jsonb(t);
$$;
comment on function public.claim_verifications(integer) is
  'Orders that nobody told us the end of; asked again in two minutes if the caller dies.';

revoke all on function public.open_order, public.repeat_order, public.record_checkout,
  public.refuse_checkout, public.get_payment, public.credit_payment, public.observe_payment,
  public.review_payment, public.claim_verifications from public, anon, authenticated, service_role;
