"""The inbox: each event once, one process at a time, until it is handled."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    all_by_service,
    at_once,
    by_service,
    credit,
    let_pass,
    open_order,
    payment,
    row,
    sign_up,
    value,
)
from tests.support import Connection, Database


def delivery(fingerprint: str, reference: str | None = None, event: str | None = "charge.success") -> Row:
    return {
        "fingerprint": fingerprint,
        "event": event,
        "reference": reference,
        "body": "{}",
        "lease_seconds": 60,
    }


def receive(
    db: Connection, fingerprint: str = "f1", reference: str | None = None, event: str = "charge.success"
) -> Row:
    return receive_all(db, delivery(fingerprint, reference, event))[fingerprint]


def receive_all(db: Connection, *deliveries: Row) -> dict[str, Row]:
    received: dict[str, Row] = by_service(
        db, "receive_events", p_provider="paystack", p_events=Jsonb(list(deliveries))
    )
    return received


def claim_events(db: Connection, limit: int = 10) -> list[Row]:
    return all_by_service(db, "claim_events", p_limit=limit, p_lease_seconds=60)


def event(db: Connection) -> Row:
    return row(db, "select * from keyfund.events")


def test_an_event_that_is_delivered_fifty_times_at_once_is_one_and_leased_to_one(
    database: Database, db: Connection
) -> None:
    answers = at_once(database, 50, lambda connection, _: receive(connection))
    (leased,) = [answer for answer in answers if answer["new"]]
    stored = event(db)
    assert (stored["id"], str(stored["lease_token"])) == (leased["id"], leased["token"])
    assert 1 < stored["deliveries"] <= 50
    assert claim_events(db) == []


def test_each_delivery_is_counted(db: Connection) -> None:
    for _ in range(5):
        receive(db)
    assert event(db)["deliveries"] == 5


def test_a_repetition_does_not_wait_for_the_event_being_handled(database: Database, db: Connection) -> None:
    receive(db)
    with database.connect() as other, other.transaction():
        other.execute("select from keyfund.events for update")
        db.execute("set lock_timeout = '100ms'")
        assert receive(db) == {"new": False}


def test_the_first_event_of_a_payment_sets_its_time_on_the_timeline(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    receive(db, "f1", order["reference"], "refund.pending")
    assert payment(db, order["reference"])["webhook_at"] is None
    receive(db, "f2", order["reference"])
    first = payment(db, order["reference"])["webhook_at"]
    assert first is not None
    receive(db, "f3", order["reference"])
    assert payment(db, order["reference"])["webhook_at"] == first


def test_an_event_about_nothing_of_ours_is_kept_too(db: Connection) -> None:
    assert receive(db, reference="somebody-elses")["new"] is True
    assert receive(db, "f2", None, "transfer.success")["new"] is True
    assert value(db, "select count(*) from keyfund.events") == 2


def test_an_event_whose_receiver_died_is_leased_to_another(db: Connection) -> None:
    received = receive(db, reference="kf-1")
    assert claim_events(db) == []
    let_pass(db, 61)
    (again,) = claim_events(db)
    assert (again["id"], again["event"], again["reference"]) == (received["id"], "charge.success", "kf-1")
    assert again["token"] != received["token"]
    assert (
        by_service(db, "finish_event", p_id=received["id"], p_token=received["token"], p_outcome="late")
        is False
    )
    assert (
        by_service(db, "finish_event", p_id=again["id"], p_token=again["token"], p_outcome="credited") is True
    )
    done = event(db)
    assert (done["outcome"], done["next_attempt_at"], done["lease_token"]) == ("credited", None, None)


def test_a_handled_event_is_not_handled_again(db: Connection) -> None:
    received = receive(db)
    arguments = {"p_id": received["id"], "p_token": received["token"]}
    assert by_service(db, "finish_event", **arguments, p_outcome="credited") is True
    assert by_service(db, "finish_event", **arguments, p_outcome="again") is False
    assert by_service(db, "fail_event", **arguments, p_error="late") is False
    assert receive(db) == {"new": False}
    let_pass(db, 86_400)
    assert claim_events(db) == []


def test_workers_that_claim_at_once_get_each_event_once(database: Database, db: Connection) -> None:
    for number in range(20):
        receive(db, f"f{number}")
    let_pass(db, 61)
    claimed = at_once(database, 8, lambda connection, _: claim_events(connection, 5))
    everything = [one["id"] for some in claimed for one in some]
    assert len(everything) == len(set(everything))
    assert len(everything) + len(claim_events(db, 100)) == 20


def test_an_event_that_failed_is_tried_again_for_as_long_as_it_takes(db: Connection) -> None:
    taken = receive(db)
    for count in range(1, 16):
        assert by_service(
            db, "fail_event", p_id=taken["id"], p_token=taken["token"], p_error="paystack_unreachable"
        )
        after = event(db)
        assert (after["attempts"], after["lease_token"]) == (count, None)
        waits = value(db, "select extract(epoch from next_attempt_at - now()) from keyfund.events")
        assert 0 < waits <= 300
        let_pass(db, 301)
        (taken,) = claim_events(db)


def test_the_event_that_is_due_longest_is_claimed_first(db: Connection) -> None:
    for number in range(3):
        receive(db, f"f{number}")
        let_pass(db, 100)
    ids = [claim_events(db, 1)[0]["id"] for _ in range(3)]
    assert ids == sorted(ids)


def test_the_backlog_tells_how_many_events_wait_and_since_when(db: Connection) -> None:
    receive(db)
    let_pass(db, 90)
    status = by_service(db, "read_status")
    assert status["events"] == 1
    assert 90 <= status["oldest_seconds"] < 120


def test_events_that_come_together_are_told_apart(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    receive(db, "f2")
    told = receive_all(db, delivery("f3", "kf-x"), delivery("f1", order["reference"]), delivery("f2"))
    assert {name: one["new"] for name, one in told.items()} == {"f1": True, "f2": False, "f3": True}
    assert told["f1"]["order"]["reference"] == order["reference"]
    assert told["f3"]["order"] is None
    assert receive_all(db) == {}


def test_events_that_come_together_are_all_stored_or_none(db: Connection) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        receive_all(db, delivery("f1"), delivery("f2", event=None), delivery("f3"))
    assert value(db, "select count(*) from keyfund.events") == 0


def test_crowds_of_the_same_events_do_not_stop_each_other(database: Database, db: Connection) -> None:
    names = [f"f{number}" for number in range(20)]

    def receive_some(connection: Connection, number: int) -> dict[str, Row]:
        mine = names if number % 2 else names[::-1]
        return receive_all(connection, *map(delivery, mine))

    told = at_once(database, 16, receive_some)
    assert [sum(one[name]["new"] for one in told) for name in names] == [1] * 20


def test_the_credit_handles_the_event_that_told_of_it(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    received = receive(db, "f1", order["reference"])
    named = {"p_event_id": received["id"], "p_event_token": received["token"]}
    assert credit(db, order, **named)["credited"] is True
    done = event(db)
    assert (done["outcome"], done["next_attempt_at"], done["lease_token"]) == ("credited", None, None)


def test_a_credit_leaves_an_event_alone_that_another_handles(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    received = receive(db, "f1", order["reference"])
    let_pass(db, 61)
    (again,) = claim_events(db)
    named = {"p_event_id": received["id"], "p_event_token": received["token"]}
    assert credit(db, order, **named)["credited"] is True
    assert event(db)["handled_at"] is None
    named = {"p_event_id": again["id"], "p_event_token": again["token"]}
    assert credit(db, order, **named)["credited"] is False
    assert event(db)["handled_at"] is None  # nothing was credited: its handler says what became of it


def test_the_credit_leases_the_account_to_whoever_pushes_it(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    credited = credit(db, order, p_lease_seconds=40)
    assert credited["push"]["user_id"] == credited["user_id"]
    assert credited["push"]["budget_micros"] == (500 + credited["credits"]) * 20_000
    assert by_service(db, "claim_push", p_account_id=credited["user_id"], p_lease_seconds=40) is None
    let_pass(db, 41)
    assert by_service(db, "claim_push", p_account_id=credited["user_id"], p_lease_seconds=40) is not None


def test_the_credit_leaves_the_account_to_whoever_pushes_it_already(db: Connection) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    db.execute("update keyfund.pushes set next_attempt_at = now()")
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=40) is not None
    credited = credit(db, order, p_lease_seconds=40)
    assert (credited["credited"], credited["push"]) == (True, None)
