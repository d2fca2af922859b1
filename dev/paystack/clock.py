"""Paystack's waits, on a clock that can run fast or stand still."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits; payloads always carry the time it tells."""

    def now(self) -> datetime:
        """The present, in UTC."""

    def after(self, seconds: float) -> datetime:
        """The moment at which a wait of so many of Paystack's seconds ends."""

    async def until(self, moment: datetime) -> None:
        """Return once that moment has come."""


class SystemClock:
    """Real time for payloads; Paystack's waits shortened by `scale` (360: an hour passes in ten seconds)."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def now(self) -> datetime:
        return datetime.now(UTC)

    def after(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds / self._scale)

    async def until(self, moment: datetime) -> None:
        await asyncio.sleep(max((moment - self.now()).total_seconds(), 0))


class ManualClock:
    """Time for tests: stands still until `advance` is called."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 10, 14, 9, 30, 41, tzinfo=UTC)
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def after(self, seconds: float) -> datetime:
        return self._now + timedelta(seconds=seconds)

    async def until(self, moment: datetime) -> None:
        if moment <= self._now:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((moment, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once and wake whoever waited for a moment within them."""
        self._now += timedelta(seconds=seconds)
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._now]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self._now]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
