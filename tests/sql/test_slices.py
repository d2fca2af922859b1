"""All keys are compared a slice at a time, by one worker after another, at little of LiteLLM's time."""

from dataclasses import dataclass, field
from unittest import mock
from uuid import UUID

import pytest

from core.domain.drift import DriftStep
from core.flows import slices
from core.flows.drift import DriftFinder
from tests.sql.acting import by_owner, by_service, key, let_pass, row, value
from tests.sql.test_drift_together import Both, both, live
from worker.jobs.drift import CompareKeys
from worker.jobs.sync import SettleUsage

__all__ = ["both"]

CALL_SECONDS = 0.05
LATEST = "select coalesce(max(id), 0) from keyfund.drift_reports"
STANDS = "select state - 'report' from keyfund.chores where name = 'compare_keys'"
REPORTS = "select count(*) from keyfund.drift_reports"


@dataclass
class Worker:
    """One worker's job. Each look at its clock finds a call's time later; how it rests is kept."""

    both: Both
    round_seconds: float = 3
    now: float = 0
    rests: list[float] = field(default_factory=list)

    def clock(self) -> float:
        self.now += CALL_SECONDS
        return self.now

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    async def compare(self) -> int:
        job = CompareKeys(self.both.store, self.both.litellm, self.round_seconds, 5, self.rest, self.clock)
        return await job.run_once()

    async def go_round(self) -> int:
        """Compare until another report is kept; returns how many slices it took."""
        before = value(self.both.db, LATEST)
        for count in range(1, 50):
            assert await self.compare() == 1
            let_pass(self.both.db, self.rests[-1])
            if value(self.both.db, LATEST) != before:
                return count
        raise AssertionError("the round never ends")


def found(both: Both) -> dict[str, str]:
    """What the last round found: kinds by subject."""
    report = row(both.db, "select report from keyfund.drift_reports order by id desc limit 1")["report"]
    return {one["subject"]: one["kind"] for one in report["named"]}


def keys_of(both: Both, people: list[UUID]) -> list[str]:
    """Hashes of all their keys, in LiteLLM's order."""
    return sorted(str(one["key_hash"]) for user_id in people for one in live(both.db, user_id))


async def test_slice_after_slice_all_keys_are_compared_mended_and_told(both: Both) -> None:
    people = await both.people(4)
    both.row(people[0]).rpm_limit = 7
    both.row(people[3], 1).blocked = True
    worker = Worker(both)
    assert await worker.go_round() == 3  # of three keys each
    wrong = (live(both.db, people[0])[0], live(both.db, people[3])[1])
    assert found(both) == {f"key {one['id']}": "different" for one in wrong}
    kept = row(both.db, "select * from keyfund.drift_reports")
    assert (kept["complete"], kept["differences"]) == (True, 2)
    assert kept["report"]["compared"] + kept["report"]["waiting"] == 8
    assert by_service(both.db, "read_status")["drift"]["different"] == 2
    await both.push()
    assert (both.row(people[0]).rpm_limit, both.row(people[3], 1).blocked) == (100, False)
    await worker.go_round()
    assert found(both) == {}


async def test_litellm_is_left_alone_for_nineteen_times_what_its_calls_took(both: Both) -> None:
    await both.people(4)
    worker = Worker(both, round_seconds=0.001)
    await worker.go_round()
    assert worker.rests == pytest.approx([0.95] * 3)
    report = row(both.db, "select report from keyfund.drift_reports")["report"]
    assert report["call_seconds"] == pytest.approx(3 * CALL_SECONDS)


async def test_few_keys_are_compared_no_more_often_than_asked_for(both: Both) -> None:
    await both.people(4)
    worker = Worker(both, round_seconds=120)
    await worker.go_round()
    assert worker.rests == pytest.approx([40] * 3)
    worker.rests.clear()
    assert await worker.compare() == 1
    assert await worker.compare() == 0  # it is not due, for another worker neither
    assert len(worker.rests) == 1


async def test_another_worker_goes_on_where_one_died(both: Both) -> None:
    people = await both.people(4)
    assert await Worker(both).compare() == 1
    let_pass(both.db, 3)
    died = by_service(both.db, "claim_drift_slice", p_lease_seconds=300)
    assert (died["page"], died["after"]) == (2, keys_of(both, people)[2])
    assert await Worker(both).compare() == 0
    let_pass(both.db, 301)
    worker = Worker(both)
    assert await worker.go_round() == 2
    assert row(both.db, "select report from keyfund.drift_reports")["report"]["compared"] == 8


