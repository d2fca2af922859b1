"""The circuit breaker that all pushers share: it opens, one asks, and all that waited goes."""

from uuid import UUID

from tests.sql.acting import (
    Row,
    account,
    all_by_service,
    at_once,
    by_owner,
    by_service,
    claim,
    fail,
    finish,
    key,
    let_pass,
    results,
    row,
    sign_up,
    value,
)
from tests.support import Connection, Database


def gateway(db: Connection) -> Row:
    return row(db, "select failures, opened_at from keyfund.gateways where name = 'litellm'")


def report(db: Connection, ok: bool) -> None:
    by_service(
        db, "report_gateway", p_name="litellm", p_ok=ok, p_error=None if ok else "litellm_unreachable: Away."
    )


def may_ask(db: Connection) -> bool:
    return bool(by_service(db, "claim_probe", p_name="litellm"))


def breaker(db: Connection) -> str:
    return str(by_service(db, "read_status")["breaker"])


def due_account(db: Connection) -> UUID:
    user_id = sign_up(db)
    by_owner(db, user_id, "create_virtual_key")
    return user_id


def outage(db: Connection) -> None:
    for _ in range(3):
        report(db, ok=False)


def test_the_third_failure_in_a_row_opens_it(db: Connection) -> None:
    states = []
    for _ in range(3):
        report(db, ok=False)
        states.append(breaker(db))
    assert states == ["closed", "closed", "open"]


def test_a_success_between_failures_keeps_it_closed(db: Connection) -> None:
    for ok in (False, False, True, False, False):
        report(db, ok)
    assert breaker(db) == "closed"


def test_failures_of_different_pushers_add_up(db: Connection) -> None:
    for kind in ("transient", "unknown", "transient"):
        fail(db, claim(db, due_account(db)), kind)
    assert breaker(db) == "open"


def test_a_confirmed_wallet_closes_it(db: Connection) -> None:
    user_id = due_account(db)
    push = claim(db, user_id)
    outage(db)
    finish(db, push)
    assert breaker(db) == "closed"
    assert gateway(db)["failures"] == 0


def test_while_it_is_open_one_of_many_may_ask_at_a_time(database: Database, db: Connection) -> None:
    outage(db)
    let_pass(db, 6)
    assert breaker(db) == "half-open"
    assert sum(at_once(database, 10, lambda connection, _: may_ask(connection))) == 1
    assert not may_ask(db)


def test_who_asked_and_died_is_followed_by_another(db: Connection) -> None:
    outage(db)
    let_pass(db, 6)
    assert may_ask(db)
    let_pass(db, 14)
    assert not may_ask(db)
    let_pass(db, 2)
    assert may_ask(db)


def test_a_failed_question_is_asked_again_within_five_seconds(db: Connection) -> None:
    outage(db)
    let_pass(db, 6)
    assert may_ask(db)
    report(db, ok=False)
    assert not may_ask(db)
    let_pass(db, 5.1)
    assert may_ask(db)


def test_a_gateway_that_is_silent_is_asked_now_and_then(db: Connection) -> None:
    report(db, ok=True)
    assert not may_ask(db)
    let_pass(db, 26)
    assert may_ask(db)
    assert not may_ask(db)


def test_since_when_it_is_open_is_not_forgotten_by_later_failures(db: Connection) -> None:
    outage(db)
    let_pass(db, 60)
    before = gateway(db)["opened_at"]
    report(db, ok=False)
    assert gateway(db)["opened_at"] == before


def test_when_it_closes_every_account_that_waited_is_due_at_once(db: Connection) -> None:
    waiting = [due_account(db) for _ in range(4)]
    for user_id in waiting[:3]:
        fail(db, claim(db, user_id), "transient", p_retry_after_seconds=50)
    assert breaker(db) == "open"
    report(db, ok=True)
    pushes = all_by_service(db, "claim_pushes", p_limit=10, p_lease_seconds=60)
    assert {push["user_id"] for push in pushes} == {str(user_id) for user_id in waiting}


def test_when_it_closes_the_keys_that_waited_go_with_their_accounts(db: Connection) -> None:
    waiting = [due_account(db) for _ in range(3)]
    for user_id in waiting:
        fail(db, claim(db, user_id), "transient", p_retry_after_seconds=50)
    report(db, ok=True)
    pushes = all_by_service(db, "claim_pushes", p_limit=10, p_lease_seconds=60)
    assert [len(push["keys"]) for push in pushes] == [1, 1, 1]


def test_when_it_closes_what_a_person_has_to_look_at_stays_parked(db: Connection) -> None:
    user_id = due_account(db)
    for _ in range(5):
        push = claim(db, user_id)
        finish(db, push, results(push, "refused"))
        let_pass(db, 120)
    outage(db)
    report(db, ok=True)
    parked = key(db, value(db, "select id from public.virtual_keys"))
    assert (parked["sync_status"], parked["next_attempt_at"]) == ("failed", None)
    assert account(db, user_id)["next_attempt_at"] is None


def test_when_it_closes_an_account_that_is_being_pushed_is_left_alone(db: Connection) -> None:
    user_id = due_account(db)
    push = claim(db, user_id)
    before = account(db, user_id)
    outage(db)
    report(db, ok=True)
    assert account(db, user_id) == before
    assert finish(db, push)


def test_pushers_that_find_litellm_back_at_once_do_not_get_in_each_other_s_way(
    database: Database, db: Connection
) -> None:
    people = [due_account(db) for _ in range(8)]
    pushes = [claim(db, user_id) for user_id in people]
    outage(db)
    assert all(at_once(database, 8, lambda connection, number: finish(connection, pushes[number])))
    assert breaker(db) == "closed"
