"""A buyer's bank asking for the money back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dev.paystack.transaction import Transaction
from dev.paystack.wire import JsonObject

RESOLUTIONS: Final = frozenset({"declined", "merchant-accepted", "auto-accepted"})
STATUSES: Final = frozenset({"awaiting-merchant-feedback", "awaiting-bank-feedback", "pending", "resolved"})


@dataclass
class Dispute:
    """One chargeback or fraud claim against a payment."""

    id: int
    transaction: Transaction
    refund_amount: int | None
    created_at: datetime
    updated_at: datetime
    category: str = "chargeback"
    status: str = "awaiting-merchant-feedback"
    resolution: str | None = None
    resolved_at: datetime | None = None
    resolved_event: JsonObject | None = None  # as sent; the same resolution again repeats it

    @property
    def due_at(self) -> datetime:
        """When silence becomes acceptance."""
        return self.created_at + timedelta(days=1)

    @property
    def lost_amount(self) -> int:
        """What the buyer gets back, in subunits; an accepted dispute without an amount is the whole."""
        if self.resolution in {None, "declined"}:
            return 0
        return self.transaction.amount if self.refund_amount is None else self.refund_amount

    def resolve(self, resolution: str, refund_amount: int | None, now: datetime) -> None:
        """Close it for good."""
        self.status, self.resolution, self.refund_amount = "resolved", resolution, refund_amount
        self.updated_at = self.resolved_at = now
