"""The worker's reading of days: each claimed account by itself, and none that fails stops the others."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from core.domain.usage import Figures, ToRoll, UsedDay
from core.errors import RefusedError, TransientError
from core.flows.usage import UsageReader
from worker.jobs.sync import RollUpUsage

SINCE = date(2026, 11, 20)
USED = (UsedDay(SINCE, "mock-small", "h1", Figures(1, 8, 20, 480)),)


@dataclass
class Shelf:
    """LiteLLM and the database in one: what is told of each user, and what is kept."""

    told: dict[str, Any]
    claims: list[list[ToRoll]]
    kept: list[tuple[Any, ...]] = field(default_factory=list)

    async def claim_rollups(self, limit: int, lease_seconds: int) -> list[ToRoll]:
        return self.claims.pop(0)

    async def read_days(self, user_id: str, start: date, end: date) -> Any:
        if self.told[user_id] == "nothing":
            await asyncio.Event().wait()
        if isinstance(self.told[user_id], Exception):
            raise self.told[user_id]
        return self.told[user_id]

    async def record_usage(self, *kept: Any) -> bool:
        self.kept.append(kept)
        return True


def job(shelf: Shelf, lease_seconds: int = 60) -> RollUpUsage:
    reader = UsageReader(cast(Any, shelf), cast(Any, shelf))
    return RollUpUsage(cast(Any, shelf), reader, at_once=4, lease_seconds=lease_seconds)


async def test_each_claimed_account_is_read_up_to_tomorrow_and_its_claim_is_ended() -> None:
    shelf = Shelf({"u1": USED}, [[ToRoll("u1", SINCE, 480)], []])
    before = datetime.now(UTC)
    assert await job(shelf).run_once() == 1
    ((user_id, start, end, days, asked_at, booked),) = shelf.kept
    assert (user_id, start, days, booked) == ("u1", SINCE, USED, 480)
    assert end - datetime.now(UTC).date() in (timedelta(days=0), timedelta(days=1))
    assert before <= asked_at <= datetime.now(UTC), "from before it was asked"
    assert await job(shelf).run_once() == 0


async def test_one_that_fails_is_left_to_the_next_and_the_others_are_read() -> None:
    away = TransientError("litellm_unreachable", "LiteLLM cannot be reached.")
    other = RefusedError("usage_of_another", "Not this one.", status=409)
    shelf = Shelf(
        {"u1": away, "u2": USED, "u3": other}, [[ToRoll(one, SINCE, 480) for one in ("u1", "u2", "u3")]]
    )
    assert await job(shelf).run_once() == 3
    assert [kept[0] for kept in shelf.kept] == ["u2"]


async def test_one_of_which_litellm_never_ends_to_tell_keeps_the_others_waiting_for_its_lease_alone() -> None:
    shelf = Shelf({"u1": "nothing", "u2": USED}, [[ToRoll(one, SINCE, 480) for one in ("u1", "u2")]])
    async with asyncio.timeout(10):
        assert await job(shelf, lease_seconds=1).run_once() == 2
    assert [kept[0] for kept in shelf.kept] == ["u2"]
