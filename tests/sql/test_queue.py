"""Whose turn it is: those who block and unblock without end go behind those who do not."""

from uuid import UUID

import pytest

from tests.sql.acting import (
    all_by_service,
    append,
    by_owner,
    claim,
    finish,
    let_pass,
    make_due,
    sign_up,
    synced_key,
)
from tests.support import Connection


def restless(db: Connection, count: int) -> list[UUID]:
    """People who unblocked a key a moment ago and have blocked it again."""
    people = [sign_up(db) for _ in range(count)]
    for user_id in people:
        made = synced_key(db, user_id)
        by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    return people


def claimed(db: Connection, limit: int) -> list[str]:
    pushes = all_by_service(db, "claim_pushes", p_limit=limit, p_lease_seconds=60)
    return [push["user_id"] for push in pushes]


@pytest.mark.parametrize("limit", [1, 2, 4, 12])
def test_a_creation_is_claimed_at_once_however_many_block_and_unblock(db: Connection, limit: int) -> None:
    restless(db, 12)
    newcomer = sign_up(db)
    by_owner(db, newcomer, "create_virtual_key")
    assert str(newcomer) in claimed(db, limit)


def test_of_what_is_not_urgent_a_creation_goes_before_those_who_were_claimed_just_now(
    db: Connection,
) -> None:
    for user_id in [sign_up(db) for _ in range(12)]:
        synced_key(db, user_id)
        make_due(db, user_id)
    newcomer = sign_up(db)
    by_owner(db, newcomer, "create_virtual_key")
    assert claimed(db, 1) == [str(newcomer)]


def test_a_first_block_goes_before_those_who_block_again_and_again(db: Connection) -> None:
    calm = sign_up(db)
    made = synced_key(db, calm)
    let_pass(db, 60)
    restless(db, 12)
    by_owner(db, calm, "block_virtual_key", key_id=made["id"])
    assert claimed(db, 1) == [str(calm)]


def test_all_but_a_quarter_of_the_places_are_for_blocks(db: Connection) -> None:
    backlog = [sign_up(db) for _ in range(20)]
    for user_id in backlog:
        append(db, user_id, 10)
    people = restless(db, 12)
    let_pass(db, 60)
    first = claimed(db, 12)
    assert len(set(first) & {str(one) for one in people}) == 9


def test_who_rests_waits_for_nobody_where_nobody_waits(db: Connection) -> None:
    (user_id,) = restless(db, 1)
    assert claimed(db, 4) == [str(user_id)]


def test_nobody_who_rests_waits_for_ever(db: Connection) -> None:
    (user_id,) = restless(db, 1)
    let_pass(db, 31)
    later = restless(db, 3)
    assert claimed(db, 1) == [str(user_id)]
    assert len(later) == 3


def test_a_claim_of_one_account_rests_it_too(db: Connection) -> None:
    calm, eager = sign_up(db), sign_up(db)
    for user_id in (eager, calm):
        synced_key(db, user_id)
    let_pass(db, 60)
    make_due(db, eager)
    finish(db, claim(db, eager))
    make_due(db, eager)
    make_due(db, calm)
    assert claimed(db, 1) == [str(calm)]
