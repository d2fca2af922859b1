"""What a reconciliation compares, and what it says."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.domain.keys import ObservedUser

SHOWN = 200


class Check(StrEnum):
    """What must agree. The values are names in reports, metrics and in the database's functions."""

    PAYSTACK = "paystack"
    LEDGER = "ledger"
    CREDITS = "credits"
    WALLET = "wallet"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree. Amounts as text, with their unit."""

    check: Check
    subject: str
    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class Book:
    """An account as the database has it: what LiteLLM should show, and what does not agree within."""

    user_id: str
    confirmed: bool
    outstanding: bool
    pushed: bool
    parked: bool
    budget_micros: int | None
    seen_micros: int
    payments: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class PaidBook:
    """What one side holds of a payment, in subunits: paid, given back, in dispute or lost."""

    reference: str
    currency: str | None
    paid: int | None
    refunded: int = 0
    disputed: int = 0
    status: str = ""

    @property
    def amounts(self) -> tuple[str | None, int | None, int, int]:
        return (self.currency, self.paid, self.refunded, self.disputed)

    def __str__(self) -> str:
        if self.paid is None:
            return f"not paid ({self.status})"
        text = f"{self.currency} {self.paid / 100:,.2f} paid"
        text += f", {self.refunded / 100:,.2f} refunded" if self.refunded else ""
        return text + (f", {self.disputed / 100:,.2f} disputed" if self.disputed else "")


@dataclass(slots=True)
class Tally:
    """How one check went.

    ``waiting``: not compared because it is on its way. ``skipped``: why nothing could be compared.
    ``absent``: there is nothing to compare with, because it is not configured.
    """

    compared: int = 0
    waiting: int = 0
    differences: int = 0
    skipped: str | None = None
    absent: bool = False
    totals: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """All checks of one reconciliation. The first differences are kept by name, all are counted."""

    began_at: datetime
    tallies: dict[Check, Tally] = field(default_factory=lambda: {check: Tally() for check in Check})
    differences: list[Difference] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    others_count: int = 0

    def add(self, difference: Difference) -> None:
        self.tallies[difference.check].differences += 1
        if len(self.differences) < SHOWN:
            self.differences.append(difference)

    @property
    def total(self) -> int:
        return sum(tally.differences for tally in self.tallies.values())

    @property
    def is_complete(self) -> bool:
        """Whether all was compared: a zero of a check that was skipped says nothing."""
        return all(tally.skipped is None for tally in self.tallies.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "began_at": self.began_at.isoformat(),
            "complete": self.is_complete,
            "differences": self.total,
            "checks": {
                check.value: {
                    "compared": tally.compared,
                    "waiting": tally.waiting,
                    "differences": tally.differences,
                    "skipped": tally.skipped,
                    "configured": not tally.absent,
                    "totals": tally.totals,
                }
                for check, tally in self.tallies.items()
            },
            "named": [asdict(one) for one in self.differences],
            "others_at_paystack": {"payments": self.others_count, "totals": self.others},
        }


def compare_account(book: Book, user: ObservedUser | None, credit_micros: int) -> list[Difference]:
    """What LiteLLM shows of an account against what it should. None: LiteLLM has no such user.

    The wallet is compared where nothing is on its way; usage always, and may lag by less than one credit.
    """
    subject = f"account {book.user_id}"
    if book.parked:
        return [Difference(Check.WALLET, subject, "refused by LiteLLM, parked", _dollars(book.budget_micros))]
    if user is None:
        return [Difference(Check.WALLET, subject, "no user in LiteLLM", _dollars(book.budget_micros))]
    found = []
    if book.pushed and (user.budget_micros != book.budget_micros or user.budget_duration is not None):
        shown = _dollars(user.budget_micros)
        shown += f" per {user.budget_duration}" if user.budget_duration else ""
        found.append(Difference(Check.WALLET, subject, shown, _dollars(book.budget_micros)))
    if abs(user.spend_micros - book.seen_micros) >= credit_micros:
        booked = f"{_dollars(book.seen_micros)} booked"
        found.append(Difference(Check.USAGE, subject, booked, _dollars(user.spend_micros)))
    return found


def _dollars(micros: int | None) -> str:
    return "unlimited" if micros is None else f"${micros / 1_000_000:.6f}"
