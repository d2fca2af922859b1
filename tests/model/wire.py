"""The line to LiteLLM or Paystack, which may be cut."""

from enum import StrEnum

import httpx

from tests.model.process import cross


class Outage(StrEnum):
    """How the other side is away."""

    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"  # something in between answers 503


class Wire(httpx.AsyncBaseTransport):
    """Carries requests to an app in this process, or to a real server."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.outage: Outage | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lost = httpx.ReadTimeout("No answer.", request=request)
        may_be_late = request.method == "POST" and self.outage is None
        return await cross(lambda: self._carry(request), lost, may_be_late=may_be_late)

    async def _carry(self, request: httpx.Request) -> httpx.Response:
        if self.outage is Outage.UNREACHABLE:
            raise httpx.ConnectError("Nobody there.", request=request)
        if self.outage is Outage.UNAVAILABLE:
            return httpx.Response(503, text="<h1>Service unavailable</h1>", request=request)
        return await self._transport.handle_async_request(request)
