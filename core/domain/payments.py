"""When a payment buys credits: the rule, and nothing else."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Provider(StrEnum):
    """Who takes payments; the same names as the database's `keyfund.provider`."""

    PAYSTACK = "paystack"


class Kind(StrEnum):
    """What an event is about, whatever its provider calls it."""

    PAYMENT = "payment"
    REVERSAL = "reversal"
    OTHER = "other"


class Bearer(StrEnum):
    """Who bears the provider's fee, where the operator has said it."""

    BUYER = "buyer"
    MERCHANT = "merchant"


@dataclass(frozen=True, slots=True)
class Event:
    """A signed delivery. ``fingerprint`` is the same for the same meaning, however the bytes are written.

    ``name`` is what its provider calls it.
    """

    name: str
    reference: str | None
    fingerprint: str
    body: str


@dataclass(frozen=True, slots=True)
class Order:
    """A checkout attempt with its frozen price. Amounts in subunits of the currency.

    ``credits`` is 0 for one that was taken over; ``credited``: the balance holds what it bought.
    """

    reference: str
    account_id: str
    amount_subunits: int
    currency: str
    credits: int
    status: str
    provider_id: int | None
    provider: Provider = Provider.PAYSTACK
    credited: bool = False
    refused: bool = False
    """An administrator decided that it buys nothing."""
    standing: str = "pending"
    borne_fee: int | None = None
    """What of the payment was the provider's fee, in subunits; None: the provider was not asked yet."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A package with what a sale of it leaves, in subunits of its currency; None: not known."""

    id: str
    currency: str
    amount_subunits: int
    active: bool
    cost_subunits: int | None
    fee_subunits: int | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as the provider shows it; ``refund_subunits`` is what a lost one gave back, None: all."""

    id: int
    reference: str | None
    resolved: bool
    resolution: str | None
    refund_subunits: int | None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as the provider shows it; ``dispute_id`` tells the dispute that it belongs to."""

    subunits: int
    processed: bool
    under_way: bool
    dispute_id: int | None
    refunded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refunds:
    """What was given back of a payment, in subunits: in all, through its disputes, and on its way."""

    processed: int = 0
    in_disputes: int = 0
    under_way: int = 0
    last_at: datetime | None = None

    def plus(self, one: Refund, disputes: Collection[int]) -> "Refunds":
        """With one more. It belongs to a dispute only if that is among these."""
        if not one.processed:
            return replace(self, under_way=self.under_way + (one.subunits if one.under_way else 0))
        times = [time for time in (self.last_at, one.refunded_at) if time is not None]
        return Refunds(
            processed=self.processed + one.subunits,
            in_disputes=self.in_disputes + (one.subunits if one.dispute_id in disputes else 0),
            under_way=self.under_way,
            last_at=max(times, default=None),
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What the provider says of a reference when asked. Amounts in subunits of the currency."""

    reference: str
    status: str
    provider_id: int | None
    amount_subunits: int | None
    requested_subunits: int | None
    currency: str | None
    domain: str | None
    paid_at: datetime | None
    fees_subunits: int | None = None
    complete: bool = True
    """Whether each amount that the provider names is one: a whole number of subunits."""


@dataclass(frozen=True, slots=True)
class Credit:
    """It is paid and fits its order: grant the order's own credits."""

    provider_id: int
    amount_subunits: int
    currency: str
    paid_at: datetime | None
    borne_fee: int = 0


@dataclass(frozen=True, slots=True)
class Observe:
    """Not paid, or not yet: only success is final."""

    status: str


@dataclass(frozen=True, slots=True)
class Review:
    """Money came that does not fit its order: an administrator decides."""

    reason: str
    provider_id: int | None
    amount_subunits: int | None
    currency: str | None
    borne_fee: int = 0


def judge(
    order: Order, verified: Verified, mode: str, bearer: Bearer | None = None
) -> Credit | Observe | Review:
    """Decide by what the provider says when asked, never by an event's payload.

    The amount may exceed the price (fees passed to the customer), so the test is "at least"; what was
    *requested*, where the provider tells, has to be the price itself, or the buyer changed it.
    """
    if verified.status != "success":
        return Observe(verified.status)
    reason, fee = _misfit(order, verified, mode), borne_fee(order, verified, bearer)
    if reason or verified.provider_id is None or verified.amount_subunits is None:
        return Review(
            reason or "incomplete", verified.provider_id, verified.amount_subunits, verified.currency, fee
        )
    return Credit(verified.provider_id, verified.amount_subunits, order.currency, verified.paid_at, fee)


def borne_fee(order: Order, verified: Verified, bearer: Bearer | None) -> int:
    """What the buyer paid for the provider's fee, in subunits.

    A provider does not say who bears it. Where the operator does, that holds. Else what was paid beyond what
    was requested tells: it is the fee where it equals it, and a bank transfer of too much where it does not.
    """
    requested = order.amount_subunits if verified.requested_subunits is None else verified.requested_subunits
    excess = max(0, (verified.amount_subunits or 0) - requested)
    fees = excess if verified.fees_subunits is None else verified.fees_subunits
    match bearer:
        case Bearer.BUYER:
            return min(fees, excess)
        case Bearer.MERCHANT:
            return 0
        case _:
            return excess if excess == verified.fees_subunits else 0


def _misfit(order: Order, verified: Verified, mode: str) -> str | None:
    if verified.reference != order.reference:
        return "other_reference"
    if not verified.complete or verified.amount_subunits is None:
        return "incomplete"
    if verified.domain != mode:
        return "other_domain"
    if verified.currency != order.currency:
        return "other_currency"
    if verified.requested_subunits is not None and verified.requested_subunits != order.amount_subunits:
        return "other_amount_requested"
    if verified.amount_subunits < order.amount_subunits:
        return "underpaid"
    return "taken_over" if order.credits == 0 else None
