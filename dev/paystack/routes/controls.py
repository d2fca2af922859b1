"""/sandbox: make things happen to payments. None of these exist at Paystack, and none needs a key."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.paystack import answer
from dev.paystack.dispute import Dispute
from dev.paystack.order import amount_from, order_from
from dev.paystack.outbox import Sending, Signed
from dev.paystack.refusal import invalid
from dev.paystack.routes.asking import body_of, id_in, sandbox_of
from dev.paystack.sandbox import Sandbox
from dev.paystack.transaction import Transaction
from dev.paystack.wire import JsonObject

_INLINE_DEFAULTS: JsonObject = {"email": "buyer@buyer.example", "currency": "NGN"}
_ORDER_FIELDS = ("reference", "email", "amount", "currency", "metadata", "first_name", "last_name", "phone")


def _sending(body: JsonObject) -> Sending:
    """Take the sending options out of a control's body."""
    deliver, times, wait = body.pop("deliver", True), body.pop("times", 1), body.pop("wait", False)
    if type(deliver) is not bool or type(times) is not int or times < 1 or type(wait) is not bool:
        raise invalid("deliver and wait are true or false, times is a number above zero")
    return Sending(deliver, times, wait)


async def _told(sandbox: Sandbox, signed: Signed, sending: Sending) -> Response:
    await sandbox.before_answer(signed, sending)
    return JSONResponse(signed.told())


def _transaction_in(request: Request) -> Transaction:
    return sandbox_of(request).book.transaction(request.path_params["reference"])


def _optional_amount(body: JsonObject, name: str) -> int | None:
    return None if body.get(name) is None else amount_from(body[name])


async def pay(request: Request) -> Response:
    """Pay; any other field given replaces that of charge.success, `omit` names fields to leave out."""
    transaction, fields = _transaction_in(request), await body_of(request)
    return await _paid(sandbox_of(request), transaction, fields)


async def _paid(sandbox: Sandbox, transaction: Transaction, fields: JsonObject) -> Response:
    sending, omitted = _sending(fields), fields.pop("omit", [])
    if not isinstance(omitted, list):
        raise invalid("omit is a list of field names")
    signed = sandbox.pay(transaction, fields, omitted=frozenset(omitted), sending=sending)
    return await _told(sandbox, signed, sending)


async def charge(request: Request) -> Response:
    """A payment opened in a browser with the public key: all of it is the buyer's choice."""
    sandbox, body = sandbox_of(request), await body_of(request)
    order = order_from(_INLINE_DEFAULTS | {name: body.pop(name) for name in _ORDER_FIELDS if name in body})
    return await _paid(sandbox, sandbox.initialize(order, inline=True), body)


async def settle(request: Request) -> Response:
    """Leave a payment unpaid: `{"status"}`, or by the name of the route. No webhook tells of it."""
    sandbox, transaction = sandbox_of(request), _transaction_in(request)
    by_route = {"fail": "failed", "abandon": "abandoned"}.get(request.url.path.rpartition("/")[2])
    sandbox.settle(transaction, by_route or str((await body_of(request)).get("status")))
    return JSONResponse({"status": True, "data": answer.verified(transaction)})


async def refund(request: Request) -> Response:
    """Refund `{"amount"}` (all that is left if absent) through to `{"status"}` (processed if absent)."""
    sandbox, transaction, body = sandbox_of(request), _transaction_in(request), await body_of(request)
    sending = _sending(body)
    signed = sandbox.refund(
        transaction,
        _optional_amount(body, "amount"),
        status=str(body.get("status", "processed")),
        dispute_id=body.get("dispute"),
        sending=sending,
    )
    return await _told(sandbox, signed, sending)


async def move_refund(request: Request) -> Response:
    """Bring a refund made over the API into `{"status"}`."""
    sandbox, body = sandbox_of(request), await body_of(request)
    sending, refund = _sending(body), sandbox.book.refund(id_in(request, "Refund"))
    signed = sandbox.move_refund(refund, str(body.get("status")), sending=sending)
    return await _told(sandbox, signed, sending)


