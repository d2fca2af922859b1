"""Accounts that are due are pushed side by side: none waits for a slow one, none is claimed after a stop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from core.errors import TransientError
from worker.jobs.sync import PushAccounts

AT_ONCE, MOST = 4, 6


@dataclass(frozen=True)
class Pushed:
    number: int

    @property
    def user_id(self) -> str:
        return f"account {self.number}"


@dataclass
class Shelf:
    """A store with so many accounts due, and a pusher that takes as long, or breaks, as it is told."""

    due: int
    lease_seconds: int = 40
    claimed: int = 0
    asked: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    slow: dict[int, asyncio.Event] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    in_hand: int = 0
    most_in_hand: int = 0

    async def claim_pushes(self, limit: int, lease_seconds: int) -> list[Pushed]:
        assert lease_seconds == self.lease_seconds
        self.asked.append(limit)
        await asyncio.sleep(0)
        first, self.claimed = self.claimed, min(self.claimed + limit, self.due)
        return [Pushed(number) for number in range(first, self.claimed)]

    async def run(self, push: Pushed, _claimed_at: float) -> bool:
        self.begun.append(push.number)
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        await asyncio.sleep(0)
        if push.number in self.slow:
            await self.slow[push.number].wait()
        self.in_hand -= 1
        if push.number in self.broken:
            raise AssertionError
        self.ended.append(push.number)
        return True


def job(shelf: Shelf, stopping: asyncio.Event | None = None) -> PushAccounts:
    return PushAccounts(cast(Any, shelf), cast(Any, shelf), AT_ONCE, stopping or asyncio.Event(), 0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (there is nothing that would tell)
            await asyncio.sleep(0)


async def ended(shelf: Shelf, pushes: int) -> None:
    await until(lambda: len(shelf.ended) == pushes)


@pytest.mark.parametrize("due", [0, 1, 4, 5, 6, 37])
async def test_all_that_is_due_is_pushed_once(due: int) -> None:
    shelf = Shelf(due)
    assert await job(shelf).run_once() == due
    assert sorted(shelf.ended) == list(range(due))
    assert shelf.most_in_hand <= AT_ONCE


async def test_a_slow_account_holds_up_none_but_itself() -> None:
    shelf = Shelf(20, slow={2: asyncio.Event()})
    running = asyncio.create_task(job(shelf).run_once())
    await ended(shelf, 19)
    assert sorted(shelf.ended) == [number for number in range(20) if number != 2]
    shelf.due = 23  # and others become due meanwhile
    await ended(shelf, 22)
    assert not running.done()
    shelf.slow[2].set()
    assert await running == 23


async def test_no_more_are_leased_than_can_be_pushed_soon() -> None:
    shelf = Shelf(1000, slow={number: asyncio.Event() for number in range(MOST)})
    running = asyncio.create_task(job(shelf).run_once())
    await asyncio.sleep(0.05)  # several looks
    assert (shelf.begun, shelf.claimed) == ([0, 1, 2, 3], MOST)
    for event in shelf.slow.values():
        event.set()
    assert await running == 1000


async def test_nothing_is_claimed_after_a_stop_and_what_is_leased_is_pushed() -> None:
    shelf, stopping = Shelf(1000, slow={number: asyncio.Event() for number in range(4)}), asyncio.Event()
    running = asyncio.create_task(job(shelf, stopping).run_once())
    await until(lambda: len(shelf.begun) == AT_ONCE)
    stopping.set()
    for event in shelf.slow.values():
        event.set()
    assert await running == MOST
    assert sorted(shelf.ended) == list(range(MOST))


async def test_a_database_that_goes_away_ends_the_run_once_nothing_is_in_hand() -> None:
    shelf = Shelf(1000, slow={0: asyncio.Event()})
    whole = shelf.claim_pushes

    async def away(limit: int, lease_seconds: int) -> list[Pushed]:
        if shelf.asked:
            raise TransientError("database_unavailable", "The database cannot be reached.")
        return await whole(limit, lease_seconds)

    shelf.claim_pushes = away  # type: ignore[method-assign]
    running = asyncio.create_task(job(shelf).run_once())
    await ended(shelf, MOST - 1)
    assert not running.done()
    shelf.slow[0].set()
    with pytest.raises(TransientError):
        await running
    assert sorted(shelf.ended) == list(range(MOST))


async def test_a_fault_of_our_own_in_one_push_ends_neither_the_others_nor_the_run() -> None:
    shelf = Shelf(20, broken={3})
    assert await job(shelf).run_once() == 20
    assert sorted(shelf.ended) == [number for number in range(20) if number != 3]
