"""What a payment buys, and what of it is withheld, worked out from Paystack's book apart from the product."""

from fractions import Fraction
from math import ceil, floor
from typing import Any

from dev.paystack.dispute import Dispute
from dev.paystack.transaction import Transaction
from tests.model.world import World


def granted(world: World, row: dict[str, Any]) -> int:
    """The order's credits, or in proportion to what was paid for them where that was decided."""
    credits = int(row["credits"])
    if row["reference"] not in world.in_part:
        return credits
    order = world.sandbox.book.transactions[row["reference"]]
    return min(credits, floor(Fraction(credits * (order.amount - fee_of(order, row)), row["amount"])))


def withheld(world: World, row: dict[str, Any]) -> int:
    """The share of the price that is not covered any more by what is left, after the fee."""
    order = world.sandbox.book.transactions[row["reference"]]
    lost, fee = lost_of(world, order), fee_of(order, row)
    ordered = granted(world, row) == row["credits"] and order.currency == row["currency"]
    towards = min(row["amount"] if ordered else order.amount, order.amount - fee)
    missing = max(0, towards - max(0, order.amount - fee - lost))
    return ceil(granted(world, row) * Fraction(missing, towards)) if lost else 0


def fee_of(order: Transaction, row: dict[str, Any]) -> int:
    """Borne by the buyer where it is exactly what was paid beyond what was requested."""
    requested = row["amount"] if order.requested_amount is None else order.requested_amount
    return order.amount - requested if order.amount - requested == order.fees else 0


def lost_of(world: World, order: Transaction) -> int:
    """Refunds that belong to no dispute of this payment, and what its disputes took or may yet take."""
    book = world.sandbox.book
    disputes = {one.id: one for one in book.disputes.values() if one.transaction is order}
    processed = [one for one in book.refunds_of(order) if one.status == "processed"]
    refunded = sum(one.amount for one in processed if one.dispute_id not in disputes)
    return min(order.amount, refunded + sum(at_stake(one) for one in disputes.values()))


def at_stake(dispute: Dispute) -> int:
    """All of it while the dispute is open."""
    if dispute.resolution == "declined":
        return 0
    return dispute.transaction.amount if dispute.resolution is None else dispute.refund_amount or 0
