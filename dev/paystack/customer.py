"""The buyer, as Paystack remembers them by their e-mail address."""

import secrets
import string
from dataclasses import dataclass, field

from dev.paystack.wire import JsonObject

_ALPHABET = string.ascii_lowercase + string.digits


def random_code(length: int) -> str:
    """Lowercase letters and digits, the alphabet of Paystack's own codes and references."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass
class Customer:
    """One buyer of this merchant."""

    id: int
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    code: str = field(default_factory=lambda: f"CUS_{random_code(15)}")

    def on_charge(self) -> JsonObject:
        """The customer inside a charge, in events and API answers alike."""
        return {
            "id": self.id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "email": self.email,
            "customer_code": self.code,
            "phone": self.phone,
            "metadata": None,
            "risk_action": "default",
            "international_format_phone": None,
        }

    def on_dispute(self) -> JsonObject:
        """The customer beside a disputed charge: metadata is an object here."""
        return {**self.on_charge(), "phone": self.phone, "metadata": {}, "risk_action": "allow"}

    def on_refund(self) -> JsonObject:
        """The customer in a refund event: names and address only, no id."""
        return {"first_name": self.first_name, "last_name": self.last_name, "email": self.email}
