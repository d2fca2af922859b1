-- Every way in which the database says no: a code that never changes, an HTTP status, a sentence for a person.

set local check_function_bodies = off; -- a function may name what a later file makes

create table keyfund.refusals (
  code text primary key constraint refusals_code_check check (code ~ '^[a-z][a-z0-9_]*$'),
  status integer not null constraint refusals_status_check check (status between 400 and 499),
  sentence text not null
);
comment on table keyfund.refusals is
  'How the database says no. The service says the same for the same codes.';
comment on column keyfund.refusals.code is 'Clients may match it; it never changes.';
comment on column keyfund.refusals.sentence is 'Plain text for a person; each %s is filled in by who refuses.';
alter table keyfund.refusals enable row level security;

insert into keyfund.refusals (code, status, sentence) values
  ('one_at_a_time', 400, 'Send one object: of a list only the first would be done.'),
  ('nothing_chosen', 400, 'Name events, a payment, a time range, or all that fail.'),
  ('reason_missing', 400, 'Say why, in up to 500 characters: the reason is kept.'),
  ('adjustment_id_missing', 400, 'Give the adjustment an id: sent again with the same id it changes nothing.'),
  ('invalid_name', 400, 'A name is text of 1 to 100 characters.'),
  ('invalid_email', 400, 'email is an e-mail address.'),
  ('invalid_role', 400, 'role is owner, admin or member.'),
  ('invalid_kind', 400, 'only_kind is waiting, failing or unknown.'),
  ('invalid_page_size', 400, 'page_size is between 1 and 200.'),
  ('invalid_range', 400,
    'start_date is not after end_date, dates are between 2000-01-01 and 9999-12-31, and at most 366 days '
    'are told at once.'),
  ('too_many_rows', 400, 'More than 50,000 rows: ask for fewer days.'),
  ('invalid_cap', 400, 'cap is wallet (then without max_budget) or fixed.'),
  ('invalid_max_budget', 400, 'max_budget is a number of US cents, 0 or more.'),
  ('invalid_budget_duration', 400, 'budget_duration is 1h, 1d, 7d, 30d or lifetime.'),
  ('invalid_rpm_limit', 400, 'rpm_limit is a number of requests per minute, 1 or more.'),
  ('invalid_tpm_limit', 400, 'tpm_limit is a number of tokens per minute, 1 or more.'),
  ('invalid_models', 400, 'models is a list of 1 to 100 names of models; ["*"] stands for all that are allowed.'),
  ('invalid_expires_at', 400, 'expires_at is a time in the future, at most ten years from now, or infinity: never.'),
  ('invalid_overlap', 400, 'overlap_seconds is a number of seconds up to a week, 0 or more.'),
  ('beyond_ceiling', 400, 'Highest allowed here: %s.'),
  ('duration_beyond_ceiling', 400,
    'max_budget has a ceiling here, which is for %s: budget_duration may not be shorter.'),
  ('model_not_allowed', 400, 'Keys may not use these models here: %s.'),
  ('unknown_route', 400, 'A proof is for one of %s.'),
  ('invalid_model', 400, 'responses and messages are proved for the model *, other routes for one model each.'),
  ('invalid_credits', 400, 'credits is a whole number other than 0, up to a thousand million either way.'),
  ('invalid_package', 400,
    'id: small letters, digits, hyphens; name: up to 100 characters; credits and amount (in subunits): '
    'above 0; currency: three capital letters.'),
  ('invalid_rate', 400,
    'currency: three capital letters; subunits_per_dollar: 1 or more; fee_basis_points: 0 to 9999, and '
    'only with it fee_fixed, fee_fixed_from (0 or more), fee_ceiling (1 or more); begins_at: not in the '
    'past; a known provider.'),
  ('not_signed_in', 401, 'Sign in first.'),
  ('account_deleted', 403, 'This account does not exist any more.'),
  ('account_suspended', 403, 'This account is suspended. Ask the people who run this service.'),
  ('holder_suspended', 403, 'The person who holds this key is suspended. It works again once they are back.'),
  ('blocked_by_administrator', 403, 'An administrator blocked this key; only an administrator can unblock it.'),
  ('role_too_low', 403, 'Your role in the team does not allow this.'),
  ('key_of_another', 403, 'Only the person who holds a key gets a new string for it.'),
  ('invitation_of_another', 403,
    'This invitation is for another address. Sign in with the one that it was sent to, and confirm it.'),
  ('not_an_administrator', 403, 'Only an administrator may do this.'),
  ('account_not_found', 404, 'There is no such account.'),
  ('member_not_found', 404, 'There is no such member.'),
  ('invitation_not_found', 404, 'There is no such invitation, or it is over.'),
  ('key_not_found', 404, 'There is no such key.'),
  ('package_not_found', 404, 'There is no such package on sale.'),
  ('payment_not_found', 404, 'There is no such payment.'),
  ('resync_not_found', 404, 'There is no such resync.'),
  ('already_member', 409, 'This person is in the team already.'),
  ('last_owner', 409, 'A team keeps an owner: make somebody else one first.'),
  ('key_revoked', 409, 'This key is revoked for good. Create a new one.'),
  ('key_retiring', 409, 'This is the former string of a rotated key: change the key itself, or revoke this one.'),
  ('key_not_synced', 409, 'LiteLLM does not know this key yet: there is nothing to replace.'),
  ('key_taken', 409, 'This key belongs to another account.'),
  ('rotation_under_way', 409, 'A former string of this key is still alive: revoke it, or wait until it retires.'),
  ('too_many_keys', 409, 'An account has at most %s keys. Revoke one first.'),
  ('email_missing', 409, 'Add an e-mail address to your account first: the payment''s receipt is sent there.'),
  ('price_changed', 409, 'This package has changed: it is now %s credits for %s.'),
  ('payment_needs_review', 409, 'An administrator has to decide about this payment.'),
  ('payment_refused', 409, 'An administrator decided that this payment buys nothing.'),
  ('payment_does_not_fit', 409, 'What was paid is not what was ordered.'),
  ('fee_unknown', 409, 'Ask the provider first who bore the fee: nothing is withheld before that is known.'),
  ('nothing_to_decide', 409, 'No payment with this reference waits for a decision.'),
  ('no_proportion', 409, 'What was paid cannot be set against the price: credit it as ordered, or refund it.'),
  ('too_little_paid', 409, 'What was paid does not buy one credit.'),
  ('rate_missing', 409,
    'There is no rate for %s: nobody can tell whether %s covers %s credits. Sell it all the same with '
    'below_cost.'),
  ('below_cost', 409,
    '%s credits cost %s at your rate, the fee is %s, and the price is %s. Sell them all the same with '
    'below_cost.'),
  ('below_zero', 409,
    'The account has %s credits and would have %s: that is less than nothing. Allow it with '
    'allow_negative.'),
  ('adjustment_exists', 409, 'This id was used for another adjustment.'),
  ('credit_value_differs', 409, 'CREDIT_VALUE_CENTS is %s here, but the database was set up with %s.'),
  ('usage_of_another', 409, 'LiteLLM told of another account''s keys.'),
  ('too_many_creations', 429, 'Too many keys were made within an hour. Try again later.'),
  ('too_many_rotations', 429, 'Keys were rotated too often within an hour. Try again later.'),
  ('too_many_changes', 429, 'Keys were changed too often within an hour. Try again later.'),
  ('too_many_unblocks', 429, 'Keys were unblocked too often within an hour. Try again later.'),
  ('too_many_resyncs', 429, 'Keys were synced again too often within an hour. Try again later.'),
  ('too_many_teams', 429, 'Too many teams were made within an hour. Try again later.'),
  ('too_many_invitations', 429, 'Too many people were invited within an hour. Try again later.'),
  ('too_many_orders', 429, 'Too many orders were opened and not paid. Pay one of them, or try again later.');

create function keyfund.refuse(p_code text, variadic p_values text[] default '{}') returns void
language plpgsql set search_path = '' as $$
declare
  v_refusal keyfund.refusals;
begin
  select * into strict v_refusal from keyfund.refusals where code = p_code;
  -- PostgREST turns PTnnn into that HTTP status; the code goes where clients can match it.
  raise exception using errcode = 'PT' || v_refusal.status, detail = p_code,
    message = format(v_refusal.sentence, variadic p_values);
end;
$$;
comment on function keyfund.refuse(text, text[]) is 'Says no. The values fill in the sentence, in their order.';
