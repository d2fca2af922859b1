-- What is on sale, for a start. Safe to run twice: an operator's own changes stay.
-- amount is in subunits: kobo, pesewas, cents.
insert into public.credit_packages (id, name, credits, amount, currency) values
  ('starter-ngn', 'Starter', 500, 1600000, 'NGN'),
  ('plus-ngn', 'Plus', 2500, 7500000, 'NGN'),
  ('starter-ghs', 'Starter', 500, 12000, 'GHS'),
  ('plus-ghs', 'Plus', 2500, 57000, 'GHS'),
  ('starter-kes', 'Starter', 500, 130000, 'KES'),
  ('plus-kes', 'Plus', 2500, 620000, 'KES'),
  ('starter-zar', 'Starter', 500, 19000, 'ZAR'),
  ('plus-zar', 'Plus', 2500, 90000, 'ZAR'),
  ('starter-usd', 'Starter', 500, 1000, 'USD'),
  ('plus-usd', 'Plus', 2500, 4800, 'USD')
on conflict (id) do nothing;
