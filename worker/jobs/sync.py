"""Jobs between the database and LiteLLM: pushes, probes, usage, deletions."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.domain.pushes import Push, Reading, SpendPage
from core.domain.usage import ToRoll
from core.errors import KeyfundError, RefusedError
from core.flows.push import Pusher
from core.flows.usage import UsageReader, tomorrow
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.store import ServiceStore

log = get_logger()
OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class PushAccounts:
    """Push accounts that are due, so many side by side, until none is left or the worker stops."""

    store: ServiceStore
    pusher: Pusher
    at_once: int
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_once(self) -> int:
        """Returns how many accounts were claimed. A slow one holds up none but itself."""
        leased = _Leased(self.store, self.pusher.lease_seconds, self.at_once, self.stopping)
        await asyncio.gather(*(self._push_each(leased) for _ in range(self.at_once)))
        if leased.error is not None:  # only once none is in hand any more
            raise leased.error
        return leased.claimed

    async def _push_each(self, leased: "_Leased") -> None:
        while (one := await leased.take()) is not None:
            push, claimed_at = one
            try:
                await self.pusher.run(push, claimed_at)
            except KeyfundError as error:
                log.warning("sync.not_recorded", user_id=push.user_id, error=str(error))


@dataclass(slots=True)
class _Leased:
    """Accounts that are ours to push.

    When none is waiting, a few more are claimed: a call for each costs too much, and a lease that waits for
    long is of no use.
    """

    store: ServiceStore
    lease_seconds: int
    at_once: int
    stopping: asyncio.Event
    claimed: int = 0
    are_more: bool = True
    error: KeyfundError | None = None
    waiting: deque[tuple[Push, float]] = field(default_factory=deque)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self) -> tuple[Push, float] | None:
        """The next, and when it was claimed; None: there is no more."""
        async with self.lock:
            if not self.waiting and self.are_more and not self.stopping.is_set():
                await self._claim()
            return self.waiting.popleft() if self.waiting else None

    async def _claim(self) -> None:
        limit = max(1, self.at_once // 2) if self.claimed else self.at_once
        claimed_at = time.monotonic()
        try:
            pushes = await self.store.claim_pushes(limit, self.lease_seconds)
        except KeyfundError as error:
            self.are_more, self.error = False, error
            return
        self.waiting.extend((push, claimed_at) for push in pushes)
        self.claimed += len(pushes)
        self.are_more = len(pushes) == limit


@dataclass(slots=True)
class ProbeLiteLLM:
    """Ask a silent LiteLLM whether it is there, and an absent one whether it is back."""

    store: ServiceStore
    litellm: LiteLLM
    away: bool = False

    async def run_once(self) -> int:
        if not await self.store.claim_probe():
            return 0
        try:
            await self.litellm.ping()
        except KeyfundError as error:
            self.away = True
            log.warning("litellm.away", error=str(error))
            await self.store.report_gateway(ok=False, error=str(error))
        else:
            if self.away:
                self.away = False
                log.info("litellm.back")
            await self.store.report_gateway(ok=True, warnings=await self._warnings())
        return 0

    async def _warnings(self) -> list[str]:
        """What of the doctor's questions can be asked for nothing, all the time."""
        try:
            unpriced = await self.litellm.find_unpriced_models()
        except KeyfundError:
            return []  # a key of fewer rights may not ask
        return [f"Without a price, so outside every wallet: {', '.join(unpriced)}."] if unpriced else []


@dataclass(frozen=True, slots=True)
class SettleUsage:
    """Book what LiteLLM shows as spent since the last time, and have a look where it shows less."""

    store: ServiceStore
    litellm: LiteLLM
    every_seconds: int

    async def run_once(self) -> int:
        reading = await self.store.claim_reading("litellm", self.every_seconds)
        if reading is None:
            return 0
        try:
            newest = await self._settle(reading)
        except KeyfundError as error:
            log.warning("usage.not_settled", error=str(error))
            return 0
        if newest is not None:
            await self.store.finish_reading("litellm", newest)
        return 0

    async def _settle(self, reading: Reading) -> datetime | None:
        """Settle page by page; returns up to where, in LiteLLM's own time."""
        changes = await self.litellm.read_changes()
        booked = await self._book(reading, changes)
        if not changes.is_last and not _reaches(changes, reading.mark):
            async for page in self.litellm.walk_keys():
                booked += await self._book(reading, page)
        if booked:
            log.info("usage.settled", accounts=booked)
        return changes.newest

    async def _book(self, reading: Reading, page: SpendPage) -> int:
        booked = await self.store.settle_usage(reading, page.spenders)
        try:
            await self.store.record_key_spend(page.keys)
        except RefusedError as error:  # for people to see: no money waits for it
            log.warning("usage.key_spend_not_kept", error=str(error))
        return booked


def _reaches(changes: SpendPage, mark: datetime | None) -> bool:
    """Whether nothing can have changed since the mark that is not on this page."""
    return mark is not None and changes.oldest is not None and changes.oldest < mark - OVERLAP


@dataclass(frozen=True, slots=True)
class RollUpUsage:
    """Keep what accounts that spent used by day, model and key, for when LiteLLM is away."""

    store: ServiceStore
    usage: UsageReader
    at_once: int
    lease_seconds: int

    async def run_once(self) -> int:
        """Claim and read one batch; returns how many accounts were claimed."""
        claimed = await self.store.claim_rollups(self.at_once, self.lease_seconds)
        await asyncio.gather(*(self._read(one) for one in claimed))
        return len(claimed)

    async def _read(self, one: ToRoll) -> None:
        try:
            async with asyncio.timeout(self.lease_seconds):  # then it is another's turn to read it
                await self.usage.refresh(one.user_id, one.since, tomorrow(), one.booked_micros)
        except (KeyfundError, TimeoutError) as error:
            log.warning("usage.not_rolled_up", user_id=one.user_id, error=str(error) or "took too long")


@dataclass(frozen=True, slots=True)
class DeleteKeys:
    """Remove from LiteLLM what was revoked a day ago."""

    store: ServiceStore
    litellm: LiteLLM
    at_once: int

    async def run_once(self) -> int:
        revoked = await self.store.list_deletions(self.at_once)
        gone = []
        for key_id, key_hash in revoked.items():
            try:
                await self.litellm.delete_key(key_hash)
            except KeyfundError as error:
                log.warning("key.not_deleted", key_id=key_id, error=str(error))
            else:
                gone.append(key_id)
        if gone:
            await self.store.finish_deletions(gone)
            log.info("keys.deleted", keys=len(gone))
        return len(gone)
