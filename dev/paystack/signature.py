"""The signature on a webhook and the headers around it."""

import hashlib
import hmac


def sign(raw: bytes, secret_key: str) -> str:
    """Lowercase hex HMAC-SHA512 of the raw body, keyed with the account's API secret key.

    Source: Paystack's webhook documentation; there is no separate webhook secret.
    """
    return hmac.new(secret_key.encode(), raw, hashlib.sha512).hexdigest()


def headers(signature: str) -> dict[str, str]:
    """The headers of a delivery, as captured."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "Paystack/2.0",
        "Accept": "application/json, text/plain, */*",
        "X-Paystack-Signature": signature,
    }
