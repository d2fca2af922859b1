-- What the development stack sells: the examples of the seed, at the rates that they were made for, and with the fees
-- that its stand-in for Paystack takes. Safe to run twice.
update public.credit_packages set active = true where not active;
select public.record_rate(p_currency => currency, p_subunits_per_dollar => subunits, p_fee_basis_points => share,
  p_fee_fixed => fixed, p_reason => 'The development stack''s rate.')
from (values ('GHS', 1100, 195, 0), ('KES', 12900, 150, 0), ('ZAR', 1720, 290, 100))
  as stack (currency, subunits, share, fixed)
where not exists (select from keyfund.rates r where r.currency = stack.currency and subunits_per_dollar is not null);
-- The seed knows Nigeria's fee.
select public.record_rate(p_currency => 'NGN', p_subunits_per_dollar => 145000,
  p_reason => 'The development stack''s rate.')
where not exists (select from keyfund.rates where currency = 'NGN' and subunits_per_dollar is not null);
