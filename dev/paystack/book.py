"""Everything Paystack remembers about this merchant."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from dev.paystack.customer import Customer
from dev.paystack.delivery import Delivery
from dev.paystack.dispute import Dispute
from dev.paystack.refund import Refund
from dev.paystack.refusal import unknown, unknown_transaction
from dev.paystack.transaction import Transaction

_FIRST_DAY: Final = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Book:
    """The merchant's records, by what they are asked for."""

    next_transaction_id: int
    next_id: int
    transactions: dict[str, Transaction] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    refunds: dict[int, Refund] = field(default_factory=dict)
    disputes: dict[int, Dispute] = field(default_factory=dict)
    deliveries: dict[int, Delivery] = field(default_factory=dict)

    @classmethod
    def opened(cls, now: datetime) -> "Book":
        """An empty book whose ids were never used before.

        Real ids are unique for ever, so those of a restarted sandbox must not repeat what a database has
        kept; they start higher the later it is. Those of transactions are beyond 32 bits, as Paystack's.
        """
        seconds = int((now - _FIRST_DAY).total_seconds())
        return cls(next_transaction_id=5_612_000_000 + seconds * 10, next_id=3_500_000 + seconds)

    def clear(self) -> None:
        """Forget everything but which ids were used."""
        for records in (self.transactions, self.customers, self.refunds, self.disputes, self.deliveries):
            records.clear()

    def transaction_id(self) -> int:
        """A fresh id for a transaction."""
        self.next_transaction_id += 1
        return self.next_transaction_id

    def other_id(self) -> int:
        """A fresh id for anything else."""
        self.next_id += 1
        return self.next_id

    def transaction(self, reference: str) -> Transaction:
        """The transaction with this reference."""
        if (found := self.transactions.get(reference)) is None:
            raise unknown_transaction()
        return found

    def transaction_by_id(self, transaction_id: int) -> Transaction:
        """The transaction with this id."""
        for transaction in self.transactions.values():
            if transaction.id == transaction_id:
                return transaction
        raise unknown_transaction()

    def transaction_by_code(self, access_code: str) -> Transaction:
        """The transaction whose checkout page this is."""
        for transaction in self.transactions.values():
            if transaction.access_code == access_code:
                return transaction
        raise unknown_transaction()

    def customer(self, email: str) -> Customer:
        """The buyer with this address, made if new."""
        return self.customers.setdefault(email, Customer(id=200_000_000 + self.other_id(), email=email))

    def refund(self, refund_id: int) -> Refund:
        """The refund with this id."""
        if (found := self.refunds.get(refund_id)) is None:
            raise unknown("Refund")
        return found

    def dispute(self, dispute_id: int) -> Dispute:
        """The dispute with this id."""
        if (found := self.disputes.get(dispute_id)) is None:
            raise unknown("Dispute")
        return found

    def delivery(self, delivery_id: int) -> Delivery:
        """The delivery with this id."""
        if (found := self.deliveries.get(delivery_id)) is None:
            raise unknown("Delivery")
        return found

    def refunds_of(self, transaction: Transaction) -> Iterator[Refund]:
        """Every refund of a payment."""
        return (refund for refund in self.refunds.values() if refund.transaction is transaction)

    def refundable(self, transaction: Transaction) -> int:
        """What is left to give back; a failed refund gives its amount free again."""
        asked = sum(refund.amount for refund in self.refunds_of(transaction) if refund.status != "failed")
        return transaction.amount - asked

    def settle_reversal(self, transaction: Transaction) -> None:
        """Mark a payment reversed once all of it went back, by refunds or by a lost dispute."""
        processed = (each.amount for each in self.refunds_of(transaction) if each.status == "processed")
        lost = (each.lost_amount for each in self.disputes.values() if each.transaction is transaction)
        if max(sum(processed), *lost, 0) >= transaction.amount:
            transaction.status = "reversed"