async def dispute(request: Request) -> Response:
    """Dispute a payment: `{"refund_amount", "category"}`, by default all of it, as a chargeback."""
    sandbox, transaction, body = sandbox_of(request), _transaction_in(request), await body_of(request)
    sending = _sending(body)
    signed = sandbox.dispute(
        transaction,
        _optional_amount(body, "refund_amount"),
        category=str(body.get("category", "chargeback")),
        sending=sending,
    )
    return await _told(sandbox, signed, sending)


async def remind(request: Request) -> Response:
    """Say again that a dispute is open."""
    sandbox, body = sandbox_of(request), await body_of(request)
    sending, dispute = _sending(body), sandbox.book.dispute(id_in(request, "Dispute"))
    signed = sandbox.remind(dispute, sending=sending)
    return await _told(sandbox, signed, sending)


async def resolve(request: Request) -> Response:
    """Resolve a dispute: `{"resolution", "refund_amount"}`; an explicit null amount stays null."""
    sandbox, body = sandbox_of(request), await body_of(request)
    sending, dispute = _sending(body), sandbox.book.dispute(id_in(request, "Dispute"))
    resolution = str(body.get("resolution"))
    signed = sandbox.resolve(
        dispute, resolution, _resolved_amount(dispute, resolution, body), sending=sending
    )
    return await _told(sandbox, signed, sending)


def _resolved_amount(dispute: Dispute, resolution: str, body: JsonObject) -> int | None:
    if "refund_amount" not in body:
        return 0 if resolution == "declined" else dispute.refund_amount
    amount: Any = body["refund_amount"]
    return amount if amount is None or amount == 0 else amount_from(amount)


async def transactions(request: Request) -> Response:
    """Every payment as verify tells it, the oldest first."""
    rows = sandbox_of(request).book.transactions.values()
    return JSONResponse({"transactions": [answer.verified(row) for row in rows]})


async def deliveries(request: Request) -> Response:
    """Every webhook with its tries, the oldest first; `?reference=` for those of one payment."""
    wanted = request.query_params.get("reference")
    rows = sandbox_of(request).book.deliveries.values()
    told = [row.told() for row in rows if wanted is None or row.reference == wanted]
    return JSONResponse({"deliveries": told})


async def resend(request: Request) -> Response:
    """Deliver the bytes of an earlier webhook once more, as the dashboard's button does."""
    sandbox, body = sandbox_of(request), await body_of(request)
    sending, delivery = _sending(body), sandbox.book.delivery(id_in(request, "Delivery"))
    return await _told(sandbox, sandbox.resend(delivery), sending)


async def misbehave(request: Request) -> Response:
    """GET tells what is demanded; POST demands more."""
    sandbox = sandbox_of(request)
    if request.method == "POST":
        sandbox.misbehaviour.demand(await body_of(request))
    return JSONResponse(sandbox.misbehaviour.told())


async def reset(request: Request) -> Response:
    """Behave again; `{"state": true}` also forgets every payment, refund, dispute and delivery."""
    sandbox = sandbox_of(request)
    await sandbox.reset(state=(await body_of(request)).get("state") is True)
    return JSONResponse(sandbox.misbehaviour.told())


async def rotate(request: Request) -> Response:
    """Replace the API secret key, and with it the key that signs, by `{"secret_key"}`."""
    sandbox, key = sandbox_of(request), (await body_of(request)).get("secret_key")
    if not isinstance(key, str) or not key:
        raise invalid("secret_key is required")
    sandbox.outbox.secret_key = key
    return JSONResponse({"status": True})


async def status(request: Request) -> Response:
    """What the sandbox holds; also tells that it is ready."""
    sandbox = sandbox_of(request)
    book = sandbox.book
    counted = {
        "transactions": len(book.transactions),
        "refunds": len(book.refunds),
        "disputes": len(book.disputes),
        "deliveries": len(book.deliveries),
    }
    return JSONResponse({"status": True, "saved": sandbox.shelf.saved, **counted})
