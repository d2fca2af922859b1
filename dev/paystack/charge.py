"""The fields of a charge that webhooks and API answers share, before each adds its own."""

from typing import Final

from dev.paystack.channel import channel_named
from dev.paystack.transaction import Transaction
from dev.paystack.wire import JsonObject, stamp, stamp_or_null

_GATEWAY_RESPONSES: Final = {
    "abandoned": "The transaction was not completed",
    "failed": "Declined",
}


def charge(transaction: Transaction, *, paid: bool) -> JsonObject:
    """The shared fields; an unpaid charge tells nothing of fees, authorization and time of payment."""
    channel = channel_named(transaction.channel)
    unpaid_message = "Declined" if transaction.status == "failed" else None
    unpaid_response = _GATEWAY_RESPONSES.get(transaction.status, "Pending")
    paid_at = stamp_or_null(transaction.paid_at) if paid else None
    return {
        "id": transaction.id,
        "domain": transaction.domain,
        "status": transaction.status,
        "reference": transaction.reference,
        "amount": transaction.amount,
        "message": channel.message if paid else unpaid_message,
        "gateway_response": channel.gateway_response if paid else unpaid_response,
        "paid_at": paid_at,
        "created_at": stamp(transaction.created_at),
        "channel": transaction.channel,
        "currency": transaction.currency,
        "ip_address": channel.ip_address,
        "metadata": transaction.metadata,
        "fees": transaction.fees if paid else None,
        "fees_split": None,
        "authorization": transaction.authorization if paid else {},
        "customer": transaction.customer.on_charge(),
        "subaccount": {},
        "split": {},
        "order_id": None,
        "paidAt": paid_at,
        "requested_amount": transaction.requested_amount,
        "pos_transaction_data": None,
    }


def source(transaction: Transaction) -> JsonObject:
    """Who opened the charge: our server, or a browser holding the public key."""
    if transaction.inline:
        return {"type": "web", "source": "checkout", "entry_point": "request_inline", "identifier": None}
    entry_point = channel_named(transaction.channel).entry_point or "transaction_initialize"
    return {"type": "api", "source": "merchant_api", "entry_point": entry_point, "identifier": None}
