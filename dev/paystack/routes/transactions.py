"""/transaction: open, verify, list and fetch payments."""

from starlette.requests import Request
from starlette.responses import Response

from dev.paystack import answer
from dev.paystack.order import order_from
from dev.paystack.page import Query, cursored, matches, newest_first, numbered
from dev.paystack.routes.asking import answered, body_of, id_in, keyed, sandbox_of
from dev.paystack.transaction import Transaction


@keyed
async def initialize(request: Request) -> Response:
    """POST /transaction/initialize: open a payment, answer where the buyer pays it."""
    sandbox = sandbox_of(request)
    transaction = sandbox.initialize(order_from(await body_of(request)))
    if sandbox.misbehaviour.deliver_before_answer:
        await sandbox.before_answer(sandbox.pay(transaction))
    data = {
        "authorization_url": f"{request.base_url}checkout/{transaction.access_code}",
        "access_code": transaction.access_code,
        "reference": transaction.reference,
    }
    return answered("Authorization URL created", data)


@keyed
async def verify(request: Request) -> Response:
    """GET /transaction/verify/:reference: 200 and `status: true` even if unpaid; `data.status` tells."""
    transaction = sandbox_of(request).book.transaction(request.path_params["reference"])
    return answered("Verification successful", answer.verified(transaction))


@keyed
async def fetch(request: Request) -> Response:
    """GET /transaction/:id."""
    transaction = sandbox_of(request).book.transaction_by_id(id_in(request, "Transaction"))
    return answered("Transaction retrieved", answer.fetched(transaction))


@keyed
async def list_all(request: Request) -> Response:
    """GET /transaction: by page number, or by cursor with `use_cursor=true`."""
    query = request.query_params
    rows = newest_first(sandbox_of(request).book.transactions.values(), query)
    rows = [row for row in rows if _fits(row, query)]
    if query.get("use_cursor") == "true":
        page = cursored(rows, query)
    else:
        page = numbered(rows, query)
        page.meta["total_volume"] = sum(row.amount for row in rows)
    return answered("Transactions retrieved", [answer.listed(row) for row in page.rows], meta=page.meta)


def _fits(transaction: Transaction, query: Query) -> bool:
    shown = {
        "status": transaction.status,
        "customer": transaction.customer.id,
        "amount": transaction.amount,
        "currency": transaction.currency,
    }
    return matches(shown, query)
