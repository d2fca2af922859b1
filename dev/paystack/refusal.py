"""Paystack's way of saying no."""

from typing import Final

from dev.paystack.wire import JsonObject

_TRANSACTION_EXISTS: Final = (
    "Ensure that you're passing the reference of a transaction that exists on this integration"
)
_NEW_REFERENCE: Final = "Try and create the Transaction or Charge with a new reference"
_VALID_VALUES: Final = "Ensure that the value(s) you're passing are valid."


class RefusedError(Exception):
    """A call that Paystack answers with `status: false`."""

    def __init__(self, http_status: int, body: JsonObject) -> None:
        super().__init__(body["message"])
        self.http_status = http_status
        self.body = {"status": False, **body}


def _explained(http_status: int, message: str, code: str, next_step: str) -> RefusedError:
    body = {"message": message, "meta": {"nextStep": next_step}, "type": "validation_error", "code": code}
    return RefusedError(http_status, body)


def invalid_key() -> RefusedError:
    """The secret key is wrong or missing."""
    return RefusedError(401, {"message": "Invalid key"})


def missing(message: str) -> RefusedError:
    """A required parameter is not there. The trailing space is Paystack's."""
    return _explained(400, message, "missing_params", "Provide all required params ")


def invalid(message: str) -> RefusedError:
    """A parameter makes no sense."""
    return _explained(400, message, "invalid_params", _VALID_VALUES)


def unsupported_currency() -> RefusedError:
    """A currency this merchant does not take; Paystack says no more than this."""
    return RefusedError(400, {"message": "Currency not supported by merchant"})


def duplicate_reference() -> RefusedError:
    """A reference can be used once only."""
    refused = _explained(400, "Duplicate Transaction Reference", "duplicate_reference", _NEW_REFERENCE)
    refused.body["errorCodeMappingNotFound"] = False
    return refused


def unknown_transaction() -> RefusedError:
    """No such reference or id."""
    return _explained(404, "Transaction reference not found.", "transaction_not_found", _TRANSACTION_EXISTS)


def unknown(thing: str) -> RefusedError:
    """No such refund, dispute or delivery."""
    return _explained(404, f"{thing} not found", f"{thing.lower()}_not_found", _VALID_VALUES)
