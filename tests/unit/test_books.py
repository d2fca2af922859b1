"""Books that came cut short are no books: a zero over them would be a lie."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from supabase import AsyncClient

from core.domain.payments import Provider
from core.errors import RefusedError
from core.store import ServiceStore
from core.store.books import OpenBooks

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def book(number: int) -> dict[str, Any]:
    return {
        "user_id": f"{number:08}", "confirmed": True, "outstanding": False, "pushed": True, "parked": False,
        "budget_micros": 0, "seen_micros": 0, "payments": 0, "differences": [],
    }  # fmt: skip


class Cut(ServiceStore):
    """A REST layer that never hands out more than so many rows, and says nothing of it."""

    def __init__(self, rows: int, limit: int) -> None:
        super().__init__(cast(AsyncClient, None))
        self.rows, self.limit = rows, limit

    async def _call(self, function: str, **arguments: Any) -> Any:
        after = int((arguments["after"] or "0").removeprefix("kf-"))
        numbers = range(after + 1, self.rows + 1)[: min(self.limit, arguments["limit"])]
        if function == "read_books":
            # What the limit cut off is not asked for again: the page after starts behind it.
            return [book(one) for one in numbers] if after < self.limit else []
        references = [f"kf-{one}" for one in numbers] if after < self.limit else []
        return {"references": references, "total": self.rows}


async def read_accounts(store: ServiceStore, there: int) -> int:
    return sum([len(page) async for page in store.walk_books(OpenBooks(NOW, there, 20_000))])


async def test_all_accounts_are_read_page_by_page() -> None:
    assert await read_accounts(Cut(450, 10**9), 450) == 450
    assert len(await Cut(1200, 10**9).list_paid(Provider.PAYSTACK, NOW, NOW)) == 1200


async def test_accounts_that_were_cut_off_are_no_zero() -> None:
    with pytest.raises(RefusedError, match="Read 100 accounts, but there are 450"):
        await read_accounts(Cut(450, 100), 450)


async def test_payments_that_were_cut_off_are_no_zero() -> None:
    with pytest.raises(RefusedError, match="Read 100 payments, but there are 1200"):
        await Cut(1200, 100).list_paid(Provider.PAYSTACK, NOW, NOW)
