-- What is on sale, and what a sale leaves: the price, less the provider's fee, less what the credits cost at LiteLLM.
--
-- A rate says what a US dollar is worth in a currency, and what a payment provider keeps of a payment in it. Rates
-- are never changed: a new one is added, and the latest that has begun counts. An order keeps the one it was made at.

set local check_function_bodies = off; -- a function may name what a later file makes

create domain keyfund.provider as text constraint provider_check check (value in ('paystack'));
comment on domain keyfund.provider is 'A payment provider that there is a door to.';

-- ---------------------------------------------------------------------- rates

create table keyfund.rates (
  id bigint generated always as identity primary key,
  provider keyfund.provider not null,
  currency text not null constraint rates_currency_check check (currency ~ '^[A-Z]{3}$'),
  subunits_per_dollar bigint
    constraint rates_subunits_per_dollar_check check (subunits_per_dollar between 1 and 100000000000),
  fee_basis_points integer constraint rates_fee_basis_points_check check (fee_basis_points between 0 and 9999),
  fee_fixed bigint constraint rates_fee_fixed_check check (fee_fixed between 0 and 100000000000),
  fee_fixed_from bigint constraint rates_fee_fixed_from_check check (fee_fixed_from between 0 and 100000000000),
  fee_ceiling bigint constraint rates_fee_ceiling_check check (fee_ceiling between 1 and 100000000000),
  begins_at timestamptz not null default now() constraint rates_begins_at_check check (isfinite(begins_at)),
  created_at timestamptz not null default now(),
  reason text not null constraint rates_reason_check check (btrim(reason) <> '' and length(reason) <= 500),
  -- The fee is known as a whole or not at all.
  constraint rates_fee_check check (
    (fee_basis_points is null) = (fee_fixed is null) and (fee_fixed is null) = (fee_fixed_from is null)
    and (fee_ceiling is null or fee_basis_points is not null)),
  constraint rates_say_something_check check (subunits_per_dollar is not null or fee_basis_points is not null)
);
comment on table keyfund.rates is
  'What an operator takes a US dollar to be worth, and what the provider''s fee is. Append-only: of a provider and a '
  'currency the latest that has begun counts.';
comment on column keyfund.rates.subunits_per_dollar is
  'Subunits of the currency (kobo, pesewas, cents) in a US dollar; null: not known.';
comment on column keyfund.rates.fee_basis_points is
  'The provider''s share of what is paid, in hundredths of a per cent; null: the fee is not known.';
comment on column keyfund.rates.fee_fixed is 'What the provider takes besides, in subunits.';
comment on column keyfund.rates.fee_fixed_from is 'The fixed part is taken of payments of so many subunits and more.';
comment on column keyfund.rates.fee_ceiling is 'The most that the provider takes, in subunits; null: no ceiling.';
alter table keyfund.rates enable row level security;
create index rates_latest_idx on keyfund.rates (provider, currency, begins_at desc, id desc);

insert into keyfund.rates (provider, currency, subunits_per_dollar, reason)
values ('paystack', 'USD', 100, 'A dollar has 100 cents.');

create trigger rates_changes_are_audited after insert on keyfund.rates
  for each row execute function keyfund.audit_change('rate', 'id', 'id', 'created_at', 'reason');

create function keyfund.refuse_other_rate() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'rates are append-only: set another one';
end;
$$;
create trigger rates_are_append_only before update or delete or truncate on keyfund.rates
  for each statement execute function keyfund.refuse_other_rate();

create function keyfund.rate_of(p_provider text, p_currency text, p_at timestamptz default now())
returns keyfund.rates
language sql stable set search_path = '' as $$
  select r from keyfund.rates r
  where r.provider = p_provider and r.currency = p_currency and r.begins_at <= p_at
  order by r.begins_at desc, r.id desc limit 1;
$$;
comment on function keyfund.rate_of(text, text, timestamptz) is
  'The rate that counts then: the latest that has begun. Null: there is none.';

create function keyfund.cost_of(p_credits bigint, p_rate keyfund.rates) returns bigint
language sql stable set search_path = '' as $$
  select ceil(p_credits::numeric * s.credit_value_cents * p_rate.subunits_per_dollar / 100)::bigint
  from keyfund.settings s;
$$;
comment on function keyfund.cost_of(bigint, keyfund.rates) is
  'What the credits are worth at LiteLLM, in subunits; null: nobody said what a dollar is worth.';

