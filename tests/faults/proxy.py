"""Proxies that go wrong on demand, in front of any upstream: one for HTTP, one for plain TCP.

All of them live in one event loop in one thread, so that what they saw has one order. A rule names the
requests that it is about; its fault says what happens to them; everything else passes.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from tests.faults.door import Door, abort, the_loop

T = TypeVar("T")
Headers = tuple[tuple[str, str], ...]
NUMBERS = count(1)
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "accept-encoding", "host")


# --- what passes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request as it came in; ``path`` is without the query."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def mentions(self, word: str) -> bool:
        return word in self.path or word in self.query or word.encode() in self.body

    def raw(self, host: str) -> bytes:
        target = f"{self.path}?{self.query}" if self.query else self.path
        kept = [f"{name}: {value}" for name, value in self.headers if name.lower() not in HOP_BY_HOP]
        own = [f"Host: {host}", "Connection: close", "Accept-Encoding: identity"]
        sized = [f"Content-Length: {len(self.body)}"] if self.body or self.method != "GET" else []
        return head(f"{self.method} {target} HTTP/1.1", [*kept, *own, *sized]) + self.body


@dataclass(frozen=True)
class Answer:
    """An answer with its whole body."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    def mentions(self, word: str) -> bool:
        return word.encode() in self.body

    def raw(self) -> bytes:
        kept = [f"{name}: {value}" for name, value in self.headers if name.lower() not in HOP_BY_HOP]
        return head(f"HTTP/1.1 {self.status} Said", [*kept, f"Content-Length: {len(self.body)}"]) + self.body


@dataclass
class Seen:
    """One request and what became of it; ``number`` orders it among those of all proxies.

    ``answer`` is what the upstream said, None while it has not; ``done``: nothing more will happen to it.
    """

    number: int
    proxy: str
    request: Request
    at: float
    fault: str
    answer: Answer | None = None
    done: bool = False


def head(first: str, lines: list[str]) -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


# --- what goes wrong ----------------------------------------------------------------------------------------


class Fault(Protocol):
    """What happens to a request."""

    async def play(self, exchange: "Exchange") -> None: ...


@dataclass(frozen=True)
class Pass:
    """Nothing goes wrong."""

    async def play(self, exchange: "Exchange") -> None:
        await exchange.reply(await exchange.forward())


@dataclass(frozen=True)
class Slow:
    """It takes its time, then all is well."""

    seconds: float

    async def play(self, exchange: "Exchange") -> None:
        await asyncio.sleep(self.seconds)
        await exchange.reply(await exchange.forward())


@dataclass(frozen=True)
class Hang:
    """Neither delivered nor answered: it ends when the client goes away."""

    async def play(self, exchange: "Exchange") -> None:
        await exchange.until_client_leaves()


@dataclass(frozen=True)
class Drop:
    """Not delivered; the connection is reset."""

    async def play(self, exchange: "Exchange") -> None:
        exchange.reset()


@dataclass(frozen=True)
class LoseAnswer:
    """The effect is had, its answer is lost."""

    async def play(self, exchange: "Exchange") -> None:
        await exchange.forward()
        exchange.reset()


