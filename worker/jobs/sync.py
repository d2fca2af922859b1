"""Jobs between the database and LiteLLM: pushes, probes, usage, deletions."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.domain.pushes import Push, SpendPage, lost_keys
from core.domain.usage import ToRoll
from core.domain.work import Turn
from core.errors import KeyfundError
from core.flows.drift import DriftFinder, tell
from core.flows.push import Pusher
from core.flows.usage import UsageReader, tomorrow
from core.flows.watch import Watcher
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.store import ServiceStore

log = get_logger()
OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class PushAccounts:
    """Push accounts that are due, so many side by side, until none is left or the worker stops.

    A few more are leased than are pushed at once: a call of the database for each costs too much, and a lease
    that waits for long is of no use.
    """

    store: ServiceStore
    pusher: Pusher
    at_once: int
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    look_seconds: float = 1

    async def run_once(self) -> int:
        """Returns how many accounts were claimed. A slow one holds up none but itself."""
        places, in_hand, claimed = asyncio.Semaphore(self.at_once), set[asyncio.Task[None]](), 0
        try:
            while not self.stopping.is_set():
                limit = self.at_once + max(1, self.at_once // 2) - len(in_hand)
                claimed_at = time.monotonic()
                pushes = await self.store.claim_pushes(limit, self.pusher.lease_seconds) if limit else []
                for push in pushes:
                    task = asyncio.create_task(self._push(push, claimed_at, places))
                    in_hand.add(task)
                    task.add_done_callback(in_hand.discard)
                claimed += len(pushes)
                are_more = len(pushes) == limit
                await self._wait(in_hand, self.at_once if are_more else 0)
                if not in_hand and not are_more:
                    break
        finally:
            if in_hand:
                await asyncio.wait(in_hand)
        return claimed

    async def _wait(self, in_hand: set[asyncio.Task[None]], enough: int) -> None:
        """Until so few are in hand, but not for long: others may become due."""
        until = time.monotonic() + self.look_seconds
        while len(in_hand) > enough and (left := until - time.monotonic()) > 0:
            await asyncio.wait(in_hand, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _push(self, push: Push, claimed_at: float, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                await self.pusher.run(push, claimed_at)
            except KeyfundError as error:
                log.warning("sync.not_recorded", user_id=push.user_id, error=str(error))
            except Exception:  # its lease runs out, and the others are none the worse for it
                log.exception("sync.bug", user_id=push.user_id)


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
            await self.store.report_gateway(ok=True)
        return 0


@dataclass(frozen=True, slots=True)
class WatchLiteLLM:
    """Keep what an administrator is warned of up to date."""

    store: ServiceStore
    watcher: Watcher

    async def run_once(self) -> int:
        try:
            await self.store.record_warnings(await self.watcher.look())
        except KeyfundError as error:
            log.info("litellm.not_watched", error=str(error))
        return 0


@dataclass(slots=True)
class SettleUsage:
    """Book what LiteLLM shows as spent since the last time, and have a look where it shows less.

    ``before``: the keys that had changed last when this worker looked the last time. One that is missing now
    was lost, perhaps with its user: there is no row left that could show it.
    """

    store: ServiceStore
    litellm: LiteLLM
    every_seconds: int
    finder: DriftFinder | None = None
    before: SpendPage | None = None

    async def run_once(self) -> int:
        turn = await self.store.claim_chore("settle_usage", self.every_seconds)
        if turn is None:
            return 0
        try:
            newest = await self._settle(turn)
        except KeyfundError as error:
            log.warning("usage.not_settled", error=str(error))
            return 0
        if newest is not None:
            await self.store.finish_chore(turn, newest)
        return 0

    async def _settle(self, turn: Turn) -> datetime | None:
        """Settle page by page; returns up to where, in LiteLLM's own time."""
        changes = await self.litellm.read_changes()
        booked = await self._book(turn, changes)
        if not changes.is_last and not _reaches(changes, turn.mark):
            async for page in self.litellm.walk_keys():
                booked += await self._book(turn, page)
        if booked:
            log.info("usage.settled", accounts=booked)
        await self._look_for_lost(changes)
        return changes.newest

    async def _look_for_lost(self, changes: SpendPage) -> None:
        lost = lost_keys(self.before, changes) if self.before is not None else []
        if lost and self.finder is not None:
            tell(await self.finder.look_at(lost))
        self.before = changes

    async def _book(self, turn: Turn, page: SpendPage) -> int:
        booked = await self.store.settle_usage(turn.asked_at, page.spenders)
        try:
            await self.store.record_key_spend(page.keys)
        except KeyfundError as error:  # for people to see: no money waits for it
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
class CountShares:
    """Ask LiteLLM what former strings of rotated keys spent of their keys' caps."""

    store: ServiceStore
    litellm: LiteLLM
    at_once: int

    async def run_once(self) -> int:
        """Returns how many were counted."""
        counted = 0
        for key_hash in await self.store.list_uncounted(self.at_once):
            try:
                shown = await self.litellm.read_key(key_hash)
            except KeyfundError as error:
                log.warning("key.not_counted", key_hash=key_hash, error=str(error))
                break  # the next is asked the same LiteLLM: later
            counted += await self.store.count_share(key_hash, shown)
        return counted


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
