"""Booking what was spent goes on whatever becomes of what is only shown."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from core.domain.pushes import Spender, SpendPage
from core.domain.work import Turn
from core.refusals import refused
from worker.jobs.sync import SettleUsage

NEWEST = datetime(2026, 11, 26, tzinfo=UTC)


@dataclass
class Shelf:
    """LiteLLM with two pages of keys, and a database that refuses what they spent of their caps."""

    booked: list[str] = field(default_factory=list)
    marks: list[datetime] = field(default_factory=list)

    async def claim_chore(self, name: str, _seconds: int) -> Any:
        return Turn(name, "a token", mark=None, asked_at=NEWEST)

    async def read_changes(self) -> SpendPage:
        return page("recent", is_last=False)

    async def walk_keys(self) -> Any:
        for name in ("first", "second"):
            yield page(name, is_last=name == "second")

    async def settle_usage(self, _asked_at: datetime, spenders: Any) -> int:
        self.booked += [one.user_id for one in spenders]
        return len(spenders)

    async def record_key_spend(self, _keys: Any) -> int:
        raise refused("database_refused", "22003", "")

    async def finish_chore(self, _turn: Turn, newest: datetime) -> None:
        self.marks.append(newest)


def page(name: str, *, is_last: bool) -> SpendPage:
    return SpendPage((Spender(name, None),), oldest=NEWEST, newest=NEWEST, is_last=is_last)


async def test_all_pages_are_booked_though_what_keys_spent_cannot_be_kept() -> None:
    shelf = Shelf()
    await SettleUsage(cast(Any, shelf), cast(Any, shelf), every_seconds=20).run_once()
    assert shelf.booked == ["recent", "first", "second"]
    assert shelf.marks == [NEWEST]
