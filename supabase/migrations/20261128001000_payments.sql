-- Money in: packages, orders (each attempt at a checkout is a transaction), credited payments.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ------------------------------------------------ packages and what they cost

create table keyfund.currency_rates (
  currency text primary key constraint currency_rates_currency_check check (currency ~ '^[A-Z]{3}$'),
  subunits_per_dollar bigint not null constraint currency_rates_subunits_check check (subunits_per_dollar > 0)
);
comment on table keyfund.currency_rates is
  'What an operator takes a US dollar to be worth, in subunits of each currency (kobo, pesewas, cents). Change it '
  'with SQL.';
alter table keyfund.currency_rates enable row level security;

insert into keyfund.currency_rates (currency, subunits_per_dollar) values ('USD', 100);

create table public.credit_packages (
  id text primary key constraint credit_packages_id_check check (id ~ '^[a-z0-9-]{1,50}$'),
  name text not null,
  credits bigint not null constraint credit_packages_credits_check check (credits between 1 and 1000000000),
  amount bigint not null constraint credit_packages_amount_check check (amount between 1 and 100000000000),
  currency text not null constraint credit_packages_currency_check check (currency ~ '^[A-Z]{3}$'),
  active boolean not null default true,
  created_at timestamptz not null default now()
);
comment on table public.credit_packages is
  'What can be bought. Changing one leaves orders alone: they froze their price and credits.';
comment on column public.credit_packages.amount is 'Price in subunits of the currency: kobo, pesewas, cents.';
alter table public.credit_packages enable row level security;
revoke all on public.credit_packages from public, anon, authenticated, service_role;
grant select on public.credit_packages to authenticated, service_role;
create policy "people see what is on sale" on public.credit_packages
  for select to authenticated using (active or (select public.is_administrator()));

create function keyfund.cost_of(p_credits bigint, p_currency text) returns bigint
language sql stable set search_path = '' as $$
  select ceil(p_credits::numeric * s.credit_value_cents * r.subunits_per_dollar / 100)::bigint
  from keyfund.settings s, keyfund.currency_rates r where r.currency = p_currency;
$$;
comment on function keyfund.cost_of(bigint, text) is
  'What the credits are worth at LiteLLM, in subunits; null: there is no rate.';

create function keyfund.check_price(p_credits bigint, p_amount bigint, p_currency text) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_cost bigint := keyfund.cost_of(p_credits, p_currency);
begin
  if v_cost is null then
    perform keyfund.refuse(409, 'rate_missing', format(
      'There is no rate for %s: nobody can tell whether %s covers %s credits. Sell it all the same with below_cost.',
      p_currency, keyfund.price_text(p_amount, p_currency), p_credits));
  elsif p_amount < v_cost then
    perform keyfund.refuse(409, 'below_cost', format(
      '%s credits cost %s at your rate, and the price is %s. Sell them all the same with below_cost.',
      p_credits, keyfund.price_text(v_cost, p_currency), keyfund.price_text(p_amount, p_currency)));
  end if;
end;
$$;

create function public.save_package(
  id text, name text, credits bigint, amount bigint, currency text, active boolean default true,
  below_cost boolean default false
) returns public.credit_packages
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_package public.credit_packages;
begin
  perform keyfund.check_administrator();
  insert into public.credit_packages (id, name, credits, amount, currency, active)
  values (save_package.id, save_package.name, save_package.credits, save_package.amount, save_package.currency,
    save_package.active)
  on conflict (id) do update
  set name = excluded.name, credits = excluded.credits, amount = excluded.amount, currency = excluded.currency,
      active = excluded.active
  returning * into v_package;
  if v_package.active and not coalesce(save_package.below_cost, false) then
    perform keyfund.check_price(v_package.credits, v_package.amount, v_package.currency);
  end if;
  perform keyfund.note('package_saved', null, null, to_jsonb(v_package) - 'created_at');
  return v_package;
exception when check_violation or not_null_violation then
  perform keyfund.refuse(400, 'invalid_package',
    'id: small letters, digits, hyphens; credits and amount (in subunits): above 0; currency: three capital letters.');
end;
$$;
comment on function public.save_package(text, text, bigint, bigint, text, boolean, boolean) is
  'Adds a package or changes one; active false retires it. On sale below cost, or in a currency without a rate, '
  'only with below_cost. Orders that were made keep their price and credits.';

-- --------------------------------------------------------------- transactions

create table public.transactions (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references keyfund.accounts (id),
  user_id uuid not null references public.profiles (id),
  order_id uuid not null default gen_random_uuid(),
  package_id text not null,
  reference text not null constraint transactions_reference_key unique
    constraint transactions_reference_check check (reference ~ '^[A-Za-z0-9.=-]{1,100}$'),
  amount bigint not null check (amount > 0),
  currency text not null,
  credits bigint not null check (credits > 0),
  status text not null default 'pending' constraint transactions_status_check
    check (status in ('pending', 'success', 'failed', 'abandoned', 'needs_review', 'reversed')),
  review_reason text,
  authorization_url text,
  access_code text,
  provider_status text,
  provider_id bigint constraint transactions_provider_id_key unique,
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
    when credited_at is not null then 'credited'
    when decided_at is not null then 'declined'
    else status end) stored
);
comment on table public.transactions is
  'One checkout attempt each. Price and credits are frozen here when the order is made; nothing a payload says '
  'changes them.';
comment on column public.transactions.account_id is 'Whose credits are bought.';
comment on column public.transactions.user_id is 'The person who ordered.';
comment on column public.transactions.order_id is
  'Attempts of one order share it; each paid one is credited as a purchase of its own.';
comment on column public.transactions.amount is 'Price in subunits of the currency.';
comment on column public.transactions.status is
  'Only success is final: a failed or abandoned one that turns out paid is credited, at any age.';
