"""Makes API calls fail on demand, in front of everything else."""

import asyncio
from typing import Final

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dev.paystack.misbehaviour import Fault
from dev.paystack.sandbox import Sandbox

_NOT_THE_API: Final = ("/sandbox", "/checkout")
_HTML: Final = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>cloudflare</body></html>"
_MESSAGES: Final = {429: "Too many requests", 502: "Bad gateway", 503: "Service unavailable"}


class Failing:
    """Answers the next matching calls with the demanded fault instead of the truth."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault_for(scope)
        if fault is None:
            await self._app(scope, receive, send)
            return
        await asyncio.sleep(fault.delay_seconds)
        if fault.when == "after":
            await self._app(scope, receive, _nowhere)
        await self._fail(fault, scope, receive, send)

    def _fault_for(self, scope: Scope) -> Fault | None:
        if scope["type"] != "http" or scope["path"].startswith(_NOT_THE_API):
            return None
        return self._sandbox.misbehaviour.take_fault(scope["method"], scope["path"])

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.hang_seconds is not None:
            await _hang(receive, fault.hang_seconds)
        if fault.cut or fault.hang_seconds is not None:
            await _cut(send)
        elif fault.status is not None or fault.when == "after" or fault.body != "json":
            await _answer(fault)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _nowhere(_message: Message) -> None:
    """Where an answer goes that the caller never gets."""


async def _hang(receive: Receive, seconds: float) -> None:
    """Say nothing until the caller gives up or the time is over."""

    async def gave_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gave_up(), seconds)
    except TimeoutError:
        return


async def _cut(send: Send) -> None:
    """Close the connection in the middle of an answer: uvicorn does, when the promised rest is missing."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"512")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"status":true,', "more_body": True})


def _answer(fault: Fault) -> Response:
    status = fault.status or 500
    message = _MESSAGES.get(status, "An error occurred")
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    if fault.body == "html":
        return HTMLResponse(_HTML.format(f"{status} {message}"), status, headers)
    if fault.body == "empty":
        return Response(b"", status, headers)
    return JSONResponse({"status": False, "message": message}, status, headers)
