"""What /openapi.json tells of each route beside its types: what it is for, an example, how it may refuse."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from core.refusals import REFUSALS
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

VALUES: dict[str, tuple[object, ...]] = {
    "beyond_ceiling": ("60 requests per minute",),
    "credit_value_differs": (3, 2),
    "duration_beyond_ceiling": ("30d",),
    "invalid_request": ("max_budget: Input should be a valid integer",),
    "model_not_allowed": ("gpt-4o",),
    "paystack_refused": (400,),
    "price_changed": (500, "NGN 16,000.00"),
    "too_many_calls": (300, 3),
    "too_many_keys": (1000,),
}
"""By code: what its sentence is filled in with in the examples."""

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
LIMITS = (
    "invalid_name", "beyond_ceiling", "duration_beyond_ceiling", "model_not_allowed", "invalid_expires_at",
)  # fmt: skip
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
        statuses = sorted({REFUSALS[code].status for code in self.errors})
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
        codes = [code for code in self.errors if REFUSALS[code].status == status]
        return {code: {"value": {"error": {"code": code, "message": _example(code)}}} for code in codes}


def _example(code: str) -> str:
    return REFUSALS[code].say(*VALUES.get(code, ()))


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
            *SIGNED_IN, *BODY, *ACCOUNT, *LIMITS, "account_not_found", "too_many_keys", "too_many_creations",
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
            *SIGNED_IN, *BODY, *LIMITS, "blocked_by_administrator", "account_suspended", "holder_suspended",
            "role_too_low", "invalid_cap",
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
            *SIGNED_IN, *BODY, *ACCOUNT, *TEAM, *PAYSTACK, "paystack_refused", "package_not_found",
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
        (*ADMINISTRATOR, *BODY, *PAYSTACK, "paystack_refused", "payment_not_found", "fee_unknown"),
        request={"step": "verified"},
    ),
    "POST /api/admin/payments/{reference}/refund": Document(
        "Have Paystack give a payment back",
        examples.DETAIL,
        (
            *ADMINISTRATOR, *BODY, *PAYSTACK, "paystack_refused", "reason_missing", "payment_not_found",
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
