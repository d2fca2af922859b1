"""Deliveries on their way into the database: those that come at the same time are stored together."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.domain.payments import Event, Provider
from core.errors import KeyfundError, RefusedError, TransientError
from core.logs import get_logger
from core.refusals import unavailable
from core.store import ServiceStore
from core.store.payments import ClaimedEvent, Delivery

log = get_logger()
LANES = 2
MOST_EVENTS = 100
MOST_BYTES = 1_000_000
MOST_WAITING = 500  # more than that and the database is in trouble: the sender comes again
WAIT_SECONDS = 20  # Paystack, the least patient, gives up after about 30


@dataclass(frozen=True, slots=True)
class _Waiting:
    delivery: Delivery
    received: asyncio.Future[ClaimedEvent | None]


@dataclass(slots=True)
class Inbox:
    """Stores a provider's events. While a call is on its way, what comes meanwhile goes with the next one.

    A crowd thus costs few transactions, and a single event waits for nobody.
    """

    store: ServiceStore
    provider: Provider
    waiting: deque[_Waiting] = field(default_factory=deque)
    lanes: set[asyncio.Task[None]] = field(default_factory=set)
    running: int = 0

    async def receive(self, event: Event, lease_seconds: int) -> ClaimedEvent | None:
        """Store an event, durably once this returns. None: a repetition.

        Raises:
            TransientError: whether it is stored is unknown.
            RefusedError: the database refuses it.
        """
        if len(self.waiting) >= MOST_WAITING:
            raise _too_slow()
        one = _Waiting(Delivery(event, lease_seconds), asyncio.get_running_loop().create_future())
        self.waiting.append(one)
        if self.running < LANES:
            self.running += 1
            lane = asyncio.create_task(self._store_all())
            self.lanes.add(lane)
            lane.add_done_callback(self.lanes.discard)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await one.received
        except TimeoutError:
            raise _too_slow() from None

    async def _store_all(self) -> None:
        try:
            while self.waiting:
                await self._store(self._take())
        finally:
            # In the same step as the last look: whoever came after it must find the lane gone, not ending.
            self.running -= 1

    def _take(self) -> list[_Waiting]:
        """As many as go into one call, none twice: a repetition waits to be told from the first."""
        batch: dict[str, _Waiting] = {}
        size = 0
        while self.waiting and len(batch) < MOST_EVENTS:
            event = self.waiting[0].delivery.event
            size += len(event.body)
            if batch and (event.fingerprint in batch or size > MOST_BYTES):
                break
            batch[event.fingerprint] = self.waiting.popleft()
        return list(batch.values())

    async def _store(self, batch: Sequence[_Waiting]) -> None:
        try:
            received = await self.store.receive_events(self.provider, [one.delivery for one in batch])
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody may be left waiting for it)
            if isinstance(error, RefusedError) and len(batch) > 1:
                # It stored nothing because of one of them, perhaps: the others must not suffer for it.
                for one in batch:
                    await self._store([one])
            else:
                _fail(batch, error)
            return
        for one, claimed in zip(batch, received, strict=True):
            if not one.received.done():  # else its sender went away: the lease runs out and the worker has it
                one.received.set_result(claimed)


def _too_slow() -> TransientError:
    return unavailable("database_unavailable", outcome_unknown=True, retry_after_seconds=5)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    if not isinstance(error, KeyfundError):
        log.error("inbox.bug", exc_info=error)
    for one in batch:
        if not one.received.done():
            one.received.set_exception(error)
