"""Puts every request on the bill before anything looks at it, and notes how it ended."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dev.provider.bill import ANSWERED, CUT_OFF, FAILED, REFUSED, Call
from dev.provider.desk import Desk


class Journal:
    """Around the app: nothing but the sandbox's own controls is left out."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            await self._app(scope, receive, send)
            return
        scope["call"] = call = self._desk.bill.open(f"{scope['method']} {scope['path']}")
        call.batch = scope.get("batch")
        if query := scope["query_string"].decode():
            call.asked["query"] = query
        try:
            await self._app(scope, receive, _noting(call, scope, receive, send))
        except Exception:
            call.status = 500
            call.end(FAILED)
            raise
        finally:
            call.end(CUT_OFF)


def _noting(call: Call, scope: Scope, receive: Receive, send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            if await Request(scope, receive).is_disconnected():  # the work was done for nobody
                call.end(CUT_OFF)
        elif not message.get("more_body"):
            # Before it is sent: a caller who has the answer finds the call ended.
            call.end(_outcome(call.status or 500))
        await send(message)

    return sent


def _outcome(status: int) -> str:
    if status >= 500:
        return FAILED
    return REFUSED if status >= 400 else ANSWERED
