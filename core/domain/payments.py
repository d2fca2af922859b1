"""When a payment buys credits: the rule, and nothing else."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """A signed delivery. ``fingerprint`` is the same for the same meaning, however the bytes are written."""

    name: str
    reference: str | None
    fingerprint: str
    body: str


@dataclass(frozen=True, slots=True)
class Order:
    """A checkout attempt with its frozen price. Amounts in subunits of the currency."""

    reference: str
    user_id: str
    amount_subunits: int
    currency: str
    credits: int
    status: str
    provider_id: int | None
    credited: bool = False
    refused: bool = False
    """An administrator decided that it buys nothing."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as Paystack shows it; ``refund_subunits`` is what a lost one gave back, None: all."""

    id: int
    reference: str | None
    resolved: bool
    resolution: str | None
    refund_subunits: int | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What Paystack says of a reference when asked. Amounts in subunits of the currency."""

    reference: str
    status: str
    provider_id: int | None
    amount_subunits: int | None
    requested_subunits: int | None
    currency: str | None
    domain: str | None
    paid_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credit:
    """It is paid and fits its order: grant the order's own credits."""

    provider_id: int
    amount_subunits: int
    currency: str
    paid_at: datetime | None


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


def judge(order: Order, verified: Verified, mode: str) -> Credit | Observe | Review:
    """Decide by what Paystack says when asked, never by an event's payload.

    The amount may exceed the price (fees passed to the customer), so the test is "at least"; what was
    *requested*, where Paystack tells, has to be the price itself, or the buyer changed it.
    """
    if verified.status != "success":
        return Observe(verified.status)
    reason = _misfit(order, verified, mode)
    if reason or verified.provider_id is None or verified.amount_subunits is None:
        return Review(
            reason or "incomplete", verified.provider_id, verified.amount_subunits, verified.currency
        )
    return Credit(verified.provider_id, verified.amount_subunits, order.currency, verified.paid_at)


def _misfit(order: Order, verified: Verified, mode: str) -> str | None:
    if verified.reference != order.reference:
        return "other_reference"
    if verified.domain != mode:
        return "other_domain"
    if verified.currency != order.currency:
        return "other_currency"
    if verified.requested_subunits is not None and verified.requested_subunits != order.amount_subunits:
        return "other_amount_requested"
    if verified.amount_subunits is None or verified.amount_subunits < order.amount_subunits:
        return "underpaid"
    return None
