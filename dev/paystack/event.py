"""What Paystack's webhooks say. Each differs from the API's answer about the same thing, on purpose.

Source: the sample payloads in tests/fixtures/paystack, which the shape tests hold these against.
"""

from typing import Final

from dev.paystack.channel import channel_named
from dev.paystack.charge import charge, source
from dev.paystack.dispute import Dispute
from dev.paystack.refund import Refund
from dev.paystack.transaction import Transaction
from dev.paystack.wire import JsonObject, stamp, stamp_or_null

INTEGRATION: Final = 412_999
_BANK: Final = "bank@issuer.example"
_COMPLAINT: Final = "Customer complained about debit without value"


def charge_success(transaction: Transaction) -> JsonObject:
    """A payment was made. `plan` is `{}` and `log` null here; verify says null and tells the log."""
    channel = channel_named(transaction.channel)
    customer = transaction.customer.on_charge()
    shape = charge(transaction, paid=True) | {
        "metadata": "" if transaction.metadata is None else transaction.metadata,
        "status": "success" if transaction.status == "reversed" else transaction.status,
        "fees_breakdown": _fees_breakdown(transaction),
        "log": None,
        "customer": {name: value for name, value in customer.items() if name not in channel.customer_omits},
        "plan": {},
        "source": source(transaction),
    }
    shape = {name: value for name, value in shape.items() if name not in channel.event_omits}
    shape |= {name: {} for name in channel.event_adds}
    return {"event": "charge.success", "data": transaction.show(shape, adds=True)}


def _fees_breakdown(transaction: Transaction) -> JsonObject | None:
    """Told for Kenyan transfers only, and with the amount as a string."""
    if (transaction.channel, transaction.currency) != ("bank_transfer", "KES"):
        return None
    return {"amount": str(transaction.fees), "formula": None, "type": "paystack"}


def refund(refund: Refund) -> JsonObject:
    """A refund reached a state. No id; the amount is a string, except where the refund did not go well."""
    went_wrong = refund.status in {"failed", "needs-attention"}
    return {
        "event": f"refund.{refund.status}",
        "data": {
            "status": refund.status,
            "transaction_reference": refund.transaction.reference,
            "refund_reference": refund.reference,
            "amount": refund.amount if went_wrong else str(refund.amount),
            "currency": refund.transaction.currency,
            "processor": "mpgs_zen" if refund.status == "processed" else "instant-transfer",
            "customer": refund.transaction.customer.on_refund(),
            "integration": INTEGRATION,
            "domain": refund.transaction.domain,
        },
    }


def dispute(dispute: Dispute, happening: str) -> JsonObject:
    """A dispute was opened (`create`), is still open (`remind`), or was closed (`resolve`)."""
    data = disputed(dispute) | {
        "attachments": None,
        "created_at": stamp(dispute.created_at),
        "updated_at": stamp(dispute.updated_at),
    }
    return {"event": f"charge.dispute.{happening}", "data": data}


def disputed(dispute: Dispute) -> JsonObject:
    """The fields of a dispute that events and API answers share."""
    transaction = dispute.transaction
    opened_at = stamp(dispute.created_at)
    return {
        "id": dispute.id,
        "refund_amount": dispute.refund_amount,
        "currency": transaction.currency,
        "status": dispute.status,
        "resolution": dispute.resolution,
        "domain": transaction.domain,
        "transaction": _transaction_in_dispute(transaction),
        "transaction_reference": None,
        "category": dispute.category,
        "customer": transaction.customer.on_dispute(),
        "bin": transaction.authorization.get("bin"),
        "last4": transaction.authorization.get("last4"),
        "dueAt": stamp(dispute.due_at),
        "resolvedAt": stamp_or_null(dispute.resolved_at),
        "evidence": None,
        "note": None,
        "history": [{"status": "pending", "by": _BANK, "createdAt": opened_at}],
        "messages": [{"sender": _BANK, "body": _COMPLAINT, "createdAt": opened_at}],
    }


def _transaction_in_dispute(transaction: Transaction) -> JsonObject:
    """Bare: no metadata, log, authorization or customer, whatever was sent."""
    return charge(transaction, paid=True) | {
        "gateway_response": "Approved",
        "ip_address": None,
        "metadata": "",
        "log": None,
        "authorization": {},
        "customer": {"international_format_phone": None},
        "plan": {},
    }