comment on column public.transactions.provider_id is 'Paystack''s numeric id: refunds are asked for by it.';
comment on column public.transactions.account_revision is
  'The account''s revision that carries these credits to LiteLLM.';
comment on column public.transactions.verified_at is 'When Paystack first said that it is paid.';
comment on column public.transactions.decided_at is
  'When an administrator credited or refused a payment that did not fit its order.';
comment on column public.transactions.refunded_amount is 'Sum of Paystack''s processed refunds, in subunits.';
comment on column public.transactions.withheld_credits is
  'Credits of this payment that are withheld now for refunds and disputes.';
comment on column public.transactions.reversals is 'How many ledger entries have moved withheld_credits.';
comment on column public.transactions.borne_fee is
  'What the buyer paid for Paystack''s fee, in subunits; null: Paystack was not asked yet.';
comment on column public.transactions.granted_credits is
  'What an administrator granted of the order, in proportion to what was paid; null: as ordered.';
comment on column public.transactions.refunded_in_disputes is
  'What of refunded_amount belongs to a dispute, and counts there.';
comment on column public.transactions.refunding_amount is
  'Refunds that Paystack has begun and not processed yet, in subunits.';
comment on column public.transactions.refunded_at is 'When the last refund was processed.';
comment on column public.transactions.standing is
  'pending, failed, abandoned, credited; under_review: a person decides; declined: a person refused it, and its '
  'money is to be given back; refund_under_way: Paystack is giving it back; refunded: it went back, at '
  'refunded_at.';
alter table public.transactions enable row level security;
revoke all on public.transactions from public, anon, authenticated, service_role;
grant select on public.transactions to authenticated, service_role;
create policy "owners and admins see their account's transactions" on public.transactions
  for select to authenticated using (account_id = any (array(select public.own_accounts('admin'))));
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

create function keyfund.refuse_other_order() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'an order''s price, credits, owner and reference are frozen';
end;
$$;
create trigger transactions_are_frozen before update on public.transactions
  for each row when (
    (old.account_id, old.user_id, old.reference, old.amount, old.currency, old.credits, old.order_id)
      is distinct from (new.account_id, new.user_id, new.reference, new.amount, new.currency, new.credits,
        new.order_id))
  execute function keyfund.refuse_other_order();

-- --------------------------------------------------------------------- orders

create function public.open_order(
  p_user_id uuid, p_package_id text, p_amount bigint default null, p_credits bigint default null,
  p_account_id uuid default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account_id uuid;
  v_package public.credit_packages;
  v_order public.transactions;
  v_email text;
begin
  v_account_id := keyfund.open_account(p_user_id, p_account_id, 'admin');
  select email into v_email from public.profiles where id = p_user_id;
  if coalesce(v_email, '') = '' then
    perform keyfund.refuse(409, 'email_missing',
      'Add an e-mail address to your account first: Paystack sends its receipt there.');
  end if;
  -- Each order is asked about for a year: nobody may queue thousands before everybody else's.
  if (select count(*) from public.transactions
      where user_id = p_user_id and credited_at is null and created_at > now() - interval '1 hour')
      >= (select open_orders_per_hour from keyfund.settings) then
    perform keyfund.refuse(429, 'too_many_orders',
      'Too many orders were opened and not paid. Pay one of them, or try again later.');
  end if;
  select * into v_package from public.credit_packages where id = p_package_id and active;
  if v_package.id is null then
    perform keyfund.refuse(404, 'package_not_found', 'There is no such package on sale.');
  end if;
  if p_amount <> v_package.amount or p_credits <> v_package.credits then -- null: whatever it is
    perform keyfund.refuse(409, 'price_changed', format('This package has changed: it is now %s credits for %s.',
      v_package.credits, keyfund.price_text(v_package.amount, v_package.currency)));
  end if;
  insert into public.transactions (account_id, user_id, package_id, reference, amount, currency, credits)
  values (v_account_id, p_user_id, v_package.id, 'kf-' || replace(gen_random_uuid()::text, '-', ''),
    v_package.amount, v_package.currency, v_package.credits)
  returning * into v_order;
  return to_jsonb(v_order) || jsonb_build_object('email', v_email);
end;
$$;
comment on function public.open_order(uuid, text, bigint, bigint, uuid) is
  'Freezes a package''s price and credits in a first attempt, with a reference that Paystack accepts; refused '
  'where they are not those that the buyer was shown. p_account_id: whose credits are bought, null: the buyer''s own.';

create function public.repeat_order(p_reference text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_order public.transactions;
begin
  insert into public.transactions (account_id, user_id, order_id, package_id, reference, amount, currency, credits)
  select account_id, user_id, order_id, package_id, 'kf-' || replace(gen_random_uuid()::text, '-', ''), amount,
    currency, credits
  from public.transactions where reference = p_reference
  returning * into v_order;
  if v_order.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  return to_jsonb(v_order) || (select jsonb_build_object('email', email) from public.profiles
    where id = v_order.user_id);
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
  'Paystack refused to open this checkout: nothing can be paid for it.';

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
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  if v_payment.status = 'success' or v_payment.credited_at is not null then
    return jsonb_build_object('credited', false, 'user_id', v_payment.account_id);
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
  'A payment verified with Paystack: grants the order''s own credits, once, however often and from wherever it is '
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
  'Paystack says that it is not paid (yet): an observation, never the end. A success that is on record is left '
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

revoke all on function public.save_package, public.open_order, public.repeat_order, public.record_checkout,
  public.refuse_checkout, public.get_payment, public.credit_payment, public.observe_payment,
  public.review_payment, public.claim_verifications from public, anon, authenticated, service_role;
