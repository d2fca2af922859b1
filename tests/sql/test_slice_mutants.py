"""The comparison of all keys with one of its parts taken away no longer notices a key that LiteLLM lost."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock
from uuid import UUID

import pytest

from core.domain import pushes
from core.flows import slices
from core.flows.drift import DriftFinder
from dev.stack import ROOT
from tests.sql.acting import by_service, key, let_pass
from tests.sql.test_drift_together import Both, both, live
from tests.sql.test_slices import Worker
from worker.jobs.sync import SettleUsage

__all__ = ["both"]

MIGRATIONS = ROOT / "supabase" / "migrations"
PACE = re.compile(r"create function public\.(?:\w+_drift_slice|\w+_chore)\(.*?\n\$\$;\n", re.DOTALL)
MOST_SLICES = 8
"""Twice as many as a round takes."""


async def shows_every_lost_key(both: Both) -> bool:
    """Whether keys of the first and of the last page show that LiteLLM lost them, although a worker died."""
    people = await both.people(4)
    held = sorted(
        (one for user_id in people for one in live(both.db, user_id)), key=lambda one: one["key_hash"]
    )
    # Of two accounts: what is found of one makes all of its keys due.
    lost = (next(one for one in held if one["user_id"] != held[-1]["user_id"]), held[-1])
    for one in lost:
        del both.standin.rows[str(one["key_hash"])]
    by_service(both.db, "claim_drift_slice", p_lease_seconds=300)
    let_pass(both.db, 301)
    worker = Worker(both)
    for _ in range(MOST_SLICES):
        await worker.compare()
        let_pass(both.db, max(worker.rests, default=3))
    await both.push()
    return all(is_shown(both, one["id"]) for one in lost)


async def shows_a_deleted_user(both: Both) -> bool:
    """Whether the keys of a user that was deleted in LiteLLM show it at the next look at usage."""
    (gone, _) = await both.people(2)
    job = SettleUsage(both.store, both.litellm, 20, DriftFinder(both.store, both.litellm))
    await job.run_once()
    for one in live(both.db, gone):
        del both.standin.rows[str(one["key_hash"])]
    both.standin.lose_user(str(gone))
    let_pass(both.db, 21)
    await job.run_once()
    await both.push()
    return all(is_shown(both, one["id"]) for one in live(both.db, gone))


def is_shown(both: Both, key_id: UUID) -> bool:
    told = key(both.db, key_id)
    return told["sync_status"] == "failed" and "rotate it" in str(told["last_error"])


def once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


def other(module: ModuleType, old: str, new: str) -> Any:
    """The same module with one change of its text."""
    changed = ModuleType(module.__name__)
    exec(compile(once(inspect.getsource(module), old, new), module.__name__, "exec"), changed.__dict__)  # noqa: S102
    return changed


@contextmanager
def comparing(old: str, new: str) -> Iterator[None]:
    changed = other(slices, old, new)
    with mock.patch("worker.jobs.drift.compare_slice", changed.compare_slice):
        yield


def alter(both: Both, old: str, new: str) -> None:
    """Change a function of the migration in this test's database."""
    for text in PACE.findall("".join(file.read_text() for file in sorted(MIGRATIONS.glob("*.sql")))):
        if old in text:
            both.db.execute(
                once(text, old, new).replace("create function", "create or replace function").encode()
            )
            return
    raise AssertionError(f"{old!r} is in none of the functions")


async def test_nothing_is_missed_while_no_part_is_gone(both: Both) -> None:
    assert await shows_every_lost_key(both)
    assert await shows_a_deleted_user(both)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("_each(key for key in held if key.wanted.key_hash <= step.after)", "_each(())", id="ours are not compared"),
        pytest.param("told = BEYOND if is_last else max([one.after, *listed])", "told = max([one.after, *listed])", id="a page ends with what LiteLLM lists"),
        pytest.param("mend=True", "mend=False", id="what differs is not made due"),
    ],
)  # fmt: skip
async def test_a_part_of_the_comparison_that_is_gone_is_noticed(both: Both, old: str, new: str) -> None:
    with comparing(old, new):
        assert not await shows_every_lost_key(both)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("where name = p_name and next_attempt_at <= now()", "where false", id="no slice falls due"),
        pytest.param("next_attempt_at = now() + make_interval(secs => p_lease_seconds)", "next_attempt_at = 'infinity'", id="a dead worker keeps its slice"),
        pytest.param("jsonb_build_object('page', p_page,", "jsonb_build_object('page', 1,", id="the first page is compared for ever"),
        pytest.param("now() + make_interval(secs => p_after_seconds)", "now() + interval '1 day'", id="the next slice waits until the night"),
    ],
)  # fmt: skip
async def test_a_part_of_its_pace_that_is_gone_is_noticed(both: Both, old: str, new: str) -> None:
    alter(both, old, new)
    assert not await shows_every_lost_key(both)


async def test_a_look_at_usage_that_misses_no_key_is_noticed(both: Both) -> None:
    changed = other(pushes, "if key.key_hash not in shown", "if False")
    with mock.patch("worker.jobs.sync.lost_keys", changed.lost_keys):
        assert not await shows_a_deleted_user(both)
