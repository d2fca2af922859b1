"""What a merchant asks for when it opens a payment, checked as Paystack checks it."""

import re
from dataclasses import dataclass
from typing import Any, Final

from dev.paystack.money import COUNTRIES
from dev.paystack.refusal import invalid, missing, unsupported_currency
from dev.paystack.wire import JsonObject

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9.=-]+")
_WHOLE: Final = re.compile(r"[0-9]+")
_DEFAULT_CURRENCY: Final = "NGN"


@dataclass(frozen=True)
class Order:
    """A payment as asked for; the amount is in subunits."""

    email: str
    amount: int
    currency: str
    reference: str | None
    callback_url: str | None
    metadata: Any
    channel: str
    first_name: str | None
    last_name: str | None
    phone: str | None


def order_from(body: JsonObject) -> Order:
    """The order in a request body, or the refusal that Paystack would answer."""
    return Order(
        email=_email(body.get("email")),
        amount=amount_from(body.get("amount")),
        currency=_currency(body.get("currency")),
        reference=_reference(body.get("reference")),
        callback_url=_callback_url(body.get("callback_url")),
        metadata=body.get("metadata"),
        channel=_first_channel(body.get("channels")),
        first_name=_text(body.get("first_name")),
        last_name=_text(body.get("last_name")),
        phone=_text(body.get("phone")),
    )


def amount_from(value: Any) -> int:
    """Subunits out of an integer or a string of digits; fractions are refused, never rounded."""
    if value is None or value == "":
        raise missing("Amount is required")
    amount = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
    if type(amount) is not int or amount <= 0:
        raise invalid("Invalid Amount Sent")
    return amount


def _email(value: Any) -> str:
    if not value:
        raise missing("Email Address is required")
    if not isinstance(value, str) or not _EMAIL.fullmatch(value) or value.lower().endswith(".local"):
        raise invalid("Invalid Email Address Passed")
    return value


def _currency(value: Any) -> str:
    currency = value or _DEFAULT_CURRENCY
    if currency not in COUNTRIES:
        raise unsupported_currency()
    return str(currency)


def _reference(value: Any) -> str | None:
    """Letters, digits, `-`, `.` and `=` only; absent means that Paystack makes one."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise invalid("Invalid transaction reference. Only -,., =and alphanumeric characters are allowed")
    return value


def _callback_url(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise invalid("Invalid callback URL passed")
    return value


def _first_channel(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else "card"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
