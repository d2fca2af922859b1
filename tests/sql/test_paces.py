"""How often in an hour an account may repeat itself, and when revoked keys are forgotten."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from tests.sql.acting import (
    Row,
    by_owner,
    by_service,
    claim,
    finish,
    keys,
    let_pass,
    open_order,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection

Act = Callable[[Connection, UUID, Row], object]


def create(db: Connection, user_id: UUID, _: Row) -> None:
    made = by_owner(db, user_id, "create_virtual_key")
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])


def rotate(db: Connection, user_id: UUID, made: Row) -> None:
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"], overlap_seconds=0)
    db.execute("update public.virtual_keys set confirmed_at = now() where id = %s", [made["id"]])


def rename(db: Connection, user_id: UUID, made: Row) -> None:
    by_owner(db, user_id, "update_virtual_key", key_id=made["id"])  # of nothing, even


def toggle(db: Connection, user_id: UUID, made: Row) -> None:
    by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])


def resync(db: Connection, user_id: UUID, made: Row) -> None:
    by_owner(db, user_id, "resync_virtual_key", key_id=made["id"])


ACTS: dict[str, tuple[Act, str, int]] = {
    "key_creations_per_hour": (create, "too_many_creations", 100),
    "key_rotations_per_hour": (rotate, "too_many_rotations", 60),
    "key_changes_per_hour": (rename, "too_many_changes", 120),
    "key_unblocks_per_hour": (toggle, "too_many_unblocks", 60),
    "key_resyncs_per_hour": (resync, "too_many_resyncs", 60),
}


@pytest.mark.parametrize("setting", ACTS)
def test_an_account_may_repeat_itself_so_often_in_an_hour(db: Connection, setting: str) -> None:
    act, code, limit = ACTS[setting]
    assert value(db, f"select {setting} from keyfund.settings") == limit
    db.execute(f"update keyfund.settings set {setting} = 5".encode())
    user_id, other = sign_up(db), sign_up(db)
    made, theirs = synced_key(db, user_id), synced_key(db, other)
    db.execute("delete from keyfund.paces where true")
    for _ in range(5):
        act(db, user_id, made)
    before = keys(db, user_id)
    with refused(429, code):
        act(db, user_id, made)
    assert [one["name"] for one in keys(db, user_id)] == [one["name"] for one in before]
    act(db, other, theirs)
    let_pass(db, 720)  # a fifth of the hour
    act(db, user_id, made)
    with refused(429, code):
        act(db, user_id, made)
    let_pass(db, 3600)
    for _ in range(5):
        act(db, user_id, made)


def test_a_hundred_keys_may_be_made_and_revoked_in_an_hour_and_no_more(db: Connection) -> None:
    user_id = sign_up(db)
    for _ in range(100):
        create(db, user_id, {})
    with refused(429, "too_many_creations"):
        create(db, user_id, {})
    assert len(keys(db, user_id)) == 100


def test_stopping_a_key_is_never_refused(db: Connection) -> None:
    db.execute("update keyfund.settings set key_unblocks_per_hour = 1, key_creations_per_hour = 1")
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    toggle(db, user_id, made)
    assert by_owner(db, user_id, "block_virtual_key", key_id=made["id"])["state"] == "blocked"
    with refused(429, "too_many_unblocks"):
        by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])
    assert by_owner(db, user_id, "block_virtual_key", key_id=made["id"])["state"] == "blocked"
    assert by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])["state"] == "revoked"


def test_no_limit_is_a_choice(db: Connection) -> None:
    db.execute("update keyfund.settings set key_creations_per_hour = null")
    user_id = sign_up(db)
    for _ in range(150):
        create(db, user_id, {})


def test_orders_have_their_limit(db: Connection) -> None:
    user_id = sign_up(db)
    for _ in range(20):
        open_order(db, user_id)
    with refused(429, "too_many_orders"):
        open_order(db, user_id)


def test_what_an_administrator_does_to_another_is_not_counted(db: Connection) -> None:
    db.execute("update keyfund.settings set key_unblocks_per_hour = 1")
    user_id, administrator = sign_up(db), sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [administrator])
    made = synced_key(db, user_id)
    for _ in range(3):
        for function in ("hold_virtual_key", "release_virtual_key"):
            by_owner(db, administrator, function, key_id=made["id"], reason="because")


# --- retention ----------------------------------------------------------------------------------------------


@contextmanager
def gone_from_litellm(db: Connection, user_id: UUID) -> Iterator[None]:
    """Revoke within, and let a day pass and the key be deleted from LiteLLM."""
    yield
    finish(db, claim(db, user_id))
    let_pass(db, 90_000)
    found = [one["id"] for one in rows(db, "select id from public.virtual_keys where state = 'revoked'")]
    by_service(db, "finish_deletions", p_ids=found)


def test_a_revoked_key_is_forgotten_a_month_after_litellm_lost_it(db: Connection) -> None:
    user_id = sign_up(db)
    made, kept = synced_key(db, user_id), synced_key(db, user_id)
    with gone_from_litellm(db, user_id):
        by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    let_pass(db, 29 * 86_400)
    assert by_service(db, "forget_keys", p_limit=10) == 0
    let_pass(db, 2 * 86_400)
    assert by_service(db, "forget_keys", p_limit=10) == 1
    assert [one["id"] for one in keys(db, user_id)] == [kept["id"]]
    assert rows(db, "select from public.audit_log where key_id = %s", made["id"]) != []


def test_a_key_that_litellm_may_still_have_is_not_forgotten(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    let_pass(db, 400 * 86_400)
    assert by_service(db, "forget_keys", p_limit=10) == 0


def test_a_former_string_that_counts_against_a_cap_stays_until_its_key_is_forgotten(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id, max_budget=100)
    with gone_from_litellm(db, user_id):
        by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"], overlap_seconds=0)
    let_pass(db, 40 * 86_400)
    assert by_service(db, "forget_keys", p_limit=10) == 0
    with gone_from_litellm(db, user_id):
        by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    let_pass(db, 40 * 86_400)
    assert [by_service(db, "forget_keys", p_limit=10) for _ in range(3)] == [1, 1, 0]
    assert keys(db, user_id) == []
