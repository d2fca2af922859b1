"""A worker has the jobs begin that are due, each once at a time, and asks for what it is free to do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from core.domain.work import Look, Turn
from core.errors import TransientError
from core.store import ServiceStore
from core.store.work import WorkStore
from worker.jobs.chore import Chore
from worker.jobs.look import BUSY_SECONDS, IDLE_SECONDS, REST_SECONDS, LookForWork
from worker.jobs.runner import Runner


@dataclass
class Shelf:
    """A database in which that is due, and which keeps what it was asked."""

    due: tuple[str, ...] = ()
    asked: list[tuple[list[str], float]] = field(default_factory=list)
    is_slow: bool = False
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def look_for_work(self, _worker: str, kinds: Sequence[str], wait_seconds: float) -> Look:
        self.asked.append((list(kinds), wait_seconds))
        self.is_asked.set()
        if self.is_slow:
            await asyncio.Event().wait()
        return Look(tuple(kind for kind in self.due if kind in kinds), looks=True, again_in_seconds=0)


@dataclass
class Bites:
    """A job that finds so much, bite after bite."""

    bites: list[int] = field(default_factory=list)
    runs: int = 0
    gone_away: bool = False

    async def run_once(self) -> int:
        self.runs += 1
        if self.gone_away:
            raise TransientError("database_unavailable", "The database cannot be reached.")
        return self.bites.pop(0) if self.bites else 0


@dataclass
class Desk:
    """One worker with two jobs; what it begins waits for `finish`."""

    shelf: Shelf
    begun: list[str] = field(default_factory=list)
    now: float = 100
    jobs: dict[str, Bites] = field(default_factory=lambda: {"push": Bites(), "events": Bites()})
    runner: Runner = field(default_factory=Runner)

    def __post_init__(self) -> None:
        store = cast(ServiceStore, self.shelf)
        self.look = LookForWork(store, "w", self.runner, self.jobs, self.begun.append, lambda: self.now)


async def test_what_is_due_begins_and_is_not_asked_for_while_it_runs() -> None:
    desk = Desk(Shelf(due=("push",)))
    desk.jobs["push"].bites = [3, 2]
    assert await desk.look.run_once() == 1
    assert await desk.look.run_once() == 1
    assert desk.begun == ["push"]
    assert desk.shelf.asked == [(["push", "events"], IDLE_SECONDS), (["events"], BUSY_SECONDS)]
    await desk.look.work("push")
    assert desk.jobs["push"].runs == 3
    await desk.look.run_once()
    assert desk.begun == ["push", "push"], "it found something: it may begin at once"


async def test_what_is_due_and_found_nothing_rests_for_a_second() -> None:
    desk = Desk(Shelf(due=("push",)))
    await desk.look.run_once()
    await desk.look.work("push")
    for _ in range(3):
        await desk.look.run_once()
    assert desk.begun == ["push"]
    assert desk.shelf.asked[-1] == (["events"], BUSY_SECONDS)
    desk.now += REST_SECONDS
    await desk.look.run_once()
    assert desk.begun == ["push", "push"]


async def test_a_database_that_went_away_during_a_job_lets_it_begin_again_a_second_later() -> None:
    desk = Desk(Shelf(due=("push",)))
    desk.jobs["push"].gone_away = True
    await desk.look.run_once()
    await desk.look.work("push")
    await desk.look.run_once()
    assert desk.begun == ["push"]
    desk.now += REST_SECONDS
    await desk.look.run_once()
    assert desk.begun == ["push", "push"]


async def test_a_worker_that_stops_waits_for_no_look() -> None:
    desk = Desk(Shelf(is_slow=True))
    looking = asyncio.create_task(desk.look.run_once())
    await desk.shelf.is_asked.wait()
    await desk.runner.stop(timeout_seconds=1)
    assert await asyncio.wait_for(looking, timeout=5) == 0


class Turns(WorkStore):
    """A database that gives a turn, and keeps what is said at its end."""

    def __init__(self, mark: str | None) -> None:
        self.mark, self.calls = mark, list[tuple[str, dict[str, Any]]]()

    async def _call(self, function: str, **arguments: Any) -> Any:
        self.calls.append((function, arguments))
        state = {"mark": self.mark} if self.mark else None
        return {"token": "t", "state": state, "asked_at": "2026-11-26T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [(None, 23, 23), (23, 24, 24), (24, 23, 24), (24, None, 24), (None, None, None)],
)
async def test_how_far_a_chore_is_done_never_goes_back(
    before: int | None, after: int | None, kept: int | None
) -> None:
    at = {None: None} | {day: datetime(2026, 11, day, tzinfo=UTC) for day in (23, 24)}
    marked = at[before]
    store = Turns(marked.isoformat() if marked else None)
    turn = await store.claim_chore("settle_usage", 20)
    assert turn == Turn("settle_usage", "t", marked, datetime(2026, 11, 26, tzinfo=UTC))
    assert await store.finish_chore(turn, at[after])
    reached = at[kept]
    assert store.calls[-1][1]["state"] == ({"mark": reached.isoformat()} if reached else None)


async def test_a_chore_is_done_to_its_end_by_whoever_has_the_turn_and_by_nobody_else() -> None:
    stopping = asyncio.Event()
    ours, theirs = Bites([5, 5, 1]), Bites([5])
    await Chore(cast(ServiceStore, Turns(None)), "forget_keys", 3600, ours, stopping).run_once()
    await Chore(cast(ServiceStore, Nobodys()), "forget_keys", 3600, theirs, stopping).run_once()
    assert (ours.runs, theirs.runs) == (4, 0)


class Nobodys:
    async def claim_chore(self, _name: str, _seconds: int) -> None:
        return None
