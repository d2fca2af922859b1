"""/refund: give money back, list and fetch what was given back."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dev.paystack import answer
from dev.paystack.book import Book
from dev.paystack.order import amount_from
from dev.paystack.page import matches, newest_first, numbered
from dev.paystack.refusal import invalid, missing
from dev.paystack.routes.asking import answered, body_of, id_in, keyed, sandbox_of
from dev.paystack.transaction import Transaction


@keyed
async def create(request: Request) -> Response:
    """POST /refund: queued, and processed only later; without an amount all that is left."""
    sandbox, body = sandbox_of(request), await body_of(request)
    transaction = _transaction_named(sandbox.book, body.get("transaction"))
    amount = amount_from(body["amount"]) if body.get("amount") is not None else None
    default = f"Refund for transaction {transaction.reference}"
    notes = (str(body.get("merchant_note") or default), str(body.get("customer_note") or default))
    refund, signed = sandbox.queue_refund(transaction, amount, notes)
    queued = answer.refund_queued(refund)
    await sandbox.before_answer(signed)
    return answered("Refund has been queued for processing", queued)


def _transaction_named(book: Book, name: Any) -> Transaction:
    """By reference or by numeric id, as POST /refund takes both."""
    if name is None or name == "":
        raise missing("Transaction is required")
    if isinstance(name, int):
        return book.transaction_by_id(name)
    text = str(name)
    if text.isdecimal() and text not in book.transactions:
        return book.transaction_by_id(int(text))
    return book.transaction(text)


@keyed
async def fetch(request: Request) -> Response:
    """GET /refund/:id."""
    refund = sandbox_of(request).book.refund(id_in(request, "Refund"))
    return answered("Refund retrieved", answer.refund_fetched(refund))


@keyed
async def list_all(request: Request) -> Response:
    """GET /refund: `transaction` filters by the numeric id of the payment, never by its reference."""
    query = request.query_params
    if query.get("transaction") and not query["transaction"].isdecimal():
        raise invalid("transaction must be a number")
    rows = [
        row
        for row in newest_first(sandbox_of(request).book.refunds.values(), query)
        if matches({"transaction": row.transaction.id, "currency": row.transaction.currency}, query)
    ]
    page = numbered(rows, query)
    return answered("Refunds retrieved", [answer.refund_listed(row) for row in page.rows], meta=page.meta)
