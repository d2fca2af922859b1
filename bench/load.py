"""Requests from so many connections, each sending its next when it has been answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from bench.measure import percentile

T = TypeVar("T")


@dataclass(frozen=True)
class Shot:
    """One request, built before the clock starts."""

    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Load:
    """How a load went: operations a second, and each one's time in milliseconds."""

    per_second: float
    times_ms: tuple[float, ...]

    def at(self, share: float) -> float:
        return percentile(self.times_ms, share)


async def spread(work: Sequence[T], at_once: int, do: Callable[[T], Awaitable[None]]) -> Load:
    """Do everything, so many at once."""
    waiting, times = iter(work), list[float]()

    async def lane() -> None:
        for one in waiting:
            began = time.perf_counter()
            await do(one)
            times.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(at_once)))
    return Load(len(work) / (time.perf_counter() - began), tuple(times))


async def fire(shots: Sequence[Shot], connections: int) -> Load:
    """POST everything; an answer other than 200 ends the benchmark: a refusal is quick but no work."""
    connector = aiohttp.TCPConnector(limit=connections, force_close=False)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def post(shot: Shot) -> None:
            async with session.post(shot.url, data=shot.body, headers=shot.headers) as answer:
                text = await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"{shot.url} answered {answer.status}: {text[:300]!r}")

        return await spread(shots, connections, post)