@dataclass(frozen=True)
class CutHalfway:
    """The effect is had; half of the answer comes through."""

    async def play(self, exchange: "Exchange") -> None:
        raw = (await exchange.forward()).raw()
        await exchange.send(raw[: len(raw) - max(1, len(raw) // 4)])
        exchange.end()


@dataclass(frozen=True)
class Say:
    """Another answer than the upstream's; ``after``: the effect is had all the same."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    after: bool = False

    async def play(self, exchange: "Exchange") -> None:
        if self.after:
            await exchange.forward()
        await exchange.reply(Answer(self.status, self.body, self.headers))


@dataclass(frozen=True)
class Late:
    """Nobody answers; it is delivered when ``release`` is set or after the seconds, client or no client."""

    seconds: float = 3600
    release: threading.Event = field(default_factory=threading.Event)
    delivered: threading.Event = field(default_factory=threading.Event)

    async def play(self, exchange: "Exchange") -> None:
        deadline = time.monotonic() + self.seconds
        while not self.release.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 (another thread's event)
            await asyncio.sleep(0.02)
        answer = await exchange.forward()
        self.delivered.set()
        await exchange.reply(answer)


@dataclass(frozen=True)
class Hook:
    """Calls out just before a request is forwarded, and just after its effect, before the answer.

    Each returns whether it goes on; otherwise the connection is reset.
    """

    before: Callable[[Request], bool] | None = None
    after: Callable[[Request, Answer], bool] | None = None

    async def play(self, exchange: "Exchange") -> None:
        if self.before is not None and not await asyncio.to_thread(self.before, exchange.seen.request):
            exchange.reset()
            return
        answer = await exchange.forward()
        if self.after is not None and not await asyncio.to_thread(self.after, exchange.seen.request, answer):
            exchange.reset()
            return
        await exchange.reply(answer)


def say_json(status: int, document: Mapping[str, Any], headers: Headers = (), *, after: bool = False) -> Say:
    body = json.dumps(document).encode()
    return Say(status, body, (("content-type", "application/json"), *headers), after)


def say_html(status: int, *, after: bool = False) -> Say:
    page = b"<html><body><h1>One moment</h1></body></html>"
    return Say(status, page, (("content-type", "text/html"),), after)


@dataclass
class Rule:
    """Which requests a fault is for. ``skip`` lets the first ones pass, ``times`` None means every one."""

    route: str
    fault: Fault
    times: int | None = None
    skip: int = 0
    where: Callable[[Request], bool] | None = None
    hits: int = 0

    def takes(self, request: Request) -> bool:
        if not fnmatchcase(f"{request.method} {request.path}", self.route):
            return False
        if self.where is not None and not self.where(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


# --- HTTP ---------------------------------------------------------------------------------------------------


class Proxy(Door):
    """In front of one HTTP upstream. Rules may be added and cleared at any time, from any thread."""

    def __init__(self, name: str, upstream: str) -> None:
        parts = urlsplit(upstream)
        super().__init__(parts.hostname or "127.0.0.1", parts.port or 80)
        self.name = name
        self.url = f"http://127.0.0.1:{self.port}"
        self.rules: list[Rule] = []
        self.seen: list[Seen] = []

    def on(
        self,
        route: str,
        fault: Fault,
        *,
        times: int | None = None,
        skip: int = 0,
        where: Callable[[Request], bool] | None = None,
    ) -> Rule:
        """Have a fault befall requests whose "METHOD /path" fits; the first rule that fits counts."""
        rule = Rule(route, fault, times, skip, where)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Behave from the next request on."""
        self.rules.clear()

    def forget(self) -> None:
        self.seen.clear()

    def routes(self) -> list[str]:
        return [f"{one.request.method} {one.request.path}" for one in self.seen]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            request = await read_request(reader)
            if request is None:
                return
            rule = next((rule for rule in list(self.rules) if rule.takes(request)), None)
            fault: Fault = rule.fault if rule else Pass()
            seen = Seen(next(NUMBERS), self.name, request, time.monotonic(), type(fault).__name__)
            self.seen.append(seen)
            try:
                await fault.play(Exchange(self, seen, reader, writer))
            finally:
                seen.done = True


class Exchange:
    """One request on its way."""

    def __init__(
        self, proxy: Proxy, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy, self.seen, self.reader, self.writer = proxy, seen, reader, writer

    async def forward(self) -> Answer:
        """Deliver it, and take the whole answer. Shielded: what is delivered is answered, client or not."""
        host, port = self.proxy.upstream
        reader, writer = await asyncio.open_connection(host, port, limit=2**22)
        try:
            writer.write(self.seen.request.raw(f"{host}:{port}"))
            raw = await reader.read(-1)
        finally:
            writer.close()
        self.seen.answer = read_answer(raw)
        return self.seen.answer

    async def reply(self, answer: Answer) -> None:
        await self.send(answer.raw())

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self) -> None:
        abort(self.writer)

    def end(self) -> None:
        """Close politely: what was sent arrives."""
        self.writer.close()

    async def until_client_leaves(self) -> None:
        await self.reader.read(1)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection; None when the client has closed it."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, headers = split_head(raw)
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    sizes = [int(value) for name, value in headers if name.lower() == "content-length"]
    body = await reader.readexactly(sizes[0]) if sizes else b""
    return Request(method, path, query, headers, body)


def read_answer(raw: bytes) -> Answer:
    top, _, body = raw.partition(b"\r\n\r\n")
    if not top:
        raise ConnectionResetError("the upstream closed without an answer")
    first, headers = split_head(top)
    named = {name.lower(): value.lower() for name, value in headers}
    if named.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    return Answer(int(first.split(" ")[1]), body, headers)


def split_head(raw: bytes) -> tuple[str, Headers]:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, tuple((name, value.strip()) for name, _, value in pairs)


def unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole


# --- plain TCP ----------------------------------------------------------------------------------------------


class TcpProxy(Door):
    """In front of anything that speaks TCP, such as PostgreSQL: it may refuse, cut, or hang."""

    def __init__(self, upstream_port: int, upstream_host: str = "127.0.0.1") -> None:
        super().__init__(upstream_host, upstream_port)
        self.flowing = asyncio.Event()
        self.flowing.set()

    def hang(self) -> None:
        """Connections stay open, and nothing more comes through in either direction."""
        the_loop().loop.call_soon_threadsafe(self.flowing.clear)

    def flow(self) -> None:
        the_loop().loop.call_soon_threadsafe(self.flowing.set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self.upstream
        there, back = await asyncio.open_connection(host, port)
        self.writers.add(back)
        try:
            ways = {asyncio.ensure_future(self.pump(*way)) for way in ((reader, back), (there, writer))}
            _, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in pending:
                way.cancel()
        finally:
            self.writers.discard(back)
            abort(back)

    async def pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                await self.flowing.wait()
                target.write(data)
                await target.drain()
