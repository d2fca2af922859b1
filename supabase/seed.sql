-- Examples of what to sell, none on sale yet. Safe to run twice: an operator's own changes stay.
--
-- amount is in subunits: kobo, pesewas, cents. A credit is 2 cents of LiteLLM usage, so 500 credits cost 10 dollars. The
-- prices below leave a little after Paystack's fee at 1 dollar = NGN 1,450, GHS 11, KES 129, ZAR 17.20. Look at today's
-- rates before you put one on sale: say them with set_rate, look at list_packages(), then call save_package.
insert into public.credit_packages (id, name, credits, amount, currency, active) values
  ('starter-ngn', 'Starter', 500, 1600000, 'NGN', false),
  ('plus-ngn', 'Plus', 2500, 7500000, 'NGN', false),
  ('starter-ghs', 'Starter', 500, 12000, 'GHS', false),
  ('plus-ghs', 'Plus', 2500, 57000, 'GHS', false),
  ('starter-kes', 'Starter', 500, 140000, 'KES', false),
  ('plus-kes', 'Plus', 2500, 690000, 'KES', false),
  ('starter-zar', 'Starter', 500, 19000, 'ZAR', false),
  ('plus-zar', 'Plus', 2500, 90000, 'ZAR', false),
  ('starter-usd', 'Starter', 500, 1100, 'USD', false),
  ('plus-usd', 'Plus', 2500, 5400, 'USD', false)
on conflict (id) do nothing;

-- Paystack's fee in Nigeria: 1.5 % and 100 naira, the naira only from 2,500 naira on, and 2,000 naira at most. What a
-- dollar is worth there is yours to say.
select public.record_rate(p_currency => 'NGN', p_fee_basis_points => 150, p_fee_fixed => 10000,
  p_fee_fixed_from => 250000, p_fee_ceiling => 200000, p_reason => 'What Paystack publishes for local payments.')
where not exists (select from keyfund.rates where provider = 'paystack' and currency = 'NGN');
