"""Accounts that are due are pushed side by side: none waits for a slow one, none is claimed after a stop."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from core.errors import TransientError
from worker.jobs.sync import PushAccounts

AT_ONCE = 4


@dataclass
class Shelf:
    """A store with so many accounts due, and a pusher that takes as long as it is told."""

    due: int
    lease_seconds: int = 40
    asked: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    slow: dict[int, asyncio.Event] = field(default_factory=dict)
    in_hand: int = 0
    most_in_hand: int = 0

    async def claim_pushes(self, limit: int, lease_seconds: int) -> list[int]:
        assert lease_seconds == self.lease_seconds
        self.asked.append(limit)
        await asyncio.sleep(0)
        first = sum(self.asked[:-1])
        return list(range(first, min(first + limit, self.due)))

    async def run(self, push: int, _claimed_at: float) -> bool:
        self.begun.append(push)
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        await asyncio.sleep(0)
        if push in self.slow:
            await self.slow[push].wait()
        self.in_hand -= 1
        self.ended.append(push)
        return True


def job(shelf: Shelf, stopping: asyncio.Event | None = None) -> PushAccounts:
    return PushAccounts(cast(Any, shelf), cast(Any, shelf), AT_ONCE, stopping or asyncio.Event())


async def turn(times: int = 200) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize("due", [0, 1, 4, 5, 6, 37])
async def test_all_that_is_due_is_pushed_once(due: int) -> None:
    shelf = Shelf(due)
    assert await job(shelf).run_once() == due
    assert sorted(shelf.ended) == list(range(due))
    assert shelf.most_in_hand <= AT_ONCE


async def test_a_slow_account_holds_up_none_but_itself() -> None:
    shelf = Shelf(20, slow={2: asyncio.Event()})
    running = asyncio.create_task(job(shelf).run_once())
    await turn()
    assert sorted(shelf.ended) == [number for number in range(20) if number != 2]
    assert not running.done()
    shelf.slow[2].set()
    assert await running == 20


async def test_nothing_is_claimed_after_a_stop_and_what_is_leased_is_pushed() -> None:
    shelf, stopping = Shelf(1000, slow={number: asyncio.Event() for number in range(4)}), asyncio.Event()
    running = asyncio.create_task(job(shelf, stopping).run_once())
    await turn()
    stopping.set()
    for event in shelf.slow.values():
        event.set()
    assert await running == 4
    assert sorted(shelf.ended) == [0, 1, 2, 3]


async def test_a_database_that_goes_away_ends_the_run_once_nothing_is_in_hand() -> None:
    shelf = Shelf(1000, slow={0: asyncio.Event()})
    whole = shelf.claim_pushes

    async def away(limit: int, lease_seconds: int) -> list[int]:
        if shelf.asked:
            raise TransientError("database_unavailable", "The database cannot be reached.")
        return await whole(limit, lease_seconds)

    shelf.claim_pushes = away  # type: ignore[method-assign]
    running = asyncio.create_task(job(shelf).run_once())
    await turn()
    assert sorted(shelf.ended) == [1, 2, 3]
    assert not running.done()
    shelf.slow[0].set()
    with pytest.raises(TransientError):
        await running
    assert sorted(shelf.ended) == [0, 1, 2, 3]
