"""Every way to say no over HTTP: a code, a status, a sentence. Codes never change; clients may match them.

What the database says is here, too, in the same words (``keyfund.refusals``; a test compares them), so that
the service and its OpenAPI description know every refusal from one table.
"""

from dataclasses import dataclass

from core.errors import NotConfiguredError, RefusedError, TransientError


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status of HTTP, and plain text for a person in which each ``%s`` is filled in by who refuses."""

    status: int
    sentence: str

    def say(self, *values: object) -> str:
        return self.sentence % values


DATABASE = {
    "one_at_a_time": Refusal(400, "Send one object: of a list only the first would be done."),
    "nothing_chosen": Refusal(400, "Name events, a payment, a time range, or all that fail."),
    "reason_missing": Refusal(400, "Say why, in up to 500 characters: the reason is kept."),
    "adjustment_id_missing": Refusal(
        400, "Give the adjustment an id: sent again with the same id it changes nothing."
    ),
    "invalid_name": Refusal(400, "A name is text of 1 to 100 characters."),
    "invalid_email": Refusal(400, "email is an e-mail address."),
    "invalid_role": Refusal(400, "role is owner, admin or member."),
    "invalid_kind": Refusal(400, "only_kind is waiting, failing or unknown."),
    "invalid_page_size": Refusal(400, "page_size is between 1 and 200."),
    "invalid_range": Refusal(
        400,
        "start_date is not after end_date, dates are between 2000-01-01 and 9999-12-31, and at "
        "most 366 days are told at once.",
    ),
    "too_many_rows": Refusal(400, "More than 50,000 rows: ask for fewer days."),
    "invalid_cap": Refusal(400, "cap is wallet (then without max_budget) or fixed."),
    "invalid_max_budget": Refusal(400, "max_budget is a number of US cents, 0 or more."),
    "invalid_budget_duration": Refusal(400, "budget_duration is 1h, 1d, 7d, 30d or lifetime."),
    "invalid_rpm_limit": Refusal(400, "rpm_limit is a number of requests per minute, 1 or more."),
    "invalid_tpm_limit": Refusal(400, "tpm_limit is a number of tokens per minute, 1 or more."),
    "invalid_models": Refusal(
        400, 'models is a list of 1 to 100 names of models; ["*"] stands for all that are allowed.'
    ),
    "invalid_expires_at": Refusal(
        400, "expires_at is a time in the future, at most ten years from now, or infinity: never."
    ),
    "invalid_overlap": Refusal(400, "overlap_seconds is a number of seconds up to a week, 0 or more."),
    "beyond_ceiling": Refusal(400, "Highest allowed here: %s."),
    "duration_beyond_ceiling": Refusal(
        400, "max_budget has a ceiling here, which is for %s: budget_duration may not be shorter."
    ),
    "model_not_allowed": Refusal(400, "Keys may not use these models here: %s."),
    "unknown_route": Refusal(400, "A proof is for one of %s."),
    "invalid_model": Refusal(
        400, "responses and messages are proved for the model *, other routes for one model each."
    ),
    "invalid_credits": Refusal(
        400, "credits is a whole number other than 0, up to a thousand million either way."
    ),
    "invalid_package": Refusal(
        400,
        "id: small letters, digits, hyphens; name: up to 100 characters; credits and amount (in "
        "subunits): above 0; currency: three capital letters.",
    ),
    "invalid_rate": Refusal(
        400,
        "currency: three capital letters; subunits_per_dollar: 1 or more; fee_basis_points: 0 to "
        "9999, and only with it fee_fixed, fee_fixed_from (0 or more), fee_ceiling (1 or more); "
        "begins_at: not in the past; a known provider.",
    ),
    "not_signed_in": Refusal(401, "Sign in first."),
    "account_deleted": Refusal(403, "This account does not exist any more."),
    "account_suspended": Refusal(403, "This account is suspended. Ask the people who run this service."),
    "holder_suspended": Refusal(
        403, "The person who holds this key is suspended. It works again once they are back."
    ),
    "blocked_by_administrator": Refusal(
        403, "An administrator blocked this key; only an administrator can unblock it."
    ),
    "role_too_low": Refusal(403, "Your role in the team does not allow this."),
    "key_of_another": Refusal(403, "Only the person who holds a key gets a new string for it."),
    "invitation_of_another": Refusal(
        403,
        "This invitation is for another address. Sign in with the one that it was sent to, and confirm it.",
    ),
    "not_an_administrator": Refusal(403, "Only an administrator may do this."),
    "account_not_found": Refusal(404, "There is no such account."),
    "member_not_found": Refusal(404, "There is no such member."),
    "invitation_not_found": Refusal(404, "There is no such invitation, or it is over."),
    "key_not_found": Refusal(404, "There is no such key."),
    "package_not_found": Refusal(404, "There is no such package on sale."),
    "payment_not_found": Refusal(404, "There is no such payment."),
    "resync_not_found": Refusal(404, "There is no such resync."),
    "already_member": Refusal(409, "This person is in the team already."),
    "last_owner": Refusal(409, "A team keeps an owner: make somebody else one first."),
    "key_revoked": Refusal(409, "This key is revoked for good. Create a new one."),
    "key_retiring": Refusal(
        409, "This is the former string of a rotated key: change the key itself, or revoke this one."
    ),
    "key_not_synced": Refusal(409, "LiteLLM does not know this key yet: there is nothing to replace."),
    "key_taken": Refusal(409, "This key belongs to another account."),
    "rotation_under_way": Refusal(
        409, "A former string of this key is still alive: revoke it, or wait until it retires."
    ),
    "too_many_keys": Refusal(409, "An account has at most %s keys. Revoke one first."),
    "email_missing": Refusal(
        409, "Add an e-mail address to your account first: the payment's receipt is sent there."
    ),
    "price_changed": Refusal(409, "This package has changed: it is now %s credits for %s."),
    "payment_needs_review": Refusal(409, "An administrator has to decide about this payment."),
    "payment_refused": Refusal(409, "An administrator decided that this payment buys nothing."),
    "payment_does_not_fit": Refusal(409, "What was paid is not what was ordered."),
    "fee_unknown": Refusal(
        409, "Ask the provider first who bore the fee: nothing is withheld before that is known."
    ),
    "nothing_to_decide": Refusal(409, "No payment with this reference waits for a decision."),
    "no_proportion": Refusal(
        409, "What was paid cannot be set against the price: credit it as ordered, or refund it."
    ),
    "too_little_paid": Refusal(409, "What was paid does not buy one credit."),
    "rate_missing": Refusal(
        409,
        "There is no rate for %s: nobody can tell whether %s covers %s credits. Sell it all the "
        "same with below_cost.",
    ),
    "below_cost": Refusal(
        409,
        "%s credits cost %s at your rate, the fee is %s, and the price is %s. Sell them all the "
        "same with below_cost.",
    ),
    "below_zero": Refusal(
        409,
        "The account has %s credits and would have %s: that is less than nothing. Allow it with "
        "allow_negative.",
    ),
    "adjustment_exists": Refusal(409, "This id was used for another adjustment."),
    "credit_value_differs": Refusal(
        409, "CREDIT_VALUE_CENTS is %s here, but the database was set up with %s."
    ),
    "usage_of_another": Refusal(409, "LiteLLM told of another account's keys."),
    "too_many_creations": Refusal(429, "Too many keys were made within an hour. Try again later."),
    "too_many_rotations": Refusal(429, "Keys were rotated too often within an hour. Try again later."),
    "too_many_changes": Refusal(429, "Keys were changed too often within an hour. Try again later."),
    "too_many_unblocks": Refusal(429, "Keys were unblocked too often within an hour. Try again later."),
    "too_many_resyncs": Refusal(429, "Keys were synced again too often within an hour. Try again later."),
    "too_many_teams": Refusal(429, "Too many teams were made within an hour. Try again later."),
    "too_many_invitations": Refusal(429, "Too many people were invited within an hour. Try again later."),
    "too_many_orders": Refusal(
        429, "Too many orders were opened and not paid. Pay one of them, or try again later."
    ),
}
"""What functions of the database say."""

SERVICE = {
    "invalid_body": Refusal(400, "The body is not JSON."),
    "invalid_event": Refusal(400, "The body is not an event."),
    "incomplete_body": Refusal(400, "The sender went away."),
    "litellm_refused": Refusal(400, "LiteLLM refused this with %s."),
    "paystack_refused": Refusal(400, "Paystack refused this with %s."),
    "litellm_key_vanished": Refusal(
        400, "LiteLLM lost this key: rotate it, and it keeps its name and limits, or create a new one."
    ),
    "litellm_wallet_differs": Refusal(400, "LiteLLM shows another wallet than it was given."),
    "litellm_without_models": Refusal(400, "LiteLLM offers no model."),
    "bad_signature": Refusal(401, "The signature does not fit the body."),
    "metrics_token_missing": Refusal(401, "The metrics token is needed."),
    "forbidden": Refusal(403, "This is not allowed."),
    "litellm_forbidden": Refusal(403, "LiteLLM is configured to refuse this to every key."),
    "litellm_custom_keys_disabled": Refusal(
        403,
        "LiteLLM refuses keys whose string Keyfund chose: remove "
        "general_settings.disable_custom_api_keys there.",
    ),
    "not_found": Refusal(404, "Not Found"),
    "method_not_allowed": Refusal(405, "Method Not Allowed"),
    "model_not_found": Refusal(404, "LiteLLM offers no such model."),
    "paystack_transaction_not_found": Refusal(404, "Paystack knows no such transaction."),
    "paystack_duplicate_reference": Refusal(409, "Paystack has had this reference before."),
    "payment_disputed": Refusal(409, "This payment is given back through its dispute, or was."),
    "payment_not_credited": Refusal(409, "The payment has not arrived yet."),
    "payment_not_paid": Refusal(409, "Nothing was paid for this order."),
    "too_large": Refusal(413, "A body has at most 1 MiB."),
    "invalid_request": Refusal(422, "%s"),
    "litellm_budget_exceeded": Refusal(422, "The budget is used up."),
    "too_many_calls": Refusal(429, "At most %s calls a minute. Try again in %s s."),
    "books_incomplete": Refusal(500, "Read %s %s, but there are %s."),
    "drift_incomplete": Refusal(500, "Read %s keys, but there are %s."),
    "database_refused": Refusal(500, "The database refused this with %s%s."),
    "dashboard_not_built": Refusal(503, "The dashboard is not built here: %s."),
    "internal_error": Refusal(500, "Something went wrong here. It has been logged."),
    "database_unavailable": Refusal(503, "The database cannot be reached."),
    "schema_not_exposed": Refusal(
        503,
        "The schema that SUPABASE_SCHEMA names is not exposed: add it to the exposed schemas in "
        "the settings of the project's Data API.",
    ),
    "function_missing": Refusal(
        503,
        "The schema that SUPABASE_SCHEMA names lacks a function of Keyfund's: push the migrations"
        " of this release, or name the schema that they are in.",
    ),
    "keys_unavailable": Refusal(503, "Sign-ins cannot be checked at the moment."),
    "lease_ended": Refusal(503, "The lease ended during the push."),
    "litellm_not_configured": Refusal(503, "LiteLLM is not configured here."),
    "litellm_unreachable": Refusal(503, "LiteLLM cannot be reached."),
    "litellm_no_answer": Refusal(503, "LiteLLM did not answer in time."),
    "litellm_failed": Refusal(503, "LiteLLM answered with %s."),
    "litellm_not_itself": Refusal(503, "Something in front of LiteLLM answered with %s."),
    "litellm_unreadable": Refusal(503, "LiteLLM answered with something unexpected."),
    "litellm_unauthorised": Refusal(503, "LiteLLM does not accept our key: check LITELLM_MASTER_KEY."),
    "litellm_database_down": Refusal(503, "LiteLLM is up, but its database is not."),
    "litellm_unsorted": Refusal(503, "LiteLLM did not list its keys in order."),
    "litellm_key_missing": Refusal(503, "LiteLLM does not show the key it was just given."),
    "paystack_not_configured": Refusal(503, "Payments are switched off here."),
    "paystack_unreachable": Refusal(503, "Paystack cannot be reached."),
    "paystack_no_answer": Refusal(503, "Paystack did not answer in time."),
    "paystack_failed": Refusal(503, "Paystack answered with %s."),
    "paystack_unreadable": Refusal(503, "Paystack answered with something unexpected."),
    "paystack_unauthorised": Refusal(503, "Paystack does not accept PAYSTACK_SECRET_KEY."),
    "payment_not_confirmed": Refusal(503, "Paystack's verification does not confirm the event yet."),
}
"""What the processes say themselves. 503: it may well work later; 500: a bug, which is only logged."""

REFUSALS = DATABASE | SERVICE


def refused(code: str, *values: object, vendor_status: int | None = None) -> RefusedError:
    """The error for something that would be refused again."""
    refusal = REFUSALS[code]
    return RefusedError(code, refusal.say(*values), status=refusal.status, vendor_status=vendor_status)


def unavailable(
    code: str, *values: object, outcome_unknown: bool = False, retry_after_seconds: int | None = None
) -> TransientError:
    """The error for something that may work later."""
    return TransientError(
        code,
        REFUSALS[code].say(*values),
        outcome_unknown=outcome_unknown,
        retry_after_seconds=retry_after_seconds,
    )


def switched_off(code: str, *values: object) -> NotConfiguredError:
    """The error for a feature whose settings are absent."""
    return NotConfiguredError(code, REFUSALS[code].say(*values))
