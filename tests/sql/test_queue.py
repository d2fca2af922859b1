"""Whose turn it is: those who change keys without end go behind those who do not."""

from uuid import UUID

import pytest

from tests.sql.acting import (
    account,
    all_by_service,
    append,
    by_owner,
    by_service,
    claim,
    finish,
    let_pass,
    sign_up,
    synced_key,
)
from tests.support import Connection

DONE = "update keyfund.pushes set next_attempt_at = null, lease_token = null where account_id = %s"


def toggle(db: Connection, user_id: UUID, key_id: UUID, times: int = 2) -> None:
    for _ in range(times):
        for function in ("unblock", "block"):
            by_owner(db, user_id, f"{function}_virtual_key", key_id=key_id)


def restless(db: Connection, count: int) -> list[UUID]:
    """People who block and unblock a key again and again, and have blocked it last."""
    people = [sign_up(db) for _ in range(count)]
    for user_id in people:
        made = synced_key(db, user_id)
        by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
        toggle(db, user_id, made["id"])
    return people


def claimed(db: Connection, limit: int) -> list[str]:
    pushes = all_by_service(db, "claim_pushes", p_limit=limit, p_lease_seconds=60)
    return [push["user_id"] for push in pushes]


def texts(people: list[UUID]) -> set[str]:
    return {str(one) for one in people}


@pytest.mark.parametrize("limit", [1, 2, 4, 12])
def test_a_creation_is_claimed_at_once_however_many_block_and_unblock(db: Connection, limit: int) -> None:
    restless(db, 12)
    newcomer = sign_up(db)
    by_owner(db, newcomer, "create_virtual_key")
    assert str(newcomer) in claimed(db, limit)


def test_of_the_restless_one_is_pushed_at_a_time_and_each_gets_its_turn(db: Connection) -> None:
    people = restless(db, 3)
    turns = []
    for _ in people:
        (first,) = claimed(db, 12)
        turns.append(first)
        assert claimed(db, 12) == []
        db.execute(DONE, [first])
    assert turns == [str(one) for one in people]


def test_a_holder_that_died_keeps_the_restless_waiting_for_ten_seconds(db: Connection) -> None:
    people = restless(db, 2)
    assert claimed(db, 12) == [str(people[0])]
    db.execute("update keyfund.pushes set claimed_at = claimed_at - interval '11 seconds'")
    assert claimed(db, 12) == [str(people[1])]


def test_the_restless_are_not_pushed_past_the_line_by_the_api_either(db: Connection) -> None:
    people = restless(db, 2)
    claim(db, people[0])
    assert by_service(db, "claim_push", p_account_id=people[1], p_lease_seconds=60) is None


def test_a_first_block_goes_before_those_who_block_again_and_again(db: Connection) -> None:
    calm = sign_up(db)
    made = synced_key(db, calm)
    let_pass(db, 60)
    restless(db, 12)
    by_owner(db, calm, "block_virtual_key", key_id=made["id"])
    assert claimed(db, 1) == [str(calm)]


def test_a_key_that_is_made_and_blocked_at_once_is_no_reason_to_wait(db: Connection) -> None:
    people = [sign_up(db) for _ in range(3)]
    for user_id in people:
        made = synced_key(db, user_id)
        by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    assert set(claimed(db, 3)) == texts(people)


def test_a_quarter_of_the_places_is_kept_for_what_is_not_urgent(db: Connection) -> None:
    backlog, blockers = [sign_up(db) for _ in range(20)], [sign_up(db) for _ in range(20)]
    for user_id in backlog:
        append(db, user_id, 10)
    for user_id in blockers:
        by_owner(db, user_id, "block_virtual_key", key_id=synced_key(db, user_id)["id"])
    first = set(claimed(db, 12))
    assert (len(first & texts(blockers)), len(first & texts(backlog))) == (9, 3)


def test_who_stops_is_calm_again_within_two_minutes(db: Connection) -> None:
    people = restless(db, 3)
    let_pass(db, 121)
    assert set(claimed(db, 12)) == texts(people)


def test_purchases_make_nobody_restless(db: Connection) -> None:
    people = [sign_up(db) for _ in range(3)]
    for user_id in people:
        synced_key(db, user_id)
        for _ in range(5):
            append(db, user_id, 10)
            finish(db, claim(db, user_id))
        append(db, user_id, 10)
    assert set(claimed(db, 12)) == texts(people)
    assert account(db, people[0])["claimed_at"] is not None
