"""Settling payments: what an event, the callback page or a sweep points at is verified and credited once."""

import time
from dataclasses import dataclass
from enum import StrEnum

from core.domain.payments import Bearer, Credit, Kind, Observe, Order, Review, borne_fee, judge
from core.errors import KeyfundError
from core.flows.push import Pusher
from core.logs import get_logger
from core.metrics import SETTLED
from core.payments.paystack import Paystack
from core.refusals import unavailable
from core.settings import PaystackMode
from core.store import ServiceStore
from core.store.payments import ClaimedEvent, Measured

log = get_logger()


class Settled(StrEnum):
    """What became of a payment when it was looked at."""

    CREDITED = "credited"
    ALREADY_CREDITED = "already_credited"
    NOT_PAID = "not_paid"
    REVERSED = "reversed"
    NEEDS_REVIEW = "needs_review"
    REFUSED = "refused"
    REFUND_UNDER_WAY = "refund_under_way"
    NOT_OURS = "not_ours"
    WITHHELD = "withheld"
    UNCHANGED = "unchanged"


UNCREDITED = {
    "under_review": Settled.NEEDS_REVIEW,
    "declined": Settled.REFUSED,
    "refund_under_way": Settled.REFUND_UNDER_WAY,
    "refunded": Settled.REVERSED,
}
"""By how a payment stands that waits for a decision or was refused."""


@dataclass(frozen=True, slots=True)
class Settler:
    """Settles payments; one per process. ``pusher`` is None where LiteLLM is not configured."""

    store: ServiceStore
    paystack: Paystack
    mode: PaystackMode
    pusher: Pusher | None
    bearer: Bearer | None = None

    async def handle_event(self, event: ClaimedEvent) -> bool:
        """Handle a stored event to its end, or record why not and leave it for the next try.

        Payments, refunds and disputes have an effect; every other event is kept.

        Raises:
            KeyfundError: the database could not record the end; its lease runs out and it is done again.
        """
        try:
            outcome = await self._effect(event)
        except KeyfundError as error:
            log.warning(
                "event.failed",
                event_id=event.id,
                name=event.name,
                reference=event.reference,
                error=str(error),
            )
            await self.store.fail_event(event, str(error))
            return False
        log.info(
            "event.handled", event_id=event.id, name=event.name, reference=event.reference, outcome=outcome
        )
        if outcome == Settled.CREDITED:
            return True  # in the transaction of the credit
        return await self.store.finish_event(event, outcome)

    async def _effect(self, event: ClaimedEvent) -> str:
        if event.kind is Kind.OTHER:
            return "kept"
        if event.reference is None:
            return Settled.NOT_OURS
        if event.kind is Kind.REVERSAL:
            return await self.settle_reversals(event.reference)
        settled = await self.settle(event.reference, event)
        if settled is Settled.NOT_PAID:
            # Signed "success", but verify does not say so (yet): ask again rather than forget it.
            raise unavailable("payment_not_confirmed")
        return settled

    async def settle(self, reference: str, event: ClaimedEvent | None = None) -> Settled:
        """Ask Paystack about one of our references and act on the answer; a credit finishes the event, too.

        Raises:
            TransientError: Paystack or the database could not be asked.
            RefusedError: Paystack refuses to answer.
        """
        settled = await self._settle(reference, event)
        SETTLED.labels(settled).inc()
        return settled

    async def _settle(self, reference: str, event: ClaimedEvent | None) -> Settled:
        order = event.order if event else None
        order = order or await self.store.get_payment(reference)
        if order is None:
            log.warning("payment.not_ours", reference=reference)
            return Settled.NOT_OURS
        if order.credited:
            return Settled.ALREADY_CREDITED
        if order.refused or order.status == "needs_review":
            return UNCREDITED[order.standing]
        verified = await self.paystack.verify(reference)
        match judge(order, verified, self.mode, self.bearer) if verified else Observe("not_found"):
            case Credit() as credit:
                return await self._credit(order, credit, event)
            case Review() as review:
                await self.store.review_payment(reference, review)
                log.error("payment.needs_review", reference=reference, reason=review.reason)
                return Settled.NEEDS_REVIEW
            case Observe(status):
                await self.store.observe_payment(reference, status)
                log.info("payment.observed", reference=reference, status=status)
                return Settled.REVERSED if status == "reversed" else Settled.NOT_PAID

    async def settle_reversals(self, reference: str) -> Settled:
        """Ask Paystack what was refunded and disputed of a payment, and withhold credits for it.

        Events are triggers, never amounts: they may come in any order, any number of times.

        Raises:
            TransientError: Paystack or the database could not be asked.
            RefusedError: Paystack refuses to answer.
        """
        order = await self.store.get_payment(reference)
        if order is not None and not order.credited:
            await self.settle(reference)  # the charge itself may be news
            order = await self.store.get_payment(reference)
        if order is None:
            return Settled.NOT_OURS
        if order.provider_id is None:
            return Settled.NOT_PAID
        change = (await self._measure(order, order.provider_id, only_show=False)).change
        if change:
            log.warning("payment.withheld", reference=reference, account_id=order.account_id, credits=change)
            if self.pusher is not None:
                await self.pusher.push_now(order.account_id)
        return Settled.WITHHELD if change else Settled.UNCHANGED

    async def show_reversals(self, reference: str) -> Measured | None:
        """What ``settle_reversals`` would withhold, and changes nothing. None: Paystack has no such payment.

        Raises:
            TransientError: Paystack or the database could not be asked.
            RefusedError: Paystack refuses to answer.
        """
        order = await self.store.get_payment(reference)
        if order is None or order.provider_id is None:
            return None
        return await self._measure(order, order.provider_id, only_show=True)

    async def _measure(self, order: Order, provider_id: int, *, only_show: bool) -> Measured:
        """Who bore the fee is asked once, and before anything is withheld."""
        fee = order.borne_fee if order.borne_fee is not None else await self._ask_fee(order)
        listed = await self.paystack.list_disputes(provider_id)
        disputes = [one for one in listed if one.reference in (None, order.reference)]
        refunds = await self.paystack.sum_refunds(provider_id, disputes)
        return await self.store.record_reversals(order.reference, refunds, disputes, fee, only_show=only_show)

    async def _ask_fee(self, order: Order) -> int | None:
        verified = await self.paystack.verify(order.reference)
        return None if verified is None else borne_fee(order, verified, self.bearer)

    async def _credit(self, order: Order, credit: Credit, event: ClaimedEvent | None) -> Settled:
        claimed_at = time.monotonic()
        lease_seconds = self.pusher.lease_seconds if self.pusher else None
        credited = await self.store.credit_payment(order, credit, event, lease_seconds)
        log.info(
            "payment.credited" if credited.granted else "payment.credited_before",
            reference=order.reference,
            account_id=order.account_id,
            credits=order.credits,
        )
        if credited.push is not None and self.pusher is not None:
            await self.pusher.push_leased(credited.push, claimed_at)
        return Settled.CREDITED if credited.granted else Settled.ALREADY_CREDITED
