"""What /openapi.json tells of each route beside its types: what it is for, an example, how it may refuse."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from webhook import examples
from webhook.answers import ErrorAnswer
from webhook.examples import Json

TAGS = [
    {"name": "keys", "description": "The caller's LiteLLM keys, and how they stand."},
    {"name": "credits", "description": "Buying credits, and following each payment."},
    {"name": "usage", "description": "What was used, and what a call would cost."},
    {"name": "administrators", "description": "For the users in `keyfund.administrators`."},
    {"name": "status", "description": "Whether everything is well."},
    {"name": "paystack", "description": "Paystack's events."},
    {"name": "health", "description": "For load balancers and operators."},
]

ERRORS: dict[str, tuple[int, str]] = {
    "invalid_name": (400, "A name has between 1 and 100 characters."),
    "invalid_cap": (400, "cap is wallet (then without max_budget) or fixed."),
    "invalid_expires_at": (
        400,
        "expires_at is a time in the future, at most ten years from now, or infinity: never.",
    ),
    "model_not_allowed": (400, "Keys may not use these models here: gpt-4o."),
    "beyond_ceiling": (400, "Highest allowed here: rpm_limit 60."),
    "invalid_range": (400, "start_date is not after end_date, and at most 366 days are told at once."),
    "too_many_rows": (400, "More than 50,000 rows: ask for fewer days."),
    "invalid_body": (400, "The body is not JSON."),
    "invalid_event": (400, "The body is not an event."),
    "incomplete_body": (400, "The sender went away."),
    "reason_missing": (400, "Say why: the reason is kept."),
    "paystack_http_400": (400, "Paystack refused with 400."),
    "not_signed_in": (401, "Sign in first."),
    "bad_signature": (401, "The signature does not fit the body."),
    "account_deleted": (403, "This account does not exist any more."),
    "account_suspended": (403, "This account is suspended. Ask the people who run this service."),
    "blocked_by_administrator": (
        403,
        "An administrator blocked this key; only an administrator can unblock it.",
    ),
    "key_of_another": (403, "Only the person who holds a key gets a new string for it."),
    "role_too_low": (403, "Only owners and admins of the team may do this."),
    "not_an_administrator": (403, "Only an administrator may do this."),
    "key_not_found": (404, "There is no such key."),
    "account_not_found": (404, "There is no such account."),
    "model_not_found": (404, "LiteLLM offers no such model."),
    "package_not_found": (404, "There is no such package on sale."),
    "payment_not_found": (404, "There is no such payment."),
    "credit_value_differs": (409, "CREDIT_VALUE_CENTS is 3 here, but the database was set up with 2."),
    "email_missing": (
        409,
        "Add an e-mail address to your account first: the payment's receipt is sent there.",
    ),
    "key_revoked": (409, "This key is revoked for good. Create a new one."),
    "key_not_synced": (409, "LiteLLM does not know this key yet: there is nothing to replace."),
    "key_retiring": (
        409,
        "This is the former string of a rotated key: change the key itself, or revoke this one.",
    ),
    "rotation_under_way": (
        409,
        "A former string of this key is still alive: revoke it, or wait until it retires.",
    ),
    "payment_disputed": (409, "This payment is given back through its dispute, or was."),
    "too_many_keys": (409, "An account has at most 1000 keys. Revoke one first."),
    "price_changed": (409, "This package has changed: it is now 500 credits for NGN 16,000.00."),
    "fee_unknown": (
        409,
        "Ask Paystack first who bore the fee: nothing is withheld before that is known.",
    ),
    "payment_not_credited": (409, "The payment has not arrived yet."),
    "payment_not_paid": (409, "Nothing was paid for this order."),
    "nothing_to_decide": (409, "No payment with this reference waits for a decision."),
    "too_large": (413, "A body has at most 1 MiB."),
    "invalid_request": (422, "max_budget: Input should be a valid integer"),
    "too_many_orders": (
        429,
        "Too many orders were opened and not paid. Pay one of them, or try again later.",
    ),
    "too_many_creations": (429, "Too many keys were made within an hour. Try again later."),
    "too_many_rotations": (429, "Keys were rotated too often within an hour. Try again later."),
    "too_many_changes": (429, "Keys were changed too often within an hour. Try again later."),
    "too_many_unblocks": (429, "Keys were unblocked too often within an hour. Try again later."),
    "too_many_resyncs": (429, "Keys were synced again too often within an hour. Try again later."),
    "too_many_calls": (429, "At most 300 calls a minute. Try again in 3 s."),
    "database_unavailable": (503, "The database cannot be reached."),
    "litellm_not_configured": (503, "LiteLLM is not configured here."),
    "litellm_unreachable": (503, "LiteLLM cannot be reached."),
    "paystack_not_configured": (503, "Payments are switched off here."),
    "paystack_unreachable": (503, "Paystack cannot be reached."),
}
"""By code: its status, and a sentence as people get it. Codes never change; clients may match them."""

REASONS = {
    400: "Understood, but not possible like this.",
    401: "Not signed in, or a wrong signature.",
    403: "Not allowed.",
    404: "No such thing, or not the caller's.",
    409: "Not possible as things stand.",
    413: "The body is larger than any request.",
    422: "The request is malformed.",
    429: "Too many calls; `Retry-After` says for how many seconds to wait.",
    503: "Something is away or switched off; try again later.",
}

OPEN = ("too_many_calls", "database_unavailable")
SIGNED_IN = ("not_signed_in", *OPEN)
BODY = ("too_large", "invalid_request")
ACCOUNT = ("account_suspended", "account_deleted")
TEAM = ("account_not_found", "role_too_low")
PAYSTACK = ("paystack_not_configured", "paystack_unreachable")
ADMINISTRATOR = (*SIGNED_IN, "not_an_administrator")
EVENT_HEADER = {
    "name": "x-paystack-signature",
    "in": "header",
    "required": True,
    "description": "HMAC-SHA512 of the raw body with the secret key, in hex.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True, slots=True)
class Document:
    """One route: a summary, an answer, the codes with which it may refuse, perhaps a request."""

    summary: str
    answer: Any
    errors: tuple[str, ...] = ()
    request: Any = None
    header: Json | None = None
    csv: str | None = None

    def options(self) -> Json:
        """Arguments for ``add_api_route``."""
        statuses = sorted({ERRORS[code][0] for code in self.errors})
        responses: dict[int | str, Json] = {
            one: {"model": ErrorAnswer, "description": REASONS[one]} for one in statuses
        }
        if self.csv is not None:
            responses[200] = {"content": {"text/csv": {"schema": {"type": "string"}}}}
        return {"summary": self.summary, "responses": responses}

    def complete(self, operation: Json) -> None:
        """Add the examples. FastAPI itself would take what is null out of them."""
        for status, told in operation["responses"].items():
            if int(status) < 400:
                for kind, content in told["content"].items():
                    content["example"] = self.csv if kind == "text/csv" else self.answer
            else:
                (content,) = told["content"].values()
                told["content"] = {"application/json": content | {"examples": self._refusals(int(status))}}
            if status == "429":
                told["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
        if self.request is not None:
            body = operation.setdefault(
                "requestBody", {"required": True, "content": {"application/json": {}}}
            )
            body["content"]["application/json"]["example"] = self.request
        if self.header is not None:
            operation.setdefault("parameters", []).append(self.header)

    def _refusals(self, status: int) -> Json:
        codes = [(code, ERRORS[code][1]) for code in self.errors if ERRORS[code][0] == status]
        return {code: {"value": {"error": {"code": code, "message": message}}} for code, message in codes}


class Described(FastAPI):
    """An application whose /openapi.json has an example of everything."""

    def openapi(self) -> Json:
        if self.openapi_schema is None:
            document = super().openapi()
            for route, described in DOCUMENTS.items():
                method, _, path = route.partition(" ")
                described.complete(document["paths"][path][method.lower()])
        return super().openapi()


DELIVERY = Document(
    "Take an event of Paystack's",
    {"received": True},
    (
        "invalid_body", "invalid_event", "incomplete_body", "bad_signature", "too_large",
        "database_unavailable", "paystack_not_configured",
    ),
    request=examples.EVENT,
    header=EVENT_HEADER,
)  # fmt: skip

DOCUMENTS: dict[str, Document] = {
    "POST /webhooks/paystack": DELIVERY,
    "POST /payment-webhook": DELIVERY,
    "GET /api/keys/manage": Document(
        "List one's keys",
        {
            "keys": [examples.LISTED_KEY],
            "limits": examples.INSTALLATION,
            "litellm": examples.LITELLM,
            "next": None,
        },
        (*SIGNED_IN, "invalid_request", "key_not_found"),
    ),
    "POST /api/keys/manage": Document(
        "Create a key",
        examples.PENDING,
        (
            *SIGNED_IN, *BODY, *ACCOUNT, "account_not_found", "invalid_name", "beyond_ceiling",
            "model_not_allowed", "invalid_expires_at", "too_many_keys", "too_many_creations",
            "litellm_not_configured",
        ),
        request={
            "name": "laptop",
            "max_budget": 500,
            "budget_duration": "7d",
            "rpm_limit": 60,
            "models": ["gpt-4o-mini"],
            "expires_at": "2027-01-01T00:00:00Z",
        },
    ),
    "PATCH /api/keys/manage/{key_id}": Document(
        "Change, block or unblock a key",
        examples.PENDING,
        (
            *SIGNED_IN, *BODY, "blocked_by_administrator", "account_suspended", "role_too_low",
            "invalid_name", "invalid_cap", "beyond_ceiling", "model_not_allowed", "invalid_expires_at",
            "key_not_found", "key_revoked", "key_retiring", "account_deleted", "too_many_changes",
            "too_many_unblocks",
        ),
        request={"max_budget": 1000},
    ),
    "POST /api/keys/manage/{key_id}/rotate": Document(
        "Give a key a new string",
        examples.PENDING,
        (
            *SIGNED_IN, *BODY, *ACCOUNT, "key_not_found", "key_of_another", "key_revoked", "key_not_synced",
            "key_retiring",
            "rotation_under_way", "too_many_rotations", "litellm_not_configured",
        ),
        request={"overlap_seconds": 3600},
    ),
    "DELETE /api/keys/manage/{key_id}": Document(
        "Revoke a key for good",
        examples.REVOKED,
        (*SIGNED_IN, "invalid_request", "account_deleted", "key_not_found", "key_revoked"),
    ),
    "GET /api/keys/sync": Document(
        "How keys stand with LiteLLM",
        {"keys": [examples.SYNC], "litellm": examples.LITELLM, "next": None},
        (*ADMINISTRATOR, "invalid_request", "key_not_found"),
    ),
    "POST /api/keys/sync": Document(
        "Push a key now",
        {"key": examples.KEY},
        (
            *SIGNED_IN, *BODY, *ACCOUNT, "key_not_found", "too_many_keys", "too_many_creations",
            "too_many_resyncs", "litellm_not_configured",
        ),
        request={"keyId": examples.KEY_ID, "action": "update"},
    ),
    "GET /api/credits/balance": Document(
        "What is left", examples.BALANCE, (*SIGNED_IN, "invalid_request", "account_not_found")
    ),
    "GET /api/credits/packages": Document("What is on sale", {"packages": [examples.PACKAGE]}, SIGNED_IN),
    "POST /api/credits/checkout": Document(
        "Order a package",
        examples.CHECKOUT,
        (
            *SIGNED_IN, *BODY, *ACCOUNT, *TEAM, *PAYSTACK, "paystack_http_400", "package_not_found",
            "email_missing", "too_many_orders", "price_changed",
        ),
        request={"package_id": "starter-ngn", "amount": 1_600_000, "credits": 500},
    ),
    "GET /api/credits/transactions": Document(
        "An account's payments",
        {"transactions": [examples.PAYMENT], "next": None},
        (*SIGNED_IN, "invalid_request", "payment_not_found"),
    ),
    "GET /api/credits/transactions/{reference}/receipt": Document(
        "A receipt to print",
        examples.PAGE,
        (*SIGNED_IN, "invalid_request", "payment_not_found", "payment_not_credited"),
    ),
    "GET /checkout/return": Document(
        "Where Paystack sends the buyer back",
        examples.PAGE,
        (*OPEN, "invalid_request", "paystack_not_configured"),
    ),
    "GET /api/analytics/usage": Document(
        "Usage by day, model and key",
        examples.USAGE,
        (
            *ADMINISTRATOR, "invalid_request", "invalid_range", "too_many_rows", "account_not_found",
            "key_not_found",
        ),
        csv=examples.USAGE_CSV,
    ),
    "POST /api/usage/estimate": Document(
        "What a call would cost",
        examples.ESTIMATE,
        (*SIGNED_IN, *BODY, "model_not_found"),
        request={"model": "mock-small", "prompt": "Hello", "max_tokens": 20},
    ),
    "GET /api/usage/models": Document(
        "Which models there are",
        {"models": ["mock-small"]},
        (*SIGNED_IN, "litellm_not_configured", "litellm_unreachable"),
    ),
    "POST /api/admin/payments/{reference}/retry": Document(
        "Do a payment's steps again",
        examples.DETAIL,
        (*ADMINISTRATOR, *BODY, *PAYSTACK, "paystack_http_400", "payment_not_found", "fee_unknown"),
        request={"step": "verified"},
    ),
    "POST /api/admin/payments/{reference}/refund": Document(
        "Have Paystack give a payment back",
        examples.DETAIL,
        (
            *ADMINISTRATOR, *BODY, *PAYSTACK, "paystack_http_400", "reason_missing", "payment_not_found",
            "payment_not_paid", "payment_disputed", "nothing_to_decide", "fee_unknown",
        ),
        request={"reason": "paid twice"},
    ),
    "POST /api/admin/resync": Document(
        "Push everything that failed again", examples.RESYNC, (*ADMINISTRATOR, "litellm_not_configured")
    ),
    "GET /api/admin/resync": Document("How far that is", examples.RESYNC, ADMINISTRATOR),
    "GET /api/status": Document("Whether everything is well", examples.STATUS, SIGNED_IN),
    "GET /healthz": Document("The process answers", {"status": "ok"}),
    "GET /readyz": Document(
        "Supabase answers", {"status": "ok"}, ("database_unavailable", "credit_value_differs")
    ),
}  # fmt: skip
