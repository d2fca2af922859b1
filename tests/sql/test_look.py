"""One look tells all that is due: just what a claim would get, once, and by one worker that waits for it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    all_by_service,
    at_once,
    by_owner,
    by_service,
    claim,
    finish,
    let_pass,
    make_due,
    open_order,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database, eventually

KINDS = ("push_accounts", "handle_events", "verify_orders", "roll_up_usage", "count_shares", "retire_keys")
CHORES = "select array_agg(name order by name) from keyfund.chores"
OF_LITELLM = {"push_accounts", "roll_up_usage", "count_shares", "compare_keys", "settle_usage"}
TURN_SECONDS = 1.25


def look(db: Connection, worker: str = "w1", *kinds: str, wait_seconds: float = 0) -> Row:
    asked = list(kinds or (*KINDS, *chores(db)))
    told: Row = by_service(db, "look_for_work", p_worker=worker, p_kinds=asked, p_wait_seconds=wait_seconds)
    return told


def chores(db: Connection) -> list[str]:
    return list(value(db, CHORES))


def due(db: Connection, *kinds: str) -> list[str]:
    return list(look(db, "w1", *kinds)["due"])


def break_litellm(db: Connection) -> None:
    for _ in range(3):
        by_service(db, "report_gateway", p_name="litellm", p_ok=False)


# --- what is due --------------------------------------------------------------------------------------------


def push_is_due(db: Connection) -> None:
    by_owner(db, sign_up(db), "create_virtual_key")


def event_is_due(db: Connection) -> None:
    told = {"fingerprint": "f", "event": "charge.success", "reference": "kf-x", "body": "{}"}
    by_service(db, "receive_events", p_provider="paystack", p_events=Jsonb([{**told, "lease_seconds": 0}]))


def order_is_due(db: Connection) -> None:
    open_order(db, sign_up(db))
    let_pass(db, 121)


def days_are_due(db: Connection) -> None:
    user_id = sign_up(db)
    synced_key(db, user_id)
    make_due(db, user_id)
    finish(db, claim(db, user_id), spend_micros=50_000)
    let_pass(db, 31)


def old_string_is_due(db: Connection) -> None:
    user_id = sign_up(db)
    key = synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=key["id"], overlap_seconds=60)
    let_pass(db, 61)


NINE = {"p_limit": 9, "p_lease_seconds": 60}
DUE: dict[str, tuple[Callable[[Connection], None], Callable[[Connection], Any]]] = {
    "push_accounts": (
        push_is_due,
        lambda db: all_by_service(db, "claim_pushes", p_limit=9, p_lease_seconds=60),
    ),
    "handle_events": (
        event_is_due,
        lambda db: all_by_service(db, "claim_events", p_limit=9, p_lease_seconds=60),
    ),
    "verify_orders": (order_is_due, lambda db: all_by_service(db, "claim_verifications", p_limit=9)),
    "roll_up_usage": (days_are_due, lambda db: by_service(db, "claim_rollups", **NINE)),
    "retire_keys": (old_string_is_due, lambda db: by_service(db, "retire_keys", p_limit=9)),
}


@pytest.mark.parametrize("kind", DUE)
def test_a_kind_is_due_from_when_there_is_something_to_claim_until_it_is_claimed(
    db: Connection, kind: str
) -> None:
    make, take = DUE[kind]
    assert due(db, kind) == []
    make(db)
    assert due(db, kind) == [kind]
    assert take(db)
    assert due(db, kind) == []


def test_every_chore_is_due_at_first_but_the_nightly_one_and_then_not_before_its_time(db: Connection) -> None:
    names = [name for name in chores(db) if name != "reconcile"]
    assert due(db, *names, "reconcile") == names
    for name in names:
        assert by_service(db, "claim_chore", p_name=name, p_lease_seconds=60)["state"] is None
        assert by_service(db, "claim_chore", p_name=name, p_lease_seconds=60) is None
    assert due(db, *names) == []
    let_pass(db, 61)
    assert due(db, *names) == names


def test_only_what_a_worker_would_take_up_is_told(db: Connection) -> None:
    push_is_due(db)
    event_is_due(db)
    assert due(db, "handle_events", "verify_orders") == ["handle_events"]


def test_nothing_of_litellm_is_due_while_its_breaker_is_open_but_a_probe(db: Connection) -> None:
    push_is_due(db)
    days_are_due(db)
    assert OF_LITELLM & set(due(db))
    break_litellm(db)
    let_pass(db, 6)
    told = set(due(db, *KINDS, *chores(db), "probe_litellm"))
    assert told & OF_LITELLM == set()
    assert {"probe_litellm", "heal_accounts"} <= told
    assert by_service(db, "claim_probe", p_name="litellm")
    assert due(db, "probe_litellm") == []


# --- chores -------------------------------------------------------------------------------------------------


def test_one_of_many_workers_does_a_chore(database: Database) -> None:
    turns = at_once(
        database, 8, lambda db, _: by_service(db, "claim_chore", p_name="settle_usage", p_lease_seconds=60)
    )
    assert len([turn for turn in turns if turn is not None]) == 1


def test_a_worker_that_comes_too_late_leaves_a_chore_where_another_has_it(db: Connection) -> None:
    late = by_service(db, "claim_chore", p_name="settle_usage", p_lease_seconds=60)
    let_pass(db, 61)
    now = by_service(db, "claim_chore", p_name="settle_usage", p_lease_seconds=60)
    reached = {"p_name": "settle_usage", "p_state": Jsonb({"mark": "late"})}
    assert not by_service(db, "finish_chore", p_token=late["token"], **reached)
    assert by_service(
        db, "finish_chore", p_token=now["token"], **{**reached, "p_state": Jsonb({"mark": "now"})}
    )
    let_pass(db, 61)
    again = by_service(db, "claim_chore", p_name="settle_usage", p_lease_seconds=60)
    assert again["state"] == {"mark": "now"}


def finish_settling(db: Connection, turn: Row, mark: str) -> bool:
    state = Jsonb({"mark": mark})
    done = by_service(db, "finish_chore", p_name="settle_usage", p_token=turn["token"], p_state=state)
    return bool(done)


def test_a_nightly_chore_that_is_finished_waits_for_the_next_night(db: Connection) -> None:
    db.execute("update keyfund.chores set next_attempt_at = now() where name = 'reconcile'")
    turn = by_service(db, "claim_chore", p_name="reconcile", p_lease_seconds=3600)
    assert by_service(db, "finish_chore", p_name="reconcile", p_token=turn["token"])
    assert value(
        db, "select next_attempt_at = keyfund.next_night() from keyfund.chores where name = 'reconcile'"
    )


# --- who looks ----------------------------------------------------------------------------------------------


def test_one_of_five_looks_and_the_others_come_by_in_turns(db: Connection) -> None:
    told = [look(db, f"w{number}", "verify_orders") for number in range(5)]
    assert [one["looks"] for one in told] == [True, False, False, False, False]
    assert told[0]["again_in_seconds"] == 0
    for turn, one in enumerate(told[1:], start=1):
        assert one["again_in_seconds"] == pytest.approx(turn * TURN_SECONDS, abs=0.5)
    assert look(db, "w0", "verify_orders")["looks"]


def test_the_others_take_up_what_is_due_too(db: Connection) -> None:
    assert look(db, "w0", "handle_events")["looks"]
    event_is_due(db)
    told = look(db, "w1", "handle_events")
    assert (told["looks"], told["due"]) == (False, ["handle_events"])


def test_another_looks_when_the_one_that_looked_is_gone_for_a_second(db: Connection) -> None:
    look(db, "w0", "verify_orders")
    assert not look(db, "w1", "verify_orders")["looks"]
    let_pass(db, 1.1)
    assert look(db, "w1", "verify_orders")["looks"]
    assert not look(db, "w0", "verify_orders")["looks"]


def test_the_dead_keep_no_turns(db: Connection) -> None:
    for number in range(9):
        look(db, f"w{number}", "verify_orders")
    let_pass(db, 61)
    look(db, "w0", "verify_orders")
    assert look(db, "new", "verify_orders")["again_in_seconds"] == pytest.approx(TURN_SECONDS, abs=0.5)


WAITS = """select exists (select from pg_stat_activity
    where datname = current_database() and wait_event = 'PgSleep' and state = 'active')"""


def test_the_one_that_looks_is_answered_once_something_is_due_and_nobody_looks_beside_it(
    database: Database, db: Connection
) -> None:
    with database.connect() as other, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(look, other, "w1", "handle_events", wait_seconds=4)
        assert eventually(lambda: value(db, WAITS))
        beside = look(db, "w2", "handle_events", wait_seconds=4)
        assert (beside["due"], beside["looks"]) == ([], False)
        event_is_due(db)
        told = answer.result(timeout=20)
    assert (told["due"], told["looks"]) == (["handle_events"], True)
    assert time.monotonic() - began < 3.5, "it was answered before its time was up"


def test_a_wait_ends_long_before_a_statement_would_be_cut_off(db: Connection) -> None:
    db.execute("set statement_timeout = '1s'")
    try:
        assert look(db, "w1", "verify_orders", wait_seconds=4)["looks"]
    finally:
        db.execute("reset statement_timeout")


def test_a_worker_is_seen_by_its_looks_and_forgotten_after_a_day(db: Connection) -> None:
    look(db, "old", "verify_orders")
    let_pass(db, 86_401)
    look(db, "new", "verify_orders")
    assert value(db, "select array_agg(name) from keyfund.workers") == ["new"]
    assert by_service(db, "read_status")["worker_last_seen"] is not None
