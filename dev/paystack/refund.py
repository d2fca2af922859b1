"""Money on its way back to a buyer."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dev.paystack.transaction import Transaction

# Status -> the states it goes through, in the order in which Paystack announces them.
PATHS: Final = {
    "pending": ("pending",),
    "processing": ("pending", "processing"),
    "processed": ("pending", "processing", "processed"),
    "failed": ("pending", "processing", "failed"),
    "needs-attention": ("pending", "processing", "needs-attention"),
}
FINAL: Final = frozenset({"processed", "failed"})
# Paystack takes hours to days; what matters is that the API's answer comes long before the money moves.
STEP_SECONDS: Final = 1800.0


@dataclass
class Refund:
    """One refund; two equal partial ones differ, in events, by `reference` alone."""

    id: int
    transaction: Transaction
    amount: int
    created_at: datetime
    updated_at: datetime
    merchant_note: str
    customer_note: str
    refunded_by: str
    status: str = "pending"
    reference: str | None = None
    refunded_at: datetime | None = None
    dispute_id: int | None = None
    next_step_at: datetime | None = None

    @property
    def expected_at(self) -> datetime:
        """When Paystack promises the buyer the money."""
        return self.created_at + timedelta(days=9)

    def move(self, status: str, now: datetime) -> None:
        """Enter a state; the reference exists only once the processor has given one."""
        self.status, self.updated_at = status, now
        if status == "processed":
            self.reference, self.refunded_at = str(132_000_000_000 + secrets.randbelow(10**9)), now
        elif status == "failed":
            self.reference = f"TRF_{secrets.token_hex(8)}"
