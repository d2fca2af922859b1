-- What the development stack sells: the examples of the seed, at the rates that they were made for.
update public.credit_packages set active = true;
insert into keyfund.currency_rates (currency, subunits_per_dollar) values
  ('NGN', 145000), ('GHS', 1100), ('KES', 12900), ('ZAR', 1720)
on conflict (currency) do nothing;
