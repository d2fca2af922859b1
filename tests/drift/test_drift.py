"""Drift over thousands of keys: nothing when all is well, the very key when it is not, mended by a push."""

import time
from hashlib import sha256
from threading import Thread

from core.domain.routes import PROOFLESS, paths_of
from tests.drift.shelf import Ended, Json, Shelf
from tests.support import eventually

NOWHERE = "http://127.0.0.1:9"
GROWTH_MB = 40
SECONDS_PER_THOUSAND = 6


def named(report: Json) -> dict[str, str]:
    """The subject of each difference, and its kind."""
    return {one["subject"]: one["kind"] for one in report["named"]}


def done(report: Json) -> dict[str, str]:
    return {one["subject"]: one["done"] for one in report["named"]}


def test_all_keys_agree_in_minutes_and_bounded_memory(shelf: Shelf) -> None:
    bare = shelf.drift(LITELLM_BASE_URL=NOWHERE)  # all that a run needs but the keys
    began = time.monotonic()
    ended = shelf.drift()
    took = time.monotonic() - began
    report = ended.report(0)
    figures = f"{shelf.keys} keys in {took:.1f} s, {bare.peak_mb:.0f} MB bare, {ended.peak_mb:.0f} MB at most"
    print(figures)  # noqa: T201 (the figures are wanted)
    assert report["complete"]
    assert (report["compared"], report["others"], report["waiting"]) == (*shelf.counts(), 0)
    assert (report["differences"], report["named"]) == (0, [])
    assert took < 20 + SECONDS_PER_THOUSAND * shelf.keys / 1000, figures
    assert ended.peak_mb - bare.peak_mb < GROWTH_MB, figures


def test_what_could_not_be_compared_is_never_a_zero(shelf: Shelf) -> None:
    ended = shelf.operate("drift", LITELLM_BASE_URL=NOWHERE)
    assert ended.status == 2
    assert "NOT COMPARED TO THE END: LiteLLM cannot be reached." in ended.out


def test_each_kind_of_difference_is_named_then_mended_and_others_are_left_alone(shelf: Shelf) -> None:
    strangers = shelf.strangers()
    limits, gone, team, routes, budget, spend, revoked, stopped, lost, blocked, unmarked, parallel = (
        shelf.key(number) for number in range(11, 23)
    )
    shelf.change_key(limits, "rpm_limit = 7")
    shelf.lose("LiteLLM_VerificationToken", "token", gone["key_hash"])
    of_team = shelf.ask("POST", "/team/new", json={"team_alias": "another"}).json()["team_id"]
    shelf.change_key(team, f"team_id = '{of_team}'")
    shelf.change_key(routes, "allowed_routes = '{}'")
    shelf.change_key(unmarked, """metadata = '{"team": "blue"}'""")
    shelf.change_key(parallel, "max_parallel_requests = null")
    shelf.change_user(budget["user_id"], "max_budget = 1000")
    shelf.change_user(spend["user_id"], "spend = 0.5")
    # As after a restore of LiteLLM's database: revoked, deleted there, and back.
    shelf.stop_here(
        revoked, "state = 'revoked', revoked_at = now(), deleted_at = now(), litellm_key_id = null"
    )
    shelf.stop_here(stopped, "state = 'blocked', blocked_by = 'owner'")
    shelf.lose("LiteLLM_UserTable", "user_id", lost["user_id"])
    shelf.change_key(blocked, "blocked = true")
    extra = sha256(b"sk-nobody-knows").hexdigest()
    shelf.add_key(extra, shelf.one("select installation_id::text from keyfund.settings"))
    expected = {
        f"key {limits['id']}": "different",
        f"key {gone['id']}": "missing",
        f"key {team['id']}": "escaped",
        f"key {routes['id']}": "escaped",
        f"key {unmarked['id']}": "escaped",
        f"key {parallel['id']}": "different",
        f"account {budget['user_id']}": "different",
        f"account {spend['user_id']}": "backwards",
        f"key {revoked['id']}": "alive",
        f"key {stopped['id']}": "alive",
        f"account {lost['user_id']}": "missing",
        f"key {blocked['id']}": "different",
        f"key hash {extra}": "extra",
    }
    report = shelf.drift().report(1)
    assert named(report) == expected
    assert set(done(report).values()) == {""}
    assert shelf.one("select count(*) from keyfund.pushes where next_attempt_at is not null") == 0
    assert not shelf.shown(extra)["blocked"]

    report = shelf.drift("--mend").report(1)
    assert named(report) == expected
    at_once = {f"key {revoked['id']}", f"key hash {extra}"}
    assert done(report) == {subject: "blocked" if subject in at_once else "due" for subject in expected}
    assert shelf.shown(extra)["blocked"]
    assert shelf.shown(revoked["key_hash"])["blocked"]

    shelf.let_push()
    report = shelf.drift().report(0)
    assert (report["waiting"], report["stopped_extras"]) == (1, 1)  # the key that vanished is parked
    assert shelf.key(12)["last_error"].startswith("litellm_key_vanished")
    assert shelf.shown(limits["key_hash"])["rpm_limit"] == 100
    assert shelf.shown(team["key_hash"])["team_id"] is None
    assert shelf.shown(routes["key_hash"])["allowed_routes"] == list(paths_of(PROOFLESS))
    guard = {"in_flight": 20, "routes": {}}
    assert shelf.shown(unmarked["key_hash"])["metadata"]["keyfund_guard"] == guard
    assert shelf.shown(unmarked["key_hash"])["metadata"]["team"] == "blue"
    assert shelf.shown(parallel["key_hash"])["max_parallel_requests"] == 10
    assert shelf.shown(stopped["key_hash"])["blocked"]
    assert not shelf.shown(blocked["key_hash"])["blocked"]
    # Spent money stays spent: 10 dollars less the 2 that were booked; LiteLLM remembers 50 cents of them.
    user = shelf.ask("GET", "/v2/user/info", params={"user_id": spend["user_id"]}).json()
    assert (user["max_budget"], user["spend"]) == (8.5, 0.5)
    assert shelf.strangers() == strangers


