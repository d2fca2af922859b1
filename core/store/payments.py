"""What the service key may do about money coming in: orders, reversals, the inbox."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.domain.payments import Credit, Dispute, Event, Kind, Offer, Order, Provider, Refunds, Review
from core.domain.pushes import Push
from core.refusals import unavailable
from core.store.calls import Functions, Json
from core.store.pushes import read_push


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that is ours to handle. ``order`` is what it is about, where that came along with it."""

    id: int
    token: str
    name: str
    kind: Kind
    reference: str | None
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to store, and for how long its receiver keeps it. 0: it is due at once, for the worker."""

    event: Event
    lease_seconds: int


@dataclass(frozen=True, slots=True)
class Credited:
    """Whether credits were granted, rather than before; and the account's push, if that is ours now."""

    granted: bool
    push: Push | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A package that somebody wants, and what they were shown of it; None: whatever it is."""

    package_id: str
    amount_subunits: int | None = None
    credits: int | None = None
    account_id: str | None = None
    """Whose credits are bought; None: the buyer's own."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What refunds and disputes withhold of a payment, in credits: before, and by how many that changed."""

    before: int
    change: int
    borne_fee: int | None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that a checkout can be opened for."""

    order: Order
    email: str


@dataclass(frozen=True, slots=True)
class ChosenEvents:
    """Which stored events: all conditions that are given must hold."""

    ids: Sequence[int] | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    failing: bool = False


class PaymentStore(Functions):
    """Orders, what the providers say of them, and their events."""

    async def read_offers(self, provider: Provider) -> list[Offer]:
        """All packages, with what a sale of each leaves at the rates that count now."""
        return [_offer(row) for row in await self._call("read_packages", provider=provider)]

    async def open_order(self, provider: Provider, user_id: str, wish: Wish) -> OpenOrder:
        """Freeze a package's price and credits in a first attempt, if they are those that are expected."""
        row = await self._call(
            "open_order",
            user_id=user_id,
            package_id=wish.package_id,
            amount=wish.amount_subunits,
            credits=wish.credits,
            provider=provider,
            account_id=wish.account_id,
        )
        return _open_order(row)

    async def repeat_order(self, reference: str) -> OpenOrder:
        """Another attempt of the same order under a new reference."""
        return _open_order(await self._call("repeat_order", reference=reference))

    async def record_checkout(self, reference: str, authorization_url: str, access_code: str) -> None:
        await self._call(
            "record_checkout",
            reference=reference,
            authorization_url=authorization_url,
            access_code=access_code,
        )

    async def refuse_checkout(self, reference: str, reason: str) -> None:
        await self._call("refuse_checkout", reference=reference, reason=reason)

    async def get_payment(self, reference: str) -> Order | None:
        """The attempt with this reference; None: not one of ours."""
        row = await self._call("get_payment", reference=reference)
        return _order(row) if row else None

    async def credit_payment(
        self, order: Order, credit: Credit, event: ClaimedEvent | None, lease_seconds: int | None
    ) -> Credited:
        """Grant the order's credits, finish the event that told of the payment, and lease the account.

        One transaction, because each call of the database costs as much as all three do.
        """
        row = await self._call(
            "credit_payment",
            reference=order.reference,
            provider_id=credit.provider_id,
            paid_amount=credit.amount_subunits,
            currency=credit.currency,
            paid_at=credit.paid_at.isoformat() if credit.paid_at else None,
            event_id=event.id if event else None,
            event_token=event.token if event else None,
            lease_seconds=lease_seconds,
            borne_fee=credit.borne_fee,
        )
        return Credited(bool(row["credited"]), read_push(row["push"]) if row.get("push") else None)

    async def observe_payment(self, reference: str, status: str) -> None:
        await self._call("observe_payment", reference=reference, status=status)

    async def review_payment(self, reference: str, review: Review) -> None:
        await self._call(
            "review_payment",
            reference=reference,
            reason=review.reason,
            provider_id=review.provider_id,
            paid_amount=review.amount_subunits,
            currency=review.currency,
            borne_fee=review.borne_fee,
        )

    async def record_reversals(
        self,
        reference: str,
        refunds: Refunds,
        disputes: Sequence[Dispute],
        borne_fee: int | None = None,
        *,
        only_show: bool = False,
    ) -> Measured:
        """Book what a payment's refunds and disputes withhold, or only tell it.

        ``borne_fee`` is kept where none was known before.
        """
        rows = [
            {
                "id": one.id,
                "resolved": one.resolved,
                "resolution": one.resolution,
                "refund_amount": one.refund_subunits,
            }
            for one in disputes
        ]
        told = await self._call(
            "record_reversals",
            reference=reference,
            refunded=refunds.processed,
            disputes=rows,
            in_disputes=refunds.in_disputes,
            refunding=refunds.under_way,
            refunded_at=refunds.last_at.isoformat() if refunds.last_at else None,
            borne_fee=borne_fee,
            only_show=only_show,
        )
        return Measured(int(told["before"]), int(told["withheld"]), told["borne_fee"])

    async def list_unmeasured(self, after: str | None, limit: int) -> list[str]:
        """Credited payments that were measured before fees were known, after that reference."""
        return list(await self._call("list_unmeasured", after=after, limit=limit))

    async def was_heard_of(self, reference: str, *, reversals: bool) -> bool:
        """Whether a webhook told of the payment, or just now of its refunds and disputes."""
        return bool(await self._call("was_payment_heard_of", reference=reference, reversals=reversals))

    async def list_uncredited(self, references: Sequence[str]) -> list[str]:
        """Those that are ours and not credited yet."""
        return list(await self._call("list_uncredited", references=list(references)))

    async def list_changed_reversals(
        self, provider: Provider, refunds: Mapping[int, Refunds], disputes: Sequence[Dispute]
    ) -> list[str]:
        """Our payments with refunds (by the provider's id of the payment) or disputes not counted yet."""
        return list(
            await self._call(
                "list_changed_reversals",
                provider=provider,
                refunds=[
                    {
                        "provider_id": one,
                        "amount": sums.processed,
                        "in_disputes": sums.in_disputes,
                        "refunding": sums.under_way,
                    }
                    for one, sums in refunds.items()
                ],
                disputes=[
                    {"id": one.id, "reference": one.reference, "resolved": one.resolved} for one in disputes
                ],
            )
        )

    async def claim_verifications(self, limit: int) -> list[Order]:
        """Orders that nobody told us the end of."""
        return [_order(row) for row in await self._call("claim_verifications", limit=limit)]

    # ------------------------------------------------------------------ inbox

    async def receive_events(
        self, provider: Provider, deliveries: Sequence[Delivery]
    ) -> list[ClaimedEvent | None]:
        """Store a provider's events, each of another fingerprint, all or none. None: a repetition.

        The first receiver of an event is the one to handle it.
        """
        rows = await self._call(
            "receive_events",
            provider=provider,
            events=[
                {
                    "fingerprint": one.event.fingerprint,
                    "event": one.event.name,
                    "reference": one.event.reference,
                    "body": one.event.body,
                    "lease_seconds": one.lease_seconds,
                }
                for one in deliveries
            ],
        )
        return [_received(rows, one.event) for one in deliveries]

    async def claim_events(self, limit: int, lease_seconds: int) -> list[ClaimedEvent]:
        """Lease events that are due."""
        rows = await self._call("claim_events", limit=limit, lease_seconds=lease_seconds)
        return [_claimed(row, row["event"], row["reference"]) for row in rows]

    async def finish_event(self, event: ClaimedEvent, outcome: str) -> bool:
        return bool(await self._call("finish_event", id=event.id, token=event.token, outcome=outcome))

    async def fail_event(self, event: ClaimedEvent, error: str) -> bool:
        return bool(await self._call("fail_event", id=event.id, token=event.token, error=error))

    async def replay_events(self, chosen: ChosenEvents) -> int:
        """Have stored events handled again; returns how many. Always safe."""
        window = {
            "from": chosen.since.isoformat() if chosen.since else None,
            "until": chosen.until.isoformat() if chosen.until else None,
        }
        ids = list(chosen.ids) if chosen.ids is not None else None
        count = await self._call(
            "replay_inbox", ids=ids, reference=chosen.reference, failing=chosen.failing, **window
        )
        return int(count)

    async def redact_events(self, limit: int) -> int:
        """Take personal data out of events that were handled long ago; returns of how many."""
        return int(await self._call("redact_events", limit=limit))


