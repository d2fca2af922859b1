"""What the worker does, each in bounded bites: claim, carry out, record.

A tick that is missed loses nothing; two workers are safe because the claims are.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from core.domain.payments import Order
from core.domain.pushes import Push, Reading, SpendPage
from core.errors import KeyfundError, TransientError
from core.flows.push import Pusher
from core.flows.settle import Settled, Settler
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.payments.paystack import Paystack
from core.store import ServiceStore
from core.store.service import ClaimedEvent

log = get_logger()
OVERLAP = timedelta(seconds=60)
SWEEP_OVERLAP = timedelta(hours=2)
LONG_WINDOW = timedelta(days=90)  # chargebacks take months to come and to end
OUR_REFERENCES = "kf-"
Settle = Callable[[str], Awaitable[Settled]]


@dataclass(frozen=True, slots=True)
class PushAccounts:
    """Push accounts that are due."""

    store: ServiceStore
    pusher: Pusher
    at_once: int

    async def run_once(self) -> int:
        """Claim and push one batch; returns how many accounts were claimed."""
        claimed_at = time.monotonic()
        pushes = await self.store.claim_pushes(self.at_once, self.pusher.lease_seconds)
        await asyncio.gather(*(self._push(push, claimed_at) for push in pushes))
        return len(pushes)

    async def _push(self, push: Push, claimed_at: float) -> None:
        try:
            await self.pusher.run(push, claimed_at)
        except KeyfundError as error:
            log.warning("sync.not_recorded", user_id=push.user_id, error=str(error))


@dataclass(frozen=True, slots=True)
class HandleEvents:
    """Handle events of Paystack's that nobody has handled to the end."""

    store: ServiceStore
    settler: Settler
    at_once: int
    lease_seconds: int

    async def run_once(self) -> int:
        """Claim and handle one batch; returns how many events were claimed."""
        events = await self.store.claim_events(self.at_once, self.lease_seconds)
        await asyncio.gather(*(self._handle(event) for event in events))
        return len(events)

    async def _handle(self, event: ClaimedEvent) -> None:
        try:
            await self.settler.handle_event(event)
        except KeyfundError as error:
            log.warning("event.not_recorded", event_id=event.id, error=str(error))


@dataclass(frozen=True, slots=True)
class VerifyOrders:
    """Ask Paystack about orders that no webhook told us the end of."""

    store: ServiceStore
    settler: Settler
    at_once: int

    async def run_once(self) -> int:
        """Claim and verify one batch; returns how many orders were claimed."""
        orders = await self.store.claim_verifications(self.at_once)
        await asyncio.gather(*(self._verify(order) for order in orders))
        return len(orders)

    async def _verify(self, order: Order) -> None:
        try:
            await self.settler.settle(order.reference)
        except KeyfundError as error:
            log.warning("payment.not_verified", reference=order.reference, error=str(error))


@dataclass(frozen=True, slots=True)
class SweepPaystack:
    """Find in Paystack's own lists what no webhook told us: payments, refunds, disputes."""

    store: ServiceStore
    settler: Settler
    paystack: Paystack
    every_seconds: int

    async def run_once(self) -> int:
        reading = await self.store.claim_reading("paystack", self.every_seconds)
        if reading is None:
            return 0
        try:
            found = await self._find(reading)
        except KeyfundError as error:
            log.warning("paystack.not_swept", error=str(error))
            return 0
        settled = [await self._settle(reference, settle) for reference, settle in found]
        if all(settled):  # else the next sweep begins where this one did
            await self.store.finish_reading("paystack", reading.asked_at)
        return 0

    async def _find(self, reading: Reading) -> list[tuple[str, Settle]]:
        """What to look at again, and how. Refunds and disputes change long after they began."""
        since = (reading.mark or reading.asked_at - LONG_WINDOW) - SWEEP_OVERLAP
        paid = [one async for one in self.paystack.walk_paid(since) if one.startswith(OUR_REFERENCES)]
        uncredited = await self.store.list_uncredited(paid)
        refunds = await self.paystack.read_refunds(reading.asked_at - LONG_WINDOW)
        disputes = await self.paystack.read_disputes(reading.asked_at - LONG_WINDOW)
        changed = await self.store.list_changed_reversals(refunds, disputes)
        return [
            *((reference, self.settler.settle) for reference in uncredited),
            *((reference, self.settler.settle_reversals) for reference in changed),
        ]

    async def _settle(self, reference: str, settle: Settle) -> bool:
        try:
            settled = await settle(reference)
        except KeyfundError as error:
            log.warning("payment.not_swept", reference=reference, error=str(error))
            return False
        log.warning("payment.found_by_sweep", reference=reference, outcome=settled)
        return True


@dataclass(frozen=True, slots=True)
class ProbeLiteLLM:
    """Ask a silent LiteLLM whether it is there, and an absent one whether it is back."""

    store: ServiceStore
    litellm: LiteLLM

    async def run_once(self) -> int:
        if not await self.store.claim_probe():
            return 0
        try:
            await self.litellm.ping()
        except KeyfundError as error:
            log.warning("litellm.away", error=str(error))
            await self.store.report_gateway(ok=False, error=str(error))
        else:
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
        booked = await self.store.settle_usage(reading, changes.spenders)
        if not changes.is_last and not _reaches(changes, reading.mark):
            async for page in self.litellm.walk_keys():
                booked += await self.store.settle_usage(reading, page.spenders)
        if booked:
            log.info("usage.settled", accounts=booked)
        return changes.newest


def _reaches(changes: SpendPage, mark: datetime | None) -> bool:
    """Whether nothing can have changed since the mark that is not on this page."""
    return mark is not None and changes.oldest is not None and changes.oldest < mark - OVERLAP


@dataclass(frozen=True, slots=True)
class HealAccounts:
    """Make what a swallowed trigger error left out, and close what a removed user left behind."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        healed = await self.store.heal_accounts(self.at_once)
        if any(healed.values()):
            log.warning("accounts.healed", **healed)
        return 0


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


@dataclass(frozen=True, slots=True)
class RedactEvents:
    """Take personal data out of what was handled long ago."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        return await self.store.redact_events(self.at_once)


@dataclass(frozen=True, slots=True)
class Beat:
    """Tell the database that this worker lives."""

    store: ServiceStore
    name: str

    async def run_once(self) -> int:
        await self.store.beat_worker(self.name)
        return 0


class Job(Protocol):
    """Something to do in bites: returns how much it found, 0 when there is nothing left for now."""

    async def run_once(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs to where they find nothing more to do, and knows which are running."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, name: str, job: Job) -> None:
        """Run a job batch after batch. A database that is away is no reason to fall over."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs is in a task)
        self.running.add(task)
        try:
            while not self.stopping.is_set() and await job.run_once():
                pass
        except TransientError as error:
            log.warning("job.postponed", job=name, error=str(error))
        finally:
            self.running.discard(task)

    async def stop(self, timeout_seconds: float) -> None:
        """Begin nothing new, and wait for what is in hand; its lease ends at about the same time."""
        self.stopping.set()
        if self.running:
            await asyncio.wait(self.running, timeout=timeout_seconds)