def test_a_role_is_named_until_a_person_takes_it_back(shelf: Shelf) -> None:
    user_id = shelf.account(31)
    shelf.change_user(user_id, "user_role = 'proxy_admin'")
    assert named(shelf.drift("--mend").report(1)) == {f"account {user_id}": "escaped"}
    with shelf.working():
        query = "select refusals from keyfund.pushes where account_id = %s"
        assert eventually(lambda: shelf.one(query, user_id) > 0, seconds=60)
        assert named(shelf.drift().report(1)) == {f"account {user_id}": "escaped"}
        shelf.change_user(user_id, "user_role = null")
        shelf.one("select keyfund.touch_account(%s)", user_id)
    shelf.let_push()
    shelf.drift().report(0)


SHARE_PERCENT = 25
"""More than in production, so that a round does not outlast the test's patience."""


def test_the_worker_compares_all_keys_at_no_more_than_its_share_of_litellm_s_time(shelf: Shelf) -> None:
    key, gone = shelf.key(41), shelf.key(42)
    shelf.change_key(key, "tpm_limit = 1")
    shelf.lose("LiteLLM_VerificationToken", "token", gone["key_hash"])
    shelf.db.execute(
        "update keyfund.chores set next_attempt_at = now(), state = null, lease_token = null"
        " where name = 'compare_keys'"
    )
    before = shelf.one("select coalesce(max(id), 0) from keyfund.drift_reports")
    seconds = 300 * max(1, shelf.keys // 10_000)
    with shelf.working(DRIFT_SHARE_PERCENT=str(SHARE_PERCENT)):
        assert eventually(lambda: shelf.shown(key["key_hash"])["tpm_limit"] == 10_000, seconds=seconds)
        assert eventually(lambda: shelf.key(42)["sync_status"] == "failed", seconds=seconds)
        assert shelf.key(42)["last_error"].startswith("litellm_key_vanished")
        ended = "select max(id) > %s from keyfund.drift_reports"
        assert eventually(lambda: bool(shelf.one(ended, before)), seconds=seconds)
    report = shelf.one("select report from keyfund.drift_reports where id > %s order by id limit 1", before)
    assert (report["kinds"]["different"], report["kinds"]["missing"]) == (1, 1)
    share = """select (report ->> 'call_seconds')::float / extract(epoch from ended_at - began_at)
        from keyfund.drift_reports where id > %s order by id limit 1"""
    # A little more: the last slice's rest is not in it.
    assert 0 < float(shelf.one(share, before)) < 1.1 * SHARE_PERCENT / 100


def test_keys_that_come_and_go_during_the_walk_are_no_difference(shelf: Shelf) -> None:
    """Others make and delete keys all the time, which moves rows between the pages of LiteLLM's list."""
    ended: list[Ended] = []
    thread = Thread(target=lambda: ended.append(shelf.drift()))
    thread.start()
    moves = 0
    while thread.is_alive():
        digest = f"{moves:060x}feed"
        shelf.add_key(digest, "another")
        thread.join(0.2)
        shelf.lose("LiteLLM_VerificationToken", "token", digest)
        moves += 1
    report = ended[0].report(0)
    assert moves > 5
    assert report["compared"] + report["waiting"] == shelf.counts()[0]
