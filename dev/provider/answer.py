"""Answers as they go out: whole, cut off in the middle, or streamed with a bill that grows."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dev.provider.bill import CUT_OFF, FAILED, Call
from dev.provider.demand import Demand
from dev.provider.refusal import JsonObject

Event = tuple[int, str]
"""The output tokens that a piece of a stream adds, and the piece as it goes over the wire."""


class CutResponse(Response):
    """Promises a body and sends half of it: the server closes the connection."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class EventStream(StreamingResponse):
    """Server-sent events, without the end that tells the caller that they are all, where they are cut."""

    def __init__(self, events: AsyncIterator[str], *, cut: bool) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._cut = cut

    async def stream_response(self, send: Send) -> None:
        """Send the events as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self.body_iterator:
            body = event.encode() if isinstance(event, str) else bytes(event)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if not self._cut:
            await send({"type": "http.response.body", "body": b""})


def whole(call: Call, demand: Demand, body: JsonObject) -> Response:
    """One JSON answer, or the half of it that a cut leaves."""
    answer = JSONResponse(body)
    if not demand.cut:
        return answer
    call.end(CUT_OFF)
    return CutResponse(answer.body, 200, dict(answer.headers))


def streamed(
    call: Call, demand: Demand, events: Iterable[Event], bill: Callable[[int], None]
) -> StreamingResponse:
    """Server-sent events; before each piece goes out, `bill` is told the output tokens so far."""
    return EventStream(_sent(call, demand, list(events), bill), cut=demand.cut)


async def _sent(
    call: Call, demand: Demand, events: list[Event], bill: Callable[[int], None]
) -> AsyncIterator[str]:
    tokens = 0
    for number, (more, piece) in enumerate(events):
        if number >= len(events) // 2 and demand.fail_midway:
            call.end(FAILED)
            yield data({"error": {"message": "The provider failed.", "type": "server_error", "code": None}})
            return
        if number >= len(events) // 2 and demand.cut:
            call.end(CUT_OFF)
            return
        bill(tokens := tokens + more)
        yield piece
        await asyncio.sleep(demand.pace_seconds)


def data(body: JsonObject, event: str | None = None) -> str:
    """One server-sent event, named where the vendor names them."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(body)}\n\n"
