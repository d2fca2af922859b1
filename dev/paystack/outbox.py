"""Signs events and hands them to the postman, with whatever was demanded to go wrong."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from dev.paystack.book import Book
from dev.paystack.clock import Clock
from dev.paystack.delivery import LADDERS, Delivery, State
from dev.paystack.misbehaviour import Misbehaviour
from dev.paystack.postman import Postman
from dev.paystack.signature import sign
from dev.paystack.wire import JsonObject, encode


@dataclass(frozen=True)
class Sending:
    """How events are sent."""

    deliver: bool = True
    times: int = 1
    wait: bool = False  # the call that caused them is answered only once each has been tried


AS_USUAL: Final = Sending()


@dataclass(frozen=True)
class Signed:
    """An event as sent, or as it would have been."""

    event: JsonObject
    raw: bytes
    signature: str
    deliveries: tuple[Delivery, ...] = ()

    def told(self) -> JsonObject:
        """What a control answers; `raw` is the exact text that was signed."""
        return {"event": self.event, "signature": self.signature, "raw": self.raw.decode()}


class Outbox:
    """The way out for every event."""

    def __init__(
        self, secret_key: str, book: Book, misbehaviour: Misbehaviour, postman: Postman, clock: Clock
    ) -> None:
        self.secret_key = secret_key
        self._book = book
        self._misbehaviour = misbehaviour
        self._postman = postman
        self._clock = clock
        self._held: list[Delivery] = []

    @property
    def domain(self) -> str:
        """`live` or `test`, as the key says."""
        return "live" if self.secret_key.startswith("sk_live_") else "test"

    def send(self, events: Sequence[JsonObject], sending: Sending = AS_USUAL) -> Signed:
        """Send events one after the other, each so many times at once; answers the last of them."""
        signed = [self._signed(event) for event in events]
        if not sending.deliver:
            return signed[-1]
        batches = [self._batch(each, sending.times) for each in signed]
        self._postman.carry([batch for batch in map(self._kept_back, batches) if batch])
        return replace(signed[-1], deliveries=tuple(each for batch in batches for each in batch))

    def _signed(self, event: JsonObject) -> Signed:
        raw = encode(event)
        return Signed(event, raw, sign(raw, self.secret_key))

    def _batch(self, signed: Signed, times: int) -> list[Delivery]:
        signature = signed.signature
        if self._misbehaviour.take("wrong_signature"):
            signature = sign(signed.raw, "sk_test_not_the_key_of_this_account")
        dropped = self._misbehaviour.take("drop")
        copies = max(times, 1) * max(self._misbehaviour.duplicate, 1)
        return [self._delivery(signed, signature, dropped=dropped) for _ in range(copies)]

    def _delivery(self, signed: Signed, signature: str, *, dropped: bool) -> Delivery:
        first_at = self._clock.now() + timedelta(seconds=self._misbehaviour.delay_seconds)
        delivery = Delivery(
            id=self._book.other_id(),
            event=signed.event["event"],
            reference=_reference_in(signed.event["data"]),
            raw=signed.raw,
            signature=signature,
            ladder=LADDERS[self.domain],
            next_attempt_at=None if dropped else first_at,
            state=State.DROPPED if dropped else State.WAITING,
        )
        self._book.deliveries[delivery.id] = delivery
        return delivery

    def _kept_back(self, batch: list[Delivery]) -> list[Delivery]:
        """What may go now: all of it, or nothing until enough events wait to go out last first."""
        going = [delivery for delivery in batch if delivery.state is State.WAITING]
        if self._misbehaviour.reorder <= 1 or not going:
            return going
        for delivery in going:
            delivery.state = State.HELD
        self._held.extend(going)
        if len(self._held) >= self._misbehaviour.reorder:
            self.release()
        return []

    def release(self) -> None:
        """Send what is held back, the newest first."""
        held, self._held = self._held, []
        for delivery in held:
            delivery.state = State.WAITING
        self._postman.carry([[delivery] for delivery in reversed(held)])

    def forget(self) -> None:
        """Never send what is held back."""
        self._held.clear()

    def resend(self, delivery: Delivery) -> Signed:
        """Deliver the same bytes once more, as the dashboard's button does."""
        signature = sign(delivery.raw, self.secret_key)
        again = Signed(json.loads(delivery.raw), delivery.raw, signature)
        copy = self._delivery(again, signature, dropped=False)
        self._postman.carry([[copy]])
        return replace(again, deliveries=(copy,))


def _reference_in(data: JsonObject) -> str | None:
    transaction = data.get("transaction")
    nested = transaction.get("reference") if isinstance(transaction, dict) else None
    found = data.get("reference") or data.get("transaction_reference") or nested
    return found if isinstance(found, str) else None
