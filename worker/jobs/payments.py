"""Jobs between Paystack and the database: events, orders, sweeps."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from core.domain.payments import Order, Provider
from core.domain.work import Turn
from core.errors import KeyfundError
from core.flows.settle import Settled, Settler
from core.logs import get_logger
from core.payments.paystack import Paystack
from core.store import ServiceStore
from core.store.payments import ClaimedEvent

log = get_logger()
SWEEP_OVERLAP = timedelta(hours=2)
LONG_WINDOW = timedelta(days=90)  # chargebacks take months to come and to end
OUR_REFERENCES = "kf-"
NEWS = (Settled.CREDITED, Settled.NEEDS_REVIEW, Settled.REVERSED, Settled.WITHHELD)
Settle = Callable[[str], Awaitable[Settled]]


@dataclass(frozen=True, slots=True)
class HandleEvents:
    """Handle events that nobody has handled to the end."""

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
        turn = await self.store.claim_chore("sweep_paystack", self.every_seconds)
        if turn is None:
            return 0
        try:
            found = await self._find(turn)
        except KeyfundError as error:
            log.warning("paystack.not_swept", error=str(error))
            return 0
        settled = [await self._settle(reference, settle) for reference, settle in found]
        if all(settled):  # else the next sweep begins where this one did
            await self.store.finish_chore(turn, turn.asked_at)
        return 0

    async def _find(self, turn: Turn) -> list[tuple[str, Settle]]:
        """What to look at again, and how. Refunds and disputes change long after they began."""
        since = (turn.mark or turn.asked_at - LONG_WINDOW) - SWEEP_OVERLAP
        paid = [one async for one in self.paystack.walk_paid(since) if one.startswith(OUR_REFERENCES)]
        uncredited = await self.store.list_uncredited(paid)
        disputes = await self.paystack.read_disputes(turn.asked_at - LONG_WINDOW)
        refunds = await self.paystack.read_refunds(turn.asked_at - LONG_WINDOW, disputes)
        changed = await self.store.list_changed_reversals(Provider.PAYSTACK, refunds, disputes)
        return [
            *((reference, self.settler.settle) for reference in uncredited),
            *((reference, self.settler.settle_reversals) for reference in changed),
        ]

    async def _settle(self, reference: str, settle: Settle) -> bool:
        try:
            await self._tell(reference, await settle(reference))
        except KeyfundError as error:
            log.warning("payment.not_swept", reference=reference, error=str(error))
            return False
        return True

    async def _tell(self, reference: str, settled: Settled) -> None:
        """Alarm only where something was news, and no webhook had told of it."""
        if settled not in NEWS:
            return
        heard = await self.store.was_heard_of(reference, reversals=settled is Settled.WITHHELD)
        if heard:
            log.info("payment.settled_by_sweep", reference=reference, outcome=settled)
        else:
            log.warning("payment.found_by_sweep", reference=reference, outcome=settled)


@dataclass(frozen=True, slots=True)
class RedactEvents:
    """Take personal data out of what was handled long ago."""

    store: ServiceStore
    at_once: int

    async def run_once(self) -> int:
        return await self.store.redact_events(self.at_once)
