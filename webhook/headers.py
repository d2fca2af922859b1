"""INCLUDE_COST_HEADERS: what a caller has left, on every answer to somebody signed in."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

from core.errors import KeyfundError
from webhook.services import Services
from webhook.tokens import Caller

BALANCE = "x-keyfund-credits-balance"
ESTIMATED_COST = "x-keyfund-estimated-cost-micros"
ALL = (BALANCE, ESTIMATED_COST)
READ_SECONDS = 1.0  # an answer is worth more than its headers


def install(app: FastAPI) -> None:
    """Only where they are wanted: off, no answer is slower by anything."""
    app.middleware("http")(_add_balance)


async def _add_balance(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None or response.status_code >= 400:
        return response  # what failed is not made to wait for the database as well
    services: Services = request.app.state.services
    try:
        async with asyncio.timeout(READ_SECONDS):
            balance = await services.store_of(caller).read_balance()
    except (KeyfundError, TimeoutError):
        return response
    response.headers[BALANCE] = str(balance["credits"])
    return response