create function keyfund.fee_of(p_amount bigint, p_rate keyfund.rates) returns bigint
language sql immutable set search_path = '' as $$
  select case when p_rate.fee_basis_points is not null then
    least(p_rate.fee_ceiling, ceil(p_amount::numeric * p_rate.fee_basis_points / 10000)::bigint
      + case when p_amount >= p_rate.fee_fixed_from then p_rate.fee_fixed else 0 end) end;
$$;
comment on function keyfund.fee_of(bigint, keyfund.rates) is
  'What the provider keeps of a payment, in subunits, where the seller bears it; null: the fee is not known.';

create function keyfund.earnings(p_credits bigint, p_amount bigint, p_rate keyfund.rates) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('cost', known.cost, 'fee', known.fee, 'margin', p_amount - known.fee - known.cost)
  from (select keyfund.cost_of(p_credits, p_rate) as cost, keyfund.fee_of(p_amount, p_rate) as fee) known;
$$;
comment on function keyfund.earnings(bigint, bigint, keyfund.rates) is
  'What a sale costs, what the provider keeps, and what is left, in subunits; each null where it is not known.';

create function keyfund.set_rate(
  p_currency text, p_subunits_per_dollar bigint, p_reason text, p_fee_basis_points integer, p_fee_fixed bigint,
  p_fee_fixed_from bigint, p_fee_ceiling bigint, p_begins_at timestamptz, p_provider text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_begins_at timestamptz := coalesce(p_begins_at, now());
  v_last keyfund.rates := keyfund.rate_of(p_provider, p_currency, v_begins_at);
  v_rate keyfund.rates;
begin
  if v_begins_at < now() or (p_fee_basis_points is null
      and coalesce(p_fee_fixed, p_fee_fixed_from, p_fee_ceiling) is not null)
      or coalesce(p_subunits_per_dollar, p_fee_basis_points) is null then
    raise check_violation;
  end if;
  -- What is not said stays as it was: the value of a dollar changes more often than a fee.
  insert into keyfund.rates (provider, currency, subunits_per_dollar, fee_basis_points, fee_fixed, fee_fixed_from,
    fee_ceiling, begins_at, reason)
  values (p_provider, p_currency, coalesce(p_subunits_per_dollar, v_last.subunits_per_dollar),
    coalesce(p_fee_basis_points, v_last.fee_basis_points),
    case when p_fee_basis_points is null then v_last.fee_fixed else coalesce(p_fee_fixed, 0) end,
    case when p_fee_basis_points is null then v_last.fee_fixed_from else coalesce(p_fee_fixed_from, 0) end,
    case when p_fee_basis_points is null then v_last.fee_ceiling else p_fee_ceiling end,
    v_begins_at, btrim(p_reason))
  returning * into v_rate;
  return to_jsonb(v_rate);
exception when check_violation or not_null_violation then
  perform keyfund.refuse('invalid_rate');
end;
$$;
comment on function keyfund.set_rate(text, bigint, text, integer, bigint, bigint, bigint, timestamptz, text) is
  'Adds a rate. What is left out stays as it is: the dollar''s worth, or the fee as a whole.';

create function public.set_rate(
  currency text, reason text, subunits_per_dollar bigint default null, fee_basis_points integer default null,
  fee_fixed bigint default null, fee_fixed_from bigint default null, fee_ceiling bigint default null,
  begins_at timestamptz default null, provider text default 'paystack'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.give_reason(set_rate.reason);
  return keyfund.set_rate(currency, subunits_per_dollar, reason, fee_basis_points, fee_fixed, fee_fixed_from,
    fee_ceiling, begins_at, provider);
end;
$$;
comment on function public.set_rate(text, text, bigint, integer, bigint, bigint, bigint, timestamptz, text) is
  'For administrators: what a US dollar is worth in a currency, in subunits, and the provider''s fee for payments in '
  'it, from begins_at (or now) on. What is left out stays as it is.';

create function public.record_rate(
  p_currency text, p_reason text, p_subunits_per_dollar bigint default null, p_fee_basis_points integer default null,
  p_fee_fixed bigint default null, p_fee_fixed_from bigint default null, p_fee_ceiling bigint default null,
  p_begins_at timestamptz default null, p_provider text default 'paystack'
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform keyfund.give_reason(p_reason);
  return keyfund.set_rate(p_currency, p_subunits_per_dollar, p_reason, p_fee_basis_points, p_fee_fixed,
    p_fee_fixed_from, p_fee_ceiling, p_begins_at, p_provider);
end;
$$;
comment on function public.record_rate(text, text, bigint, integer, bigint, bigint, bigint, timestamptz, text) is
  'The operator''s door to the same, with the secret key or with SQL.';

create function public.list_rates(
  currency text default null, before_id bigint default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform keyfund.check_administrator();
  return coalesce((
    select jsonb_agg(to_jsonb(page) || jsonb_build_object('counts',
      page.id = (keyfund.rate_of(page.provider, page.currency)).id) order by page.id desc)
    from (
      select * from keyfund.rates r
      where (list_rates.currency is null or r.currency = list_rates.currency)
        and (list_rates.before_id is null or r.id < list_rates.before_id)
      order by r.id desc limit keyfund.page_size(list_rates.page_size)) page), '[]');
end;
$$;
comment on function public.list_rates(text, bigint, integer) is
  'For administrators: rates, the one that was set last first; counts tells those that count now.';

-- ------------------------------------------------------------------- packages

create table public.credit_packages (
  id text primary key constraint credit_packages_id_check check (id ~ '^[a-z0-9-]{1,50}$'),
  name text not null
    constraint credit_packages_name_check check (name ~ '\S' and name !~ '[[:cntrl:]]' and length(name) <= 100),
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
create trigger credit_packages_changes_are_audited after insert or update or delete on public.credit_packages
  for each row execute function keyfund.audit_change('package', 'id', 'id', 'created_at');
create trigger credit_packages_are_not_truncated before truncate on public.credit_packages
  for each statement execute function keyfund.refuse_truncate();

create function keyfund.check_price(p_credits bigint, p_amount bigint, p_currency text, p_provider text) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_rate keyfund.rates := keyfund.rate_of(p_provider, p_currency);
  v_cost bigint := keyfund.cost_of(p_credits, v_rate);
  v_fee bigint := coalesce(keyfund.fee_of(p_amount, v_rate), 0);
begin
  if v_cost is null then
    perform keyfund.refuse('rate_missing', p_currency, keyfund.price_text(p_amount, p_currency), p_credits::text);
  elsif p_amount < v_cost + v_fee then
    perform keyfund.refuse('below_cost', p_credits::text, keyfund.price_text(v_cost, p_currency),
      keyfund.price_text(coalesce(v_fee, 0), p_currency), keyfund.price_text(p_amount, p_currency));
  end if;
end;
$$;
comment on function keyfund.check_price(bigint, bigint, text, text) is
  'Refuses a price that does not cover cost and fee, and one of which nobody can tell. A fee that is not known counts '
  'as none.';

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
    perform keyfund.check_price(v_package.credits, v_package.amount, v_package.currency, 'paystack');
  end if;
  return v_package;
exception when check_violation or not_null_violation then
  perform keyfund.refuse('invalid_package');
end;
$$;
comment on function public.save_package(text, text, bigint, bigint, text, boolean, boolean) is
  'Adds a package or changes one; active false retires it. On sale for less than cost and fee, or in a currency '
  'without a rate, only with below_cost. Orders that were made keep their price and credits.';

create function keyfund.describe_packages(p_provider text) returns jsonb
language sql stable set search_path = '' as $$
  -- A dozen rows: they need no pages.
  select coalesce(jsonb_agg(
      to_jsonb(p) || keyfund.earnings(p.credits, p.amount, keyfund.rate_of(p_provider, p.currency))
      order by p.currency, p.amount, p.id), '[]')
  from public.credit_packages p;
$$;

create function public.list_packages(provider text default 'paystack') returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return keyfund.describe_packages(provider);
end;
$$;
comment on function public.list_packages(text) is
  'For administrators: all packages with their cost, fee and margin at the rates that count now, in subunits; each '
  'null where it is not known.';

create function public.read_packages(p_provider text) returns jsonb
language sql stable security definer set search_path = '' as $$
  select keyfund.describe_packages(p_provider);
$$;
comment on function public.read_packages(text) is 'The service''s door to the same, for python -m operate doctor.';

revoke all on function public.set_rate, public.record_rate, public.list_rates, public.save_package,
  public.list_packages, public.read_packages from public, anon, authenticated, service_role;
