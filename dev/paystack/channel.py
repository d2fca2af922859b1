"""How a charge differs by the way it was paid. Source: the captured charge.success payloads."""

from dataclasses import dataclass
from typing import Final

from dev.paystack.customer import random_code
from dev.paystack.money import COUNTRIES
from dev.paystack.wire import JsonObject

_NOT_IN_OLDER_CHANNELS: Final = frozenset(
    {"fees_breakdown", "split", "order_id", "requested_amount", "pos_transaction_data", "source"}
)


@dataclass(frozen=True)
class Channel:
    """One way to pay, and what its events say and leave out."""

    message: str | None = None
    gateway_response: str = "Successful"
    entry_point: str | None = None
    ip_address: str | None = "102.89.34.17"
    charges_fees: bool = True
    event_omits: frozenset[str] = frozenset()
    event_adds: tuple[str, ...] = ()  # fields that are an empty object
    customer_omits: frozenset[str] = frozenset()


CHANNELS: Final = {
    "card": Channel(),
    "bank_transfer": Channel(gateway_response="Approved"),
    "ussd": Channel(
        message="madePayment",
        gateway_response="Payment successful",
        charges_fees=False,
        event_omits=_NOT_IN_OLDER_CHANNELS,
        customer_omits=frozenset({"international_format_phone"}),
    ),
    "mobile_money": Channel(
        message="madePayment",
        gateway_response="Approved",
        ip_address="18.130.236.148, 141.101.99.73",
        event_omits=_NOT_IN_OLDER_CHANNELS,
        event_adds=("subaccount_group",),
        customer_omits=frozenset({"international_format_phone"}),
    ),
    "direct_debit": Channel(
        message="madePayment",
        gateway_response="Payment successful",
        entry_point="charge",
        ip_address=None,
    ),
}


def channel_named(name: str) -> Channel:
    """The named channel; one that is not listed behaves like a card."""
    return CHANNELS.get(name, CHANNELS["card"])


def new_authorization(channel: str, currency: str) -> JsonObject:
    """What Paystack tells about the means of payment once it has been used."""
    country = COUNTRIES.get(currency, "NG")
    make = {
        "bank_transfer": _bank_transfer,
        "ussd": _ussd,
        "mobile_money": _mobile_money,
        "direct_debit": _direct_debit,
    }.get(channel, _card)
    code = f"AUTH_{random_code(10)}"
    return {"authorization_code": code, **make(country), "channel": channel, "country_code": country}


def _card(_country: str) -> JsonObject:
    return {
        "bin": "408408",
        "last4": "4081",
        "exp_month": "12",
        "exp_year": "2030",
        "card_type": "visa ",
        "bank": "TEST BANK",
        "brand": "visa",
        "reusable": True,
        "signature": f"SIG_{random_code(20)}",
        "account_name": None,
        "receiver_bank_account_number": None,
        "receiver_bank": None,
    }


def _bank_transfer(country: str) -> JsonObject:
    kenyan = country == "KE"  # Pesalink names the sender's bank and carries no narration
    bank = "Diamond Trust Bank Kenya Limited"
    return {
        "bin": "008XXX",
        "last4": "X553",
        "exp_month": "10",
        "exp_year": "2026",
        "card_type": "transfer",
        "bank": bank if kenyan else None,
        "brand": "Managed Account",
        "reusable": False,
        "signature": None,
        "account_name": None,
        "sender_country": country,
        "sender_bank": bank if kenyan else None,
        "sender_bank_account_number": "XXXXXXX553",
        "sender_name": "SANDBOX BUYER",
        "narration": None if kenyan else "Credits",
        "receiver_bank_account_number": "9930004821",
        "receiver_bank": bank if kenyan else "Paystack-Titan",
    }


def _ussd(_country: str) -> JsonObject:
    return {
        "bin": "XXXXXX",
        "last4": "XXXX",
        "exp_month": "10",
        "exp_year": "2026",
        "card_type": "offline",
        "bank": "Guaranty Trust Bank",
        "brand": "offline",
        "reusable": False,
        "signature": None,
        "account_name": None,
    }


def _mobile_money(_country: str) -> JsonObject:
    return {
        "bin": "055XXX",
        "last4": "X149",
        "exp_month": "12",
        "exp_year": "9999",
        "card_type": "",
        "bank": "MTN Mobile Money",
        "brand": "Mtn mobile money",
        "reusable": False,
        "signature": None,
        "account_name": "SANDBOX BUYER",
    }


def _direct_debit(_country: str) -> JsonObject:
    return {
        "bin": None,
        "last4": None,
        "exp_month": None,
        "exp_year": None,
        "card_type": None,
        "bank": "Guaranty Trust Bank",
        "brand": None,
        "reusable": True,
        "signature": None,
        "account_name": None,
    }
