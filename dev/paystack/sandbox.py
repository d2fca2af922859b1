"""A Paystack account with one merchant: every thing that can happen to its payments."""

from collections.abc import Sequence

import httpx

from dev.paystack import event
from dev.paystack.book import Book
from dev.paystack.clock import Clock, SystemClock
from dev.paystack.customer import random_code
from dev.paystack.delivery import TIMEOUT_SECONDS, Delivery, State
from dev.paystack.dispute import RESOLUTIONS, Dispute
from dev.paystack.errand import Errands
from dev.paystack.misbehaviour import Misbehaviour
from dev.paystack.order import Order
from dev.paystack.outbox import AS_USUAL, Outbox, Sending, Signed
from dev.paystack.postman import Postman
from dev.paystack.refund import FINAL, PATHS, STEP_SECONDS, Refund
from dev.paystack.refusal import duplicate_reference, invalid
from dev.paystack.settings import Settings
from dev.paystack.shelf import Shelf
from dev.paystack.transaction import UNPAID, Transaction
from dev.paystack.wire import JsonObject

_NOTHING: JsonObject = {}


def _new_sender() -> httpx.AsyncClient:
    """However many webhooks are on their way at once, none waits for another's connection."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)


class Sandbox:
    """The account. Methods that change something also send the webhooks that tell of it.

    It can run inside a test: give it a `ManualClock` and a `sender` whose transport is the receiving app.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, sender: httpx.AsyncClient | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock(settings.clock_scale)
        self._sender = sender or _new_sender()
        self.errands = Errands()
        self.misbehaviour = Misbehaviour()
        self.postman = Postman(settings.webhook_url, self.clock, self._sender, self.errands)
        self.shelf = Shelf(settings.state_file)
        self.book = self.shelf.load() or Book.opened(self.clock.now())
        self.outbox = Outbox(settings.secret_key, self.book, self.misbehaviour, self.postman, self.clock)
        self.postman.on_news = self.changed

    # Its life

    def start(self) -> None:
        """Take up what an earlier process left unfinished."""
        for delivery in self.book.deliveries.values():
            if delivery.state in {State.WAITING, State.HELD}:
                delivery.state = State.WAITING
                self.postman.resume(delivery)
        for refund in self.book.refunds.values():
            if refund.next_step_at is not None:
                self.errands.start(self._progress(refund))

    async def aclose(self) -> None:
        """Stop all background work; with a state file nothing is forgotten."""
        await self.errands.aclose()
        self.shelf.save(self.book)
        await self._sender.aclose()

    def changed(self) -> None:
        """Note that the book is worth keeping."""
        self.shelf.save_soon(self.book, self.errands)

    # Payments

    def initialize(self, order: Order, *, inline: bool = False) -> Transaction:
        """Open a payment; the reference may never have been used before."""
        reference = order.reference or random_code(10)
        if reference in self.book.transactions:
            raise duplicate_reference()
        customer = self.book.customer(order.email)
        customer.first_name = order.first_name or customer.first_name
        customer.last_name = order.last_name or customer.last_name
        customer.phone = order.phone or customer.phone
        transaction = Transaction(
            id=self.book.transaction_id(),
            reference=reference,
            access_code=random_code(15),
            domain=self.outbox.domain,
            amount=order.amount,
            requested_amount=order.amount,
            currency=order.currency,
            customer=customer,
            created_at=self.clock.now(),
            callback_url=order.callback_url,
            metadata=order.metadata,
            channel=order.channel,
            inline=inline,
        )
        self.book.transactions[reference] = transaction
        self.changed()
        return transaction

    def pay(
        self,
        transaction: Transaction,
        fields: JsonObject = _NOTHING,
        *,
        omitted: frozenset[str] = frozenset(),
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """Pay, with any field of charge.success replaced. An already paid one repeats the very same event."""
        changed = bool(fields) or bool(omitted)
        if not transaction.paid or transaction.success_event is None or changed:
            transaction.pay(self.clock.now(), fields, omitted)
            transaction.success_event = event.charge_success(transaction)
        return self._send([transaction.success_event], sending)

    def settle(self, transaction: Transaction, status: str) -> None:
        """Leave a payment unpaid in some state. No webhook exists for that: only verify and lists tell."""
        if status not in UNPAID:
            raise invalid(f"An unpaid transaction can be {', '.join(sorted(UNPAID))}")
        if transaction.paid:
            raise invalid("The transaction is paid already")
        transaction.settle(status)
        self.changed()

    # Refunds

    def queue_refund(
        self, transaction: Transaction, amount: int | None, notes: tuple[str, str]
    ) -> tuple[Refund, Signed]:
        """What POST /refund does: pending at once, processing and processed after a while."""
        refund = self._new_refund(transaction, amount, notes)
        refund.next_step_at = self.clock.after(STEP_SECONDS)
        signed = self._send([event.refund(refund)])
        self.errands.start(self._progress(refund))
        return refund, signed

    def refund(
        self,
        transaction: Transaction,
        amount: int | None = None,
        *,
        status: str = "processed",
        dispute_id: int | None = None,
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """Refund from the dashboard, through every state up to the given one; None is all that is left."""
        if status not in PATHS:
            raise invalid(f"A refund can be {', '.join(PATHS)}")
        note = f"Refund for transaction {transaction.reference}"
        refund = self._new_refund(transaction, amount, (note, note))
        refund.dispute_id = dispute_id
        events = [self._moved(refund, step) for step in PATHS[status]]
        return self._send(events, sending)

    def move_refund(
        self,
        refund: Refund,
        status: str,
        *,
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """Bring a refund into another state by hand; it no longer moves by itself."""
        if status not in PATHS:
            raise invalid(f"A refund can be {', '.join(PATHS)}")
        if refund.status in FINAL:
            raise invalid(f"The refund is {refund.status} already")
        refund.next_step_at = None
        return self._send([self._moved(refund, status)], sending)

    def _new_refund(self, transaction: Transaction, amount: int | None, notes: tuple[str, str]) -> Refund:
        left = self.book.refundable(transaction)
        if not transaction.paid:
            raise invalid("Transaction has not been paid")
        if left <= 0:
            raise invalid("Transaction has been fully reversed")
        if amount is not None and amount > left:
            raise invalid("Refund amount cannot be more than what is left of the transaction amount")
        now = self.clock.now()
        refund = Refund(
            id=self.book.other_id(),
            transaction=transaction,
            amount=left if amount is None else amount,
            created_at=now,
            updated_at=now,
            merchant_note=notes[0],
            customer_note=notes[1],
            refunded_by="ops@shop.example",
        )
        self.book.refunds[refund.id] = refund
        return refund

    def _moved(self, refund: Refund, status: str) -> JsonObject:
        refund.move(status, self.clock.now())
        self.book.settle_reversal(refund.transaction)
        return event.refund(refund)

    async def _progress(self, refund: Refund) -> None:
        while (due_at := refund.next_step_at) is not None:
            await self.clock.until(due_at)
            if refund.next_step_at == due_at:  # else moved by hand meanwhile
                self._step(refund)

    def _step(self, refund: Refund) -> None:
        status = "processing" if refund.status == "pending" else "processed"
        refund.next_step_at = None if status == "processed" else self.clock.after(STEP_SECONDS)
        self._send([self._moved(refund, status)])

    # Disputes

    def dispute(
        self,
        transaction: Transaction,
        refund_amount: int | None = None,
        *,
        category: str = "chargeback",
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """A buyer's bank disputes a payment, by default all of it."""
        if not transaction.paid:
            raise invalid("Transaction has not been paid")
        now = self.clock.now()
        amount = transaction.amount if refund_amount is None else refund_amount
        dispute = Dispute(
            id=self.book.other_id(),
            transaction=transaction,
            refund_amount=amount,
            created_at=now,
            updated_at=now,
            category=category,
        )
        self.book.disputes[dispute.id] = dispute
        return self._send([event.dispute(dispute, "create")], sending)

    def remind(
        self,
        dispute: Dispute,
        *,
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """Say again that a dispute is open; Paystack does about every four hours."""
        if dispute.status == "resolved":
            raise invalid("The dispute is resolved already")
        return self._send([event.dispute(dispute, "remind")], sending)

    def resolve(
        self,
        dispute: Dispute,
        resolution: str,
        refund_amount: int | None,
        *,
        sending: Sending = AS_USUAL,
    ) -> Signed:
        """Close a dispute. Final: the same resolution again repeats the event, another one is refused."""
        if resolution not in RESOLUTIONS:
            raise invalid(f"A resolution is one of {', '.join(sorted(RESOLUTIONS))}")
        if dispute.resolved_event is not None and dispute.resolution != resolution:
            raise invalid(f"The dispute is {dispute.resolution} already")
        if dispute.resolved_event is None:
            dispute.resolve(resolution, refund_amount, self.clock.now())
            self.book.settle_reversal(dispute.transaction)
            dispute.resolved_event = event.dispute(dispute, "resolve")
        return self._send([dispute.resolved_event], sending)

    # The sandbox itself

    def _send(self, events: Sequence[JsonObject], sending: Sending = AS_USUAL) -> Signed:
        self.changed()
        return self.outbox.send(events, sending)

    def resend(self, delivery: Delivery) -> Signed:
        """Deliver the bytes of an earlier webhook once more."""
        self.changed()
        return self.outbox.resend(delivery)

    async def before_answer(self, signed: Signed, sending: Sending = AS_USUAL) -> None:
        """Where demanded, let the webhooks arrive before the call that caused them is answered."""
        if sending.wait or self.misbehaviour.deliver_before_answer:
            await self.postman.tried(signed.deliveries)

    async def reset(self, *, state: bool) -> None:
        """Behave again; with `state` also forget every payment and stop every delivery."""
        self.misbehaviour.reset()
        if state:
            await self.errands.aclose()
            self.outbox.forget()
            self.book.clear()
        else:
            self.outbox.release()
        self.changed()
