"""A suspended account's keys are blocked in LiteLLM, before anything else and whatever their owners want."""

from psycopg.types.json import Jsonb

from tests.sql.acting import (
    account,
    all_by_service,
    append,
    by_owner,
    claim,
    fail,
    finish,
    key,
    let_pass,
    results,
    rows,
    sign_up,
    synced_key,
)
from tests.support import Connection


def suspend(db: Connection, user_id: object, status: str = "suspended") -> None:
    db.execute("update public.profiles set status = %s where id = %s", [status, user_id])


def test_a_suspension_is_told_with_every_live_key_and_overtakes_all_until_it_is_confirmed(
    db: Connection,
) -> None:
    crowd = [sign_up(db) for _ in range(3)]
    user_id = crowd[2]
    made = [synced_key(db, one) for one in crowd][2]
    for one in crowd[:2]:
        append(db, one, 10)
    suspend(db, user_id)
    first, *_ = all_by_service(db, "claim_pushes", p_limit=9, p_lease_seconds=60)
    assert (first["user_id"], first["suspended"], first["budget_micros"]) == (str(user_id), True, 0)
    assert [(one["id"], one["state"]) for one in first["keys"]] == [(str(made["id"]), "active")]
    finish(db, first, results(first, "transient", error="litellm_failed: no"))
    assert key(db, made["id"])["sync_status"] == "failed"
    assert account(db, user_id)["urgent"]
    let_pass(db, 120)
    finish(db, claim(db, user_id))
    assert (key(db, made["id"])["sync_status"], account(db, user_id)["urgent"]) == ("synced", False)


def test_a_block_of_a_suspended_account_waits_for_no_wallet(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    suspend(db, user_id)
    push = claim(db, user_id)
    assert fail(db, push, "refused", p_keys=Jsonb(results(push)))
    assert key(db, made["id"])["sync_status"] == "synced"  # blocked it is, whatever becomes of the wallet


def test_reinstating_has_all_but_blocked_keys_pushed_again(db: Connection) -> None:
    user_id = sign_up(db)
    live, blocked = (synced_key(db, user_id) for _ in range(2))
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    finish(db, claim(db, user_id))
    for status in ("suspended", "active"):
        suspend(db, user_id, status)
        assert {key(db, one["id"])["sync_status"] for one in (live, blocked)} == {"pending"}
        push = claim(db, user_id)
        assert (push["suspended"], [one["id"] for one in push["keys"]]) == (
            status == "suspended",
            [str(live["id"])],
        )
        finish(db, push)
        assert {one["sync_status"] for one in rows(db, "select sync_status from public.virtual_keys")} == {
            "synced"
        }