async def test_a_worker_that_comes_back_too_late_moves_nothing(both: Both) -> None:
    await both.people(4)
    late = await both.store.claim_drift_slice(300)
    assert late is not None
    let_pass(both.db, 301)
    assert await Worker(both).compare() == 1
    stands = value(both.db, STANDS)
    assert not await both.store.finish_drift_slice(late, DriftStep(9, "f", 9), 1)
    assert value(both.db, STANDS) == stands


async def test_a_slice_that_litellm_did_not_answer_is_compared_again(both: Both) -> None:
    await both.people(4)
    worker = Worker(both)
    assert await worker.compare() == 1
    let_pass(both.db, 3)
    before = value(both.db, STANDS)
    rightful, both.standin.master_key = both.standin.master_key, "sk-another-master-key"
    assert await worker.compare() == 0
    assert value(both.db, STANDS) == before
    assert worker.rests[-1] >= 10
    both.standin.master_key = rightful
    let_pass(both.db, worker.rests[-1])
    await worker.go_round()
    assert row(both.db, "select report from keyfund.drift_reports")["report"]["compared"] == 8


async def test_keys_that_move_between_the_pages_are_no_difference(both: Both) -> None:
    """One that was compared is deleted, so that the first of the next page comes on the page before."""
    people = await both.people(4)
    hashes = keys_of(both, people)
    worker = Worker(both)
    assert await worker.compare() == 1
    let_pass(both.db, 3)
    rows = {one: both.standin.rows.pop(one) for one in hashes[:2]}
    assert await worker.go_round() == 1
    assert found(both) == {}
    both.standin.rows |= rows
    assert await worker.compare() == 1
    let_pass(both.db, 3)
    both.standin.generate_key({"key": "sk-of-another-installation", "metadata": {"keyfund": "i2"}})
    await worker.go_round()
    assert found(both) == {}


async def test_a_litellm_that_lost_all_keys_is_noticed_for_each_account(both: Both) -> None:
    people = await both.people(4)
    both.standin.empty()
    worker = Worker(both)
    with mock.patch.object(slices, "ROWS", 3):
        assert await worker.go_round() == 3
    assert {f"account {user_id}" for user_id in people} <= set(found(both))
    assert set(found(both).values()) == {"missing"}
    await both.push()
    assert {one["sync_status"] for user_id in people for one in live(both.db, user_id)} == {"failed"}


async def test_of_rounds_that_found_nothing_the_latest_report_is_kept(both: Both) -> None:
    (user_id,) = await both.people(1)
    worker = Worker(both)
    both.row(user_id).rpm_limit = 7
    await worker.go_round()
    await both.push()
    for _ in range(3):
        await worker.go_round()
    assert value(both.db, REPORTS) == 2


async def test_while_the_breaker_is_open_nothing_is_compared(both: Both) -> None:
    await both.people(1)
    both.db.execute("update keyfund.gateways set opened_at = now() where name = 'litellm'")
    assert await Worker(both).compare() == 0


async def test_a_user_that_was_deleted_with_its_keys_is_noticed_at_the_next_look_at_usage(
    both: Both,
) -> None:
    people = await both.people(2)
    job = SettleUsage(both.store, both.litellm, 20, DriftFinder(both.store, both.litellm))
    await job.run_once()
    (gone,) = people[:1]
    for one in live(both.db, gone):
        del both.standin.rows[one["key_hash"]]
    both.standin.lose_user(str(gone))
    let_pass(both.db, 21)
    await job.run_once()
    await both.push()
    for one in live(both.db, gone):
        told = key(both.db, one["id"])
        assert told["sync_status"] == "failed"
        assert told["last_error"].startswith("litellm_key_vanished: LiteLLM lost this key: rotate it")
    assert {one["sync_status"] for one in live(both.db, people[1])} == {"synced"}


async def test_a_key_that_litellm_lost_comes_back_with_a_rotation(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    (lost,) = live(both.db, user_id)
    del both.standin.rows[lost["key_hash"]]
    await Worker(both).go_round()
    await both.push()
    assert key(both.db, lost["id"])["sync_status"] == "failed"
    by_owner(both.db, user_id, "rotate_virtual_key", key_id=lost["id"], overlap_seconds=0)
    await both.push()
    back = key(both.db, lost["id"])
    assert (back["sync_status"], back["name"]) == ("synced", lost["name"])
    assert back["key_hash"] in both.standin.rows
