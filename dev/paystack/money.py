"""Currencies that Paystack charges in, and what it keeps of a charge."""

from typing import Final

# Currency -> ISO country of its card authorizations.
COUNTRIES: Final = {"NGN": "NG", "GHS": "GH", "KES": "KE", "ZAR": "ZA", "USD": "US", "XOF": "CI"}

# Currency -> (per ten thousand, flat subunits). Source: the fixtures for NGN, GHS, KES and USD, Paystack's
# published prices for ZAR; XOF is a guess. Fees are never a basis for credits, so a guess does no harm.
_RATES: Final = {
    "NGN": (150, 10_000),
    "GHS": (195, 0),
    "KES": (150, 0),
    "ZAR": (290, 100),
    "USD": (390, 0),
    "XOF": (320, 0),
}
_NGN_FLAT_WAIVED_BELOW: Final = 250_000
_NGN_CAP: Final = 200_000


def fees_for(amount: int, currency: str) -> int:
    """Paystack's fee on a charge, in subunits of the same currency."""
    per_ten_thousand, flat = _RATES.get(currency, (390, 0))
    if currency == "NGN" and amount < _NGN_FLAT_WAIVED_BELOW:
        flat = 0
    fees = amount * per_ten_thousand // 10_000 + flat
    return min(fees, _NGN_CAP) if currency == "NGN" else fees


def shown(amount: int, currency: str) -> str:
    """An amount for people: `NGN 5,000.00`. Every currency has a hundred subunits here, XOF included."""
    return f"{currency} {amount // 100:,}.{amount % 100:02d}"
