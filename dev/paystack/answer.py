"""What Paystack's API answers about charges, refunds and disputes."""

from dev.paystack.charge import charge, source
from dev.paystack.dispute import Dispute
from dev.paystack.event import INTEGRATION, disputed
from dev.paystack.refund import Refund
from dev.paystack.transaction import Transaction
from dev.paystack.wire import JsonObject, stamp, stamp_or_null


def verified(transaction: Transaction) -> JsonObject:
    """The answer to verify: `plan` and `source` null, the log told, dates three times."""
    created_at = stamp(transaction.created_at)
    shape = _with_log(transaction) | {
        "metadata": "" if transaction.metadata is None else transaction.metadata,
        "plan": None,
        "receipt_number": None,
        "createdAt": created_at,
        "source": None,
        "fees_breakdown": None,
        "connect": None,
        "transaction_date": created_at,
        "plan_object": {},
    }
    return transaction.show(shape)


def fetched(transaction: Transaction) -> JsonObject:
    """The answer to a fetch by id. Source: Paystack's API reference; no fixture exists."""
    shape = _with_log(transaction) | {
        "receipt_number": None,
        "helpdesk_link": None,
        "plan": {},
        "createdAt": stamp(transaction.created_at),
        "source": source(transaction),
        "fees_breakdown": None,
        "connect": None,
    }
    return transaction.show(shape)


def listed(transaction: Transaction) -> JsonObject:
    """One row of the transaction list: `plan` is `{}`, the source is told."""
    shape = _with_log(transaction) | {
        "plan": {},
        "createdAt": stamp(transaction.created_at),
        "source": source(transaction),
        "connect": None,
    }
    return transaction.show(shape)


def _with_log(transaction: Transaction) -> JsonObject:
    return charge(transaction, paid=transaction.paid) | {"log": _log(transaction)}


def _log(transaction: Transaction) -> JsonObject | None:
    if not transaction.paid:
        return None
    means = transaction.channel.replace("_", " ")
    return {
        "start_time": int(transaction.created_at.timestamp()),
        "time_spent": 4,
        "attempts": 1,
        "errors": 0,
        "success": True,
        "mobile": False,
        "input": [],
        "history": [
            {"type": "action", "message": f"Attempted to pay with {means}", "time": 3},
            {"type": "success", "message": f"Successfully paid with {means}", "time": 4},
        ],
    }


def refund_queued(refund: Refund) -> JsonObject:
    """The answer to POST /refund: `transaction` is an object here and a number everywhere else."""
    return {
        "transaction": _transaction_in_refund(refund.transaction),
        "integration": INTEGRATION,
        "deducted_amount": 0,
        "channel": None,
        "merchant_note": refund.merchant_note,
        "customer_note": refund.customer_note,
        "status": refund.status,
        "refunded_by": refund.refunded_by,
        "expected_at": stamp(refund.expected_at),
        "currency": refund.transaction.currency,
        "domain": refund.transaction.domain,
        "amount": refund.amount,
        "fully_deducted": False,
        "id": refund.id,
        "createdAt": stamp(refund.created_at),
        "updatedAt": stamp(refund.updated_at),
    }


def _transaction_in_refund(transaction: Transaction) -> JsonObject:
    paid_at = stamp_or_null(transaction.paid_at)
    return {
        "id": transaction.id,
        "domain": transaction.domain,
        "reference": transaction.reference,
        "amount": transaction.amount,
        "paid_at": paid_at,
        "channel": transaction.channel,
        "currency": transaction.currency,
        "authorization": {"exp_month": None, "exp_year": None, "account_name": None},
        "customer": {"international_format_phone": None},
        "plan": {},
        "subaccount": {"currency": None},
        "split": {},
        "order_id": None,
        "paidAt": paid_at,
        "pos_transaction_data": None,
        "source": None,
        "fees_breakdown": None,
    }


def refund_fetched(refund: Refund) -> JsonObject:
    """One refund by its id: camel case dates, `fully_deducted` true or null."""
    return _refund(refund) | {
        "fully_deducted": True if refund.status == "processed" else None,
        "createdAt": stamp(refund.created_at),
        "updatedAt": stamp(refund.updated_at),
    }


def refund_listed(refund: Refund) -> JsonObject:
    """One row of the refund list: snake case dates, `fully_deducted` 1 or null."""
    return _refund(refund) | {
        "fully_deducted": 1 if refund.status == "processed" else None,
        "created_at": stamp(refund.created_at),
        "updated_at": stamp(refund.updated_at),
    }


def _refund(refund: Refund) -> JsonObject:
    return {
        "id": refund.id,
        "integration": INTEGRATION,
        "domain": refund.transaction.domain,
        "transaction": refund.transaction.id,
        "dispute": refund.dispute_id,
        "amount": refund.amount,
        "deducted_amount": refund.amount if refund.status == "processed" else 0,
        "currency": refund.transaction.currency,
        "channel": refund.transaction.channel,
        "refunded_by": refund.refunded_by,
        "refunded_at": stamp_or_null(refund.refunded_at),
        "expected_at": stamp(refund.expected_at),
        "settlement": None,
        "customer_note": refund.customer_note,
        "merchant_note": refund.merchant_note,
        "status": refund.status,
    }


def dispute_told(dispute: Dispute) -> JsonObject:
    """A dispute over the API: camel case dates and attachments as the string `[]`, unlike in events."""
    shape = disputed(dispute) | {
        "attachments": "[]",
        "createdAt": stamp(dispute.created_at),
        "updatedAt": stamp(dispute.updated_at),
    }
    transaction = shape["transaction"] | {"createdAt": stamp(dispute.transaction.created_at)}
    return shape | {"transaction": transaction}
