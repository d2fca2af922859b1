"""What a reconciliation reads, page by page and counted, and where its report goes."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.domain.books import Book, Check, Difference, PaidBook, Report
from core.domain.payments import Provider
from core.refusals import refused
from core.store.calls import Functions, Json

ACCOUNTS_PER_PAGE = 200
PAYMENTS_PER_PAGE = 500


@dataclass(frozen=True, slots=True)
class OpenBooks:
    """When a reconciliation began, in the database's time, and what it has to see until its end."""

    at: datetime
    accounts: int
    credit_micros: int


class BookStore(Functions):
    """The books, for reconciliation."""

    async def open_books(self) -> OpenBooks:
        row = await self._call("open_books")
        return OpenBooks(
            datetime.fromisoformat(row["at"]), row["accounts"], row["credit_value_cents"] * 10_000
        )

    async def walk_books(self, opened: OpenBooks) -> AsyncIterator[list[Book]]:
        """All accounts, page by page.

        Raises:
            RefusedError: fewer came than there are; a zero would then say nothing.
        """
        after, seen = None, 0
        while rows := await self._call(
            "read_books", after=after, limit=ACCOUNTS_PER_PAGE, before=opened.at.isoformat()
        ):
            yield [_book(row) for row in rows]
            after, seen = rows[-1]["user_id"], seen + len(rows)
        _check_count("accounts", seen, opened.accounts)

    async def read_book(self, user_id: str) -> Book:
        """One account, as it is now."""
        return _book(await self._call("read_book", account_id=user_id))

    async def list_paid(self, provider: Provider, since: datetime, until: datetime) -> list[str]:
        """References of all orders of that time which we hold to be paid with that provider.

        Raises:
            RefusedError: fewer came than there are.
        """
        references: list[str] = []
        expected: int | None = None
        window = {"from": since.isoformat(), "until": until.isoformat()}
        while True:
            after = references[-1] if references else None
            page = await self._call(
                "list_paid", provider=provider, after=after, limit=PAYMENTS_PER_PAGE, **window
            )
            expected = page["total"] if expected is None else expected
            if not page["references"]:
                _check_count("payments", len(references), expected)
                return references
            references += page["references"]

    async def read_payments(self, references: Sequence[str]) -> dict[str, PaidBook]:
        """What we hold of these payments, by reference; those that are not ours are left out."""
        held: dict[str, PaidBook] = {}
        for start in range(0, len(references), PAYMENTS_PER_PAGE):
            some = list(references[start : start + PAYMENTS_PER_PAGE])
            for row in await self._call("read_payments", references=some):
                held[row["reference"]] = PaidBook(
                    reference=row["reference"],
                    currency=row["currency"],
                    paid=row["paid_amount"],
                    refunded=row["refunded_amount"],
                    disputed=row["disputed_amount"],
                    status=row["status"],
                )
        return held

    async def record_reconciliation(self, report: Report) -> None:
        await self._call(
            "record_reconciliation",
            began_at=report.began_at.isoformat(),
            complete=report.is_complete,
            differences=report.total,
            report=report.as_json(),
        )


def _check_count(what: str, seen: int, expected: int) -> None:
    """More than expected came about while they were read."""
    if seen < expected:
        raise refused("books_incomplete", seen, what, expected)


def _book(row: Json) -> Book:
    return Book(
        user_id=row["user_id"],
        confirmed=row["confirmed"],
        outstanding=row["outstanding"],
        pushed=row["pushed"],
        parked=row["parked"],
        budget_micros=row["budget_micros"],
        seen_micros=row["seen_micros"],
        payments=row["payments"],
        differences=tuple(_difference(one) for one in row["differences"]),
    )


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(Check(row["check"]), row["subject"], row["found"], row["expected"])
