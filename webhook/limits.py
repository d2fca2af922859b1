"""How many calls one caller may make, counted in this process: a bucket of tokens each."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import KeyfundError
from core.metrics import LIMITED
from webhook.answers import refusal_answer

MOST_BUCKETS = 10_000  # about a megabyte; whoever is forgotten merely begins with a full bucket again
FREE = {"/webhooks/paystack", "/payment-webhook", "/healthz", "/readyz"}
"""Paystack's deliveries are signed and must get in whenever they come; health is asked by the operator."""
DASHBOARD = "/analytics"
"""The page is some files that ask nobody: a load of it must not use up what its reader may call."""


class Buckets:
    """A bucket per caller: full it holds a minute's calls, and it fills evenly."""

    def __init__(
        self, per_minute: int, most: int = MOST_BUCKETS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = per_minute
        self._per_second = per_minute / 60
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, who: str) -> float:
        """Take a token. Returns 0 if there was one, else in how many seconds there will be."""
        now = self._clock()
        tokens, at = self._buckets.pop(who, (self._size, now))
        tokens = min(self._size, tokens + (now - at) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[who] = (tokens - (not wait), now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)  # who has been quiet for longest
        return wait


class RateLimits:
    """Answers 429 instead of calling the application when a caller's bucket is empty."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self.app = app
        self.per_minute = per_minute
        self.buckets = Buckets(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = 0.0
        if scope["type"] == "http" and not is_free(scope["path"]):
            kind, who = await _caller(scope)
            wait = self.buckets.take(f"{kind} {who}")
            if wait:
                LIMITED.labels(kind).inc()
        await (self._refusal(wait) if wait else self.app)(scope, receive, send)

    def _refusal(self, wait_seconds: float) -> ASGIApp:
        seconds = math.ceil(wait_seconds)
        headers = {"retry-after": str(seconds)}
        return refusal_answer("too_many_calls", self.per_minute, seconds, headers=headers)


def is_free(path: str) -> bool:
    return path.rstrip("/") in FREE | {DASHBOARD} or path.startswith(f"{DASHBOARD}/")


async def _caller(scope: Scope) -> tuple[str, str]:
    """Who is counted: the person whose token is good, for everybody else the address."""
    try:
        authorization = Headers(scope=scope).get("authorization")
        caller = await scope["app"].state.services.tokens.verify(authorization)
    except KeyfundError:
        return "address", address(scope)
    return "person", caller.user_id


def address(scope: Scope) -> str:
    """Where the call comes from. An IPv6 network counts as one: its holder has all its addresses."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host[:100]
    if isinstance(parsed, ipaddress.IPv4Address):
        return host
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
