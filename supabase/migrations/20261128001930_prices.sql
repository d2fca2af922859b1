-- Prices: known to the buyer when they order, and not below what the credits cost unless somebody says so.

create table keyfund.currency_rates (
  currency text primary key constraint currency_rates_currency_check check (currency ~ '^[A-Z]{3}$'),
  subunits_per_dollar bigint not null constraint currency_rates_subunits_check check (subunits_per_dollar > 0)
);
comment on table keyfund.currency_rates is
  'What an operator takes a US dollar to be worth, in subunits of each currency (kobo, pesewas, cents). Change it '
  'with SQL.';
alter table keyfund.currency_rates enable row level security;
insert into keyfund.currency_rates (currency, subunits_per_dollar) values ('USD', 100);

create function keyfund.price_text(p_amount numeric, p_currency text) returns text
language sql immutable set search_path = '' as $$
  select p_currency || ' ' || to_char(p_amount / 100, 'FM999,999,999,999,990.00');
$$;

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

drop function public.save_package(text, text, bigint, bigint, text, boolean);
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

-- ------------------------------------------------------------------ checkout

drop function public.open_order(uuid, text);
create function public.open_order(
  p_user_id uuid, p_package_id text, p_amount bigint default null, p_credits bigint default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_package public.credit_packages;
  v_order public.transactions;
  v_email text;
begin
  perform keyfund.open_account(p_user_id);
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
  insert into public.transactions (user_id, package_id, reference, amount, currency, credits)
  values (p_user_id, v_package.id, 'kf-' || replace(gen_random_uuid()::text, '-', ''),
    v_package.amount, v_package.currency, v_package.credits)
  returning * into v_order;
  return to_jsonb(v_order) || jsonb_build_object('email', v_email);
end;
$$;
comment on function public.open_order(uuid, text, bigint, bigint) is
  'Freezes a package''s price and credits in a first attempt, with a reference that Paystack accepts; refused '
  'where they are not those that the buyer was shown.';

revoke all on function public.save_package(text, text, bigint, bigint, text, boolean, boolean)
  from public, anon, authenticated, service_role;
revoke all on function public.open_order(uuid, text, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function public.save_package(text, text, bigint, bigint, text, boolean, boolean) to authenticated;
grant execute on function public.open_order(uuid, text, bigint, bigint) to service_role;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
