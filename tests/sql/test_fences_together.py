"""Fences and suspension with the real database and product, against a LiteLLM in memory to tamper with."""

from typing import Any
from uuid import UUID

import pytest

from core.domain.drift import Kind
from tests.sql.acting import account, by_owner, key, sign_up
from tests.sql.test_drift_together import OPEN, Both, both, key_of, live, marks, named
from tests.support import Connection

__all__ = ["both"]

TAMPERED: dict[str, tuple[dict[str, Any], Kind]] = {
    "no list of routes": ({"allowed_routes": []}, Kind.ESCAPED),
    "all of LiteLLM's routes": ({"allowed_routes": ["llm_api_routes"]}, Kind.ESCAPED),
    "one route more": ({"allowed_routes": [*OPEN, "/v1/files"]}, Kind.ESCAPED),
    "one route less": ({"allowed_routes": OPEN[:-1]}, Kind.DIFFERENT),
    "any number of calls at once": ({"max_parallel_requests": None}, Kind.DIFFERENT),
    "more calls at once": ({"max_parallel_requests": 99}, Kind.DIFFERENT),
    "no metadata": ({"metadata": {}}, Kind.ESCAPED),
    "metadata of others alone": ({"metadata": {"team": "blue"}}, Kind.ESCAPED),
}


@pytest.mark.parametrize(("change", "kind"), TAMPERED.values(), ids=TAMPERED)
async def test_a_fence_changed_behind_our_back_is_named_and_mended_and_what_others_wrote_stays(
    both: Both, change: dict[str, Any], kind: Kind
) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    row, (made,) = both.row(user_id), live(both.db, user_id)
    wanted = marks(both.db, user_id, made["key_hash"])
    assert (row.allowed_routes, row.max_parallel_requests, row.metadata) == (OPEN, 10, wanted)
    for name, changed in change.items():
        setattr(row, name, changed)
    assert named(await both.find(mend=True)) == {f"key {made['id']}": kind}
    await both.push()
    assert (await both.find()).total == 0
    assert (row.allowed_routes, row.max_parallel_requests) == (OPEN, 10)
    assert row.metadata == change.get("metadata", {}) | wanted


async def test_other_metadata_outlives_a_changed_limit_a_changed_fence_and_a_block(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    row, key_id = both.row(user_id), key_of(both, user_id)
    row.metadata = {"team": "blue", "logging": [{"callback": "x"}]} | row.metadata
    by_owner(both.db, user_id, "update_virtual_key", key_id=key_id, rpm_limit=7)
    await both.push()
    both.db.execute("update keyfund.settings set account_max_parallel = 3")
    await both.push()
    for change in ("block", "unblock"):
        by_owner(both.db, user_id, f"{change}_virtual_key", key_id=key_id)
        await both.push()
    assert (row.metadata["team"], row.metadata["logging"]) == ("blue", [{"callback": "x"}])
    assert row.metadata["keyfund_guard"]["in_flight"] == 3


async def test_each_string_of_a_rotated_key_bears_the_key_s_own_mark(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    key_id = key_of(both, user_id)
    by_owner(both.db, user_id, "rotate_virtual_key", key_id=key_id)
    await both.push()
    both.db.execute("update keyfund.settings set key_max_parallel = 3")
    await both.push()
    assert (await both.find()).total == 0
    told = [row.metadata["keyfund_key_id"] for row in both.standin.rows.values()]
    assert told == [str(key_id)] * 2


# ------------------------------------------------------------------ suspension


async def test_a_suspended_account_s_keys_are_blocked_and_come_back_but_those_that_somebody_blocked(
    both: Both,
) -> None:
    (user_id,) = await both.people(1, keys_each=3)
    free, owners, held = live(both.db, user_id)
    by_owner(both.db, user_id, "block_virtual_key", key_id=owners["id"])
    both.db.execute(
        "update public.virtual_keys set state = 'blocked', blocked_by = 'administrator' where id = %s",
        [held["id"]],
    )
    await both.push()

    def blocked() -> list[bool]:
        return [both.standin.rows[one["key_hash"]].blocked for one in (free, owners, held)]

    assert blocked() == [False, True, True]
    suspend(both.db, user_id)
    await both.push()
    assert blocked() == [True, True, True]
    assert [one["state"] for one in live(both.db, user_id)] == ["active", "blocked", "blocked"]
    assert {one["sync_status"] for one in live(both.db, user_id)} == {"synced"}
    suspend(both.db, user_id, "active")
    await both.push()
    assert blocked() == [False, True, True]
    assert (await both.find()).total == 0


async def test_a_suspended_account_s_key_that_somebody_unblocks_in_litellm_is_blocked_again(
    both: Both,
) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    suspend(both.db, user_id)
    await both.push()
    both.row(user_id).blocked = False
    report = await both.find(mend=True)
    assert list(named(report).values()) == [Kind.ALIVE]
    assert account(both.db, user_id)["urgent"]
    await both.push()
    assert both.row(user_id).blocked


async def test_a_key_that_is_unblocked_or_changed_while_its_account_is_suspended_stays_blocked(
    both: Both,
) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    key_id = key_of(both, user_id)
    by_owner(both.db, user_id, "block_virtual_key", key_id=key_id)
    await both.push()
    suspend(both.db, user_id)
    by_owner(both.db, user_id, "unblock_virtual_key", key_id=key_id)
    by_owner(both.db, user_id, "update_virtual_key", key_id=key_id, rpm_limit=7)
    await both.push()
    assert (both.row(user_id).blocked, key(both.db, key_id)["sync_status"]) == (True, "synced")
    suspend(both.db, user_id, "active")
    await both.push()
    assert (both.row(user_id).blocked, both.row(user_id).rpm_limit) == (False, 7)


async def test_a_key_that_was_not_made_yet_when_its_account_was_suspended_is_made_blocked(both: Both) -> None:
    user_id = sign_up(both.db)
    by_owner(both.db, user_id, "create_virtual_key")
    suspend(both.db, user_id)
    await both.push()
    assert (both.row(user_id).blocked, both.row(user_id).allowed_routes) == (True, OPEN)


def suspend(db: Connection, user_id: UUID, status: str = "suspended") -> None:
    db.execute("update public.profiles set status = %s where id = %s", [status, user_id])