def _received(rows: Any, event: Event) -> ClaimedEvent | None:
    row = rows.get(event.fingerprint) if isinstance(rows, dict) else None
    if not isinstance(row, dict) or "new" not in row:
        # Something in between answered: never tell its sender that this is stored.
        raise unavailable("database_unavailable")
    if not row["new"]:
        return None
    return _claimed(row, event.name, event.reference)


def _claimed(row: Json, name: str, reference: str | None) -> ClaimedEvent:
    order = _order(row["order"]) if row.get("order") else None
    return ClaimedEvent(row["id"], row["token"], name, Kind(row["kind"]), reference, order)


def _order(row: Json) -> Order:
    return Order(
        reference=row["reference"],
        account_id=row["account_id"],
        amount_subunits=row["amount"],
        currency=row["currency"],
        credits=row["credits"],
        status=row["status"],
        provider_id=row["provider_id"],
        provider=Provider(row["provider"]),
        credited=row["credited_at"] is not None or row["status"] == "success",
        refused=row["decided_at"] is not None and row["credited_at"] is None,
        standing=row["standing"],
        borne_fee=row["borne_fee"],
    )


def _offer(row: Json) -> Offer:
    return Offer(row["id"], row["currency"], row["amount"], row["active"], row["cost"], row["fee"])


def _open_order(row: Json) -> OpenOrder:
    return OpenOrder(order=_order(row), email=row["email"])
