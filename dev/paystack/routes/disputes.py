"""/dispute: list and fetch what buyers' banks dispute."""

from starlette.requests import Request
from starlette.responses import Response

from dev.paystack import answer
from dev.paystack.page import matches, newest_first, numbered
from dev.paystack.refusal import invalid
from dev.paystack.routes.asking import answered, id_in, keyed, sandbox_of


@keyed
async def fetch(request: Request) -> Response:
    """GET /dispute/:id."""
    dispute = sandbox_of(request).book.dispute(id_in(request, "Dispute"))
    return answered("Dispute retrieved", answer.dispute_told(dispute))


@keyed
async def list_all(request: Request) -> Response:
    """GET /dispute: by date, status, and numeric id of the payment."""
    query = request.query_params
    if query.get("transaction") and not query["transaction"].isdecimal():
        raise invalid("transaction must be a number")
    rows = [
        row
        for row in newest_first(sandbox_of(request).book.disputes.values(), query)
        if matches({"transaction": row.transaction.id, "status": row.status}, query)
    ]
    page = numbered(rows, query)
    return answered("Disputes retrieved", [answer.dispute_told(row) for row in page.rows], meta=page.meta)
