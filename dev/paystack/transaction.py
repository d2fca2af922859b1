"""A payment, from the moment it is asked for."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from dev.paystack.channel import channel_named, new_authorization
from dev.paystack.customer import Customer
from dev.paystack.money import fees_for
from dev.paystack.wire import JsonObject, moment_of

PAID: Final = frozenset({"success", "reversed"})
UNPAID: Final = frozenset({"abandoned", "failed", "ongoing", "pending", "processing", "queued"})

# Fields that steer the sandbox itself when a pay control sets them; all others are only shown.
_STEERING: Final = {
    "id": int,
    "domain": str,
    "status": str,
    "amount": int,
    "currency": str,
    "channel": str,
    "requested_amount": int,
    "fees": int,
}
_ALIASES: Final = {
    "paid_at": ("paidAt",),
    "created_at": ("createdAt", "transaction_date"),
}


@dataclass
class Transaction:
    """One transaction. Amounts are subunits of its currency.

    It is `abandoned` from the start, as on Paystack: verify says so until the buyer does something.
    """

    id: int
    reference: str
    access_code: str
    domain: str
    amount: int
    currency: str
    customer: Customer
    created_at: datetime
    requested_amount: int | None = None
    callback_url: str | None = None
    metadata: Any = None
    inline: bool = False  # opened in the browser with the public key, without /transaction/initialize
    channel: str = "card"
    status: str = "abandoned"
    paid_at: datetime | None = None
    fees: int | None = None
    authorization: JsonObject = field(default_factory=dict)
    overrides: JsonObject = field(default_factory=dict)
    omitted: frozenset[str] = frozenset()
    success_event: JsonObject | None = None  # the charge.success as sent; a second pay repeats it

    @property
    def paid(self) -> bool:
        """Whether money has been taken; stays true when it was given back."""
        return self.status in PAID

    def pay(self, now: datetime, fields: JsonObject, omitted: frozenset[str]) -> None:
        """Take the money, with any field of the charge replaced on demand."""
        self.status = "reversed" if self.status == "reversed" else "success"
        self.paid_at = self.paid_at or now
        self.overrides, self.omitted = {}, omitted
        self._steer(fields)
        channel = channel_named(self.channel)
        if "fees" not in fields:
            self.fees = fees_for(self.amount, self.currency) if channel.charges_fees else None
        if self.authorization.get("channel") != self.channel:
            self.authorization = new_authorization(self.channel, self.currency)

    def settle(self, status: str) -> None:
        """Leave it unpaid in the given state."""
        self.status, self.paid_at, self.fees = status, None, None
        self.overrides, self.omitted, self.success_event = {}, frozenset(), None

    def _steer(self, fields: JsonObject) -> None:
        for name, value in fields.items():
            if name in _STEERING and type(value) is _STEERING[name]:
                setattr(self, name, value)
            elif name in _ALIASES:
                self._redate(name, value)
            else:
                self.overrides[name] = value

    def _redate(self, name: str, value: Any) -> None:
        try:
            setattr(self, name, moment_of(value))
        except (TypeError, ValueError):
            self.overrides |= dict.fromkeys((name, *_ALIASES[name]), value)

    def show(self, shape: JsonObject, *, adds: bool = False) -> JsonObject:
        """A shape of this charge with the demanded fields in place; `adds` also shows fields new to it."""
        replaced = {name: value for name, value in self.overrides.items() if adds or name in shape}
        return {name: value for name, value in (shape | replaced).items() if name not in self.omitted}
