"""Connections that nobody may hold for nothing: a time for the head and the body, and room for the next one.

Each connection costs a file descriptor. A few hundred that never finish their request would use up all of
them, and neither Paystack nor a load balancer's health check would get in any more.
"""

import asyncio
import errno
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.logs import get_logger

log = get_logger()
HEAD_SECONDS = 10.0
BODY_SECONDS = 20.0  # for a mebibyte at most; Paystack itself gives up after about 30
BACKLOG = 128  # so many are taken in one go, before any can be turned away
QUIET_SECONDS = 60.0
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"cache-control: no-store\r\ncontent-length: 81\r\n\r\n"
    b'{"error": {"code": "too_slow", "message": "The request did not arrive in time."}}'
)

Stage = Literal["head", "body"]
SECONDS: dict[Stage, float] = {"head": HEAD_SECONDS, "body": BODY_SECONDS}


@dataclass(slots=True)
class Seldom:
    """Whether to say something again: once a minute, however often it happens."""

    said_at: float = float("-inf")

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self.said_at < QUIET_SECONDS:
            return False
        self.said_at = now
        return True


def raise_limit() -> int:
    """Take as many descriptors as this process may have; returns how many that is."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems call endless what they do not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Connection(H11Protocol):
    """A connection that is closed when its request does not arrive in time.

    Half of the descriptors are for connections, the rest for what we open ourselves. When that half is used
    up, whoever has let us wait for longest makes room: an honest request has arrived by then.
    """

    most: ClassVar[int] = 512
    waiting: ClassVar[dict["Connection", None]] = {}
    crowded: ClassVar[Seldom] = Seldom()
    stage: Stage | None = None
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter("head")
        if len(self.connections) > self.most and self.waiting:
            if self.crowded.is_due():
                log.warning("http.connections_exhausted", most=self.most)
            next(iter(self.waiting)).give_up()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(None)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Close. Whoever has sent some of a request is told why."""
        begun = self.stage == "body" or bool(self.conn.trailing_data[0])
        answered = self.cycle is not None and self.cycle.response_started
        if begun and not (self.stage == "body" and answered):
            self.transport.write(TOO_SLOW)
        self._enter(None)
        self.transport.close()

    def _look(self) -> None:
        stages: dict[Any, Stage] = {h11.IDLE: "head", h11.SEND_BODY: "body"}
        stage = None if self.transport.is_closing() else stages.get(self.conn.their_state)
        if stage != self.stage:
            self._enter(stage)

    def _enter(self, stage: Stage | None) -> None:
        self.stage = stage
        self.waiting.pop(self, None)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if stage is not None:
            self.waiting[self] = None
            self.timer = self.loop.call_later(SECONDS[stage], self.give_up)


def quiet_exhaustion(loop: asyncio.AbstractEventLoop) -> None:
    """Say once a minute that descriptors are used up; asyncio would print a traceback for each attempt."""
    exhausted = Seldom()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif exhausted.is_due():
            log.error("http.descriptors_exhausted", error="too many open files")

    loop.set_exception_handler(handle)
