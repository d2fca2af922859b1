"""/organization: what the operator's own account costs, which no customer should read."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider.asking import desk_of, keyed


@keyed
async def costs(request: Request) -> Response:
    """GET /organization/costs: the whole bill, in dollars."""
    dollars = sum(call.cost_micros for call in desk_of(request).bill.calls) / 1_000_000
    result = {"object": "organization.costs.result", "amount": {"value": dollars, "currency": "usd"}}
    bucket = {"object": "bucket", "start_time": 0, "end_time": int(time.time()), "results": [result]}
    return JSONResponse({"object": "page", "data": [bucket], "has_more": False, "next_page": None})
