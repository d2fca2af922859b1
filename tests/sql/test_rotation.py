"""A key gets a new string while the old one works on; the row, its history and its cap stay."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.sql.acting import (
    Row,
    append,
    by_owner,
    by_service,
    claim,
    finish,
    key,
    keys,
    let_pass,
    refused,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


def rotate(db: Connection, user_id: UUID, one: Row, overlap_seconds: int = 600) -> Row:
    rotated: Row = by_owner(
        db, user_id, "rotate_virtual_key", key_id=one["id"], overlap_seconds=overlap_seconds
    )
    return rotated


def former(db: Connection, one: Row) -> Row:
    (only,) = [row for row in keys(db, one["user_id"]) if row["successor_id"] == one["id"]]
    return only


def retire(db: Connection) -> int:
    return int(by_service(db, "retire_keys", p_limit=100))


def test_the_row_stays_and_gets_a_new_string_and_the_old_one_lives_for_the_overlap(
    db: Connection, user_id: UUID
) -> None:
    old = synced_key(db, user_id, name="Laptop", max_budget=500, rpm_limit=7)
    new = rotate(db, user_id, old)
    assert (new["id"], new["name"], new["created_at"]) == (old["id"], "Laptop", old["created_at"])
    assert (new["max_budget"], new["rpm_limit"], new["rotations"]) == (500, 7, 1)
    assert new["litellm_key_id"] != old["litellm_key_id"]
    assert (new["sync_status"], new["confirmed_at"], new["create_sent_at"]) == ("pending", None, None)
    second = former(db, old)
    assert (second["litellm_key_id"], second["key_hash"]) == (old["litellm_key_id"], old["key_hash"])
    assert (second["state"], second["sync_status"]) == ("active", "pending")  # it is told its share first
    assert abs(second["retires_at"] - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=30)


def test_only_the_new_string_is_pushed_and_created(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    new = rotate(db, user_id, old)
    push = claim(db, user_id)
    (one,) = push["keys"]
    assert (one["key"], one["confirmed"], one["maybe_created"]) == (new["litellm_key_id"], False, False)
    assert one["previous_hash"] is None  # its cap is the wallet, which is one for both
    finish(db, push)
    assert key(db, old["id"])["sync_status"] == "synced"


def test_the_former_string_is_revoked_when_its_overlap_is_over(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old, 60)
    finish(db, claim(db, user_id))
    assert retire(db) == 0
    let_pass(db, 61)
    assert retire(db) == 1
    assert former(db, old)["state"] == "revoked"
    (one,) = claim(db, user_id)["keys"]
    assert (one["key_hash"], one["state"]) == (old["key_hash"], "revoked")
    assert retire(db) == 0


def test_without_an_overlap_the_old_string_stops_at_once(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old, 0)
    assert former(db, old)["state"] == "revoked"


def test_a_cap_that_follows_the_wallet_follows_on_both_strings(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old)
    append(db, user_id, 100)
    assert key(db, old["id"])["max_budget"] == former(db, old)["max_budget"] == 1200


@pytest.mark.parametrize("function", ["block_virtual_key", "revoke_virtual_key"])
def test_what_stops_a_key_stops_both_of_its_strings(db: Connection, user_id: UUID, function: str) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old)
    by_owner(db, user_id, function, key_id=old["id"])
    assert key(db, old["id"])["state"] == former(db, old)["state"] != "active"
    if function == "block_virtual_key":
        by_owner(db, user_id, "unblock_virtual_key", key_id=old["id"])
        assert key(db, old["id"])["state"] == former(db, old)["state"] == "active"


def test_limits_reach_both_strings(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old)
    by_owner(db, user_id, "update_virtual_key", key_id=old["id"], rpm_limit=3)
    assert key(db, old["id"])["rpm_limit"] == former(db, old)["rpm_limit"] == 3


def test_a_former_string_can_be_revoked_early_and_nothing_else(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    rotate(db, user_id, old)
    second = former(db, old)["id"]
    for function in ("block_virtual_key", "unblock_virtual_key", "update_virtual_key", "rotate_virtual_key"):
        with refused(409, "key_retiring"):
            by_owner(db, user_id, function, key_id=second)
    by_owner(db, user_id, "revoke_virtual_key", key_id=second)
    assert (key(db, second)["state"], key(db, old["id"])["state"]) == ("revoked", "active")


def test_what_cannot_be_rotated_says_why(db: Connection, user_id: UUID) -> None:
    fresh = by_owner(db, user_id, "create_virtual_key")
    with refused(409, "key_not_synced"):
        rotate(db, user_id, fresh)
    finish(db, claim(db, user_id))
    for overlap in (-1, 604_801):
        with refused(400, "invalid_overlap"):
            rotate(db, user_id, fresh, overlap)
    with refused(404, "key_not_found"):
        rotate(db, sign_up(db), fresh)
    rotate(db, user_id, fresh)
    finish(db, claim(db, user_id))
    with refused(409, "rotation_under_way"):
        rotate(db, user_id, fresh)
    by_owner(db, user_id, "revoke_virtual_key", key_id=fresh["id"])
    with refused(409, "key_revoked"):
        rotate(db, user_id, fresh)


def test_a_former_string_does_not_count_as_a_key(db: Connection, user_id: UUID) -> None:
    db.execute("update keyfund.settings set keys_per_account = 2")
    rotate(db, user_id, synced_key(db, user_id))
    by_owner(db, user_id, "create_virtual_key")
    with refused(409, "too_many_keys"):
        by_owner(db, user_id, "create_virtual_key")


def test_a_string_is_replaced_by_a_rotation_alone(db: Connection, user_id: UUID) -> None:
    old = synced_key(db, user_id)
    with pytest.raises(Exception, match="never replaced but by a rotation"):
        db.execute(
            "update public.virtual_keys set litellm_key_id = 'sk-another-string-00', key_hash = 'x'"
            " where id = %s",
            [old["id"]],
        )
    assert value(db, "select rotations from public.virtual_keys where id = %s", old["id"]) == 0


def test_a_push_that_began_before_a_rotation_says_nothing_of_the_new_string(
    db: Connection, user_id: UUID
) -> None:
    old = synced_key(db, user_id)
    by_owner(db, user_id, "update_virtual_key", key_id=old["id"], rpm_limit=3)
    push = claim(db, user_id)
    rotate(db, user_id, old)
    assert finish(db, push)
    new = key(db, old["id"])
    assert (new["confirmed_at"], new["sync_status"]) == (None, "pending")
    # The former string is told once more, in its row of its own, and no string is made twice.
    assert {one["key_hash"]: one["confirmed"] for one in claim(db, user_id)["keys"]} == {
        new["key_hash"]: False,
        former(db, old)["key_hash"]: True,
    }
