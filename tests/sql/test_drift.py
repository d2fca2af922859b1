"""Drift and adoption in the database: what is read, when it may be acted on, keys known by their hash."""

from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.sql.acting import (
    FENCES,
    Row,
    account,
    append,
    by_owner,
    by_service,
    claim,
    fail,
    finish,
    key,
    keys,
    let_pass,
    make_due,
    refused,
    results,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection

OLD = "sk-from-before-0123456789"
OLD_HASH = sha256(OLD.encode()).hexdigest()


def opened(db: Connection) -> Row:
    told: Row = by_service(db, "open_drift")
    return told


def page(db: Connection, after: str | None = None, limit: int = 500) -> list[Row]:
    at = opened(db)["at"]
    told: list[Row] = by_service(db, "read_drift", p_after=after, p_limit=limit, p_before=at)
    return told


def read(db: Connection, key_hash: str) -> Row:
    told: Row = by_service(db, "read_drift_key", p_key_hash=key_hash)
    return told


def mend(db: Connection, told: Row, **changes: object) -> bool:
    arguments = {
        "p_account_id": told["user_id"],
        "p_revision": told["account_revision"],
        "p_key_hash": told["key_hash"],
    } | changes
    return bool(by_service(db, "mend_drift", **arguments))


def adopt(db: Connection, user_id: UUID, **changes: object) -> bool:
    arguments = {
        "p_user_id": user_id, "p_key_hash": OLD_HASH, "p_key": OLD, "p_preview": "sk-...6789",
        "p_name": "Old", "p_max_budget": 500, "p_budget_duration": "1d", "p_rpm_limit": 60,
        "p_tpm_limit": None, "p_blocked": False,
    } | changes  # fmt: skip
    return bool(by_service(db, "adopt_key", **arguments))


def only_key(db: Connection, user_id: UUID) -> Row:
    (only,) = [one for one in keys(db, user_id) if one["state"] != "placeholder"]
    return only


def asleep(db: Connection, user_id: UUID) -> bool:
    return bool(
        value(db, "select keyfund.is_resting(a) from keyfund.pushes a where account_id = %s", user_id)
    )


# ---------------------------------------------------------------------- reads


def test_all_keys_come_in_the_order_of_their_hashes_page_by_page_and_counted(db: Connection) -> None:
    for _ in range(3):
        user_id = sign_up(db)  # its placeholder has no hash yet
        synced_key(db, user_id)
        by_owner(db, user_id, "create_virtual_key")
    sign_up(db)
    everything = [one["key_hash"] for one in page(db)]
    assert len(everything) == opened(db)["keys"] == 6
    assert everything == sorted(everything)
    assert [one["key_hash"] for one in page(db, limit=2)] == everything[:2]
    assert [one["key_hash"] for one in page(db, after=everything[3])] == everything[4:]
    assert page(db, after=everything[5]) == []


def test_a_key_is_told_without_its_string_and_with_its_account_s_wallet(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id, name="Ana's laptop", max_budget=300)
    told = read(db, made["key_hash"])
    held = account(db, user_id)
    assert told == {
        "id": str(made["id"]),
        "of_key": str(made["id"]),
        "user_id": str(user_id),
        "key_hash": made["key_hash"],
        "state": "active",
        "budget_cents": 300,
        "budget_duration": "30d",
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "revision": made["revision"],
        "confirmed": True,
        "settled": True,
        "parked": False,
        "account_revision": held["revision"],
        "resting": True,
        "seen_micros": 0,
        "installation_id": str(value(db, "select installation_id from keyfund.settings")),
        "leads": True,
        "budget_micros": 10_000_000,
        "models": [],
        "expires_at": None,
        "account_rpm_limit": None,
        "account_tpm_limit": None,
        "suspended": False,
        "fences": FENCES,
    }
    assert read(db, "0" * 64) is None


def test_one_live_key_of_an_account_leads(db: Connection) -> None:
    user_id = sign_up(db)
    made = sorted((synced_key(db, user_id) for _ in range(3)), key=lambda one: str(one["key_hash"]))
    assert [one["leads"] for one in page(db)] == [True, False, False]
    by_owner(db, user_id, "revoke_virtual_key", key_id=made[0]["id"])
    assert [one["leads"] for one in page(db)] == [False, True, False]


def test_what_is_on_its_way_is_not_resting(db: Connection) -> None:
    user_id = sign_up(db)
    by_owner(db, user_id, "create_virtual_key")
    assert not asleep(db, user_id)  # due
    push = claim(db, user_id)
    assert not asleep(db, user_id)  # leased
    finish(db, push)
    assert asleep(db, user_id)
    make_due(db, user_id)
    fail(db, claim(db, user_id), "unknown")
    assert not asleep(db, user_id)  # a request may still land
    let_pass(db, 40)
    finish(db, claim(db, user_id))
    assert asleep(db, user_id)
    make_due(db, user_id)
    for _ in range(5):
        let_pass(db, 120)
        fail(db, claim(db, user_id), "refused")
    assert account(db, user_id)["next_attempt_at"] is None
    assert not asleep(db, user_id)  # the wallet is parked: nobody knows what LiteLLM holds


def test_an_account_of_which_only_a_key_is_parked_is_resting(db: Connection) -> None:
    user_id = sign_up(db)
    synced_key(db, user_id)
    made = by_owner(db, user_id, "create_virtual_key")
    for _ in range(5):
        let_pass(db, 120)
        push = claim(db, user_id)
        finish(db, push, results(push, "refused", error="litellm_refused: no"))
    told = read(db, made["key_hash"])
    assert (told["parked"], told["settled"], told["resting"]) == (True, False, True)


# ---------------------------------------------------------------------- mends


def test_mending_makes_all_confirmed_keys_of_the_account_due_once(db: Connection) -> None:
    user_id = sign_up(db)
    made = [synced_key(db, user_id) for _ in range(2)]
    told = read(db, made[0]["key_hash"])
    assert mend(db, told)
    assert not mend(db, told)  # its revision is another now
    assert not mend(db, read(db, made[1]["key_hash"]))  # on its way
    push = claim(db, user_id)
    assert {one["id"] for one in push["keys"]} == {str(one["id"]) for one in made}
    assert all(one["confirmed"] for one in push["keys"])  # never created again
    assert finish(db, push)
    assert asleep(db, user_id)
    assert {key(db, one["id"])["sync_status"] for one in made} == {"synced"}


def test_mending_does_nothing_when_the_account_changed_or_is_held(db: Connection) -> None:
    user_id = sign_up(db)
    told = read(db, synced_key(db, user_id)["key_hash"])
    assert not mend(db, told, p_revision=told["account_revision"] + 1)
    assert not mend(db, told, p_account_id=UUID(int=0))
    append(db, user_id, 5)
    assert not mend(db, told)
    push = claim(db, user_id)
    assert not mend(db, read(db, told["key_hash"]))
    finish(db, push)
    assert account(db, user_id)["confirmed_revision"] == account(db, user_id)["revision"]


def test_a_revoked_and_deleted_key_that_came_back_overtakes_all_and_is_deleted_again(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    finish(db, claim(db, user_id))
    let_pass(db, 90_000)
    by_service(db, "finish_deletions", p_ids=[made["id"]])
    assert key(db, made["id"])["deleted_at"] is not None
    assert mend(db, read(db, made["key_hash"]))
    assert account(db, user_id)["urgent"]
    push = claim(db, user_id)
    assert [(one["state"], one["key"], one["confirmed"]) for one in push["keys"]] == [("revoked", None, True)]
    finish(db, push)
    let_pass(db, 120)
    (again,) = rows(db, "select * from public.list_deletions(10)")
    assert again["key_hash"] == made["key_hash"]


# ------------------------------------------------------------------- adoption


def test_an_adopted_key_is_pushed_but_never_created(db: Connection) -> None:
    user_id = sign_up(db)
    assert adopt(db, user_id)
    assert not adopt(db, user_id)
    made = only_key(db, user_id)
    assert (made["litellm_key_id"], made["key_preview"], made["name"]) == (OLD, "sk-...6789", "Old")
    assert (made["state"], made["cap"], made["max_budget"]) == ("active", "fixed", 500)
    assert (made["budget_duration"], made["rpm_limit"], made["tpm_limit"]) == ("1d", 60, None)
    assert (made["sync_status"], made["confirmed_at"] is not None) == ("pending", True)
    push = claim(db, user_id)
    (one,) = push["keys"]
    assert (one["key"], one["key_hash"], one["confirmed"]) == (OLD, OLD_HASH, True)
    finish(db, push)
    append(db, user_id, 100)
    assert only_key(db, user_id)["max_budget"] == 500  # no purchase touches it


def test_a_key_of_which_only_the_hash_is_known_is_adopted_and_revoked(db: Connection) -> None:
    user_id = sign_up(db)
    assert adopt(db, user_id, p_key=None, p_max_budget=None, p_budget_duration=None)
    made = only_key(db, user_id)
    assert (made["litellm_key_id"], made["key_hash"]) == (None, OLD_HASH)
    assert (made["cap"], made["max_budget"], made["budget_duration"]) == ("wallet", 1_000, None)
    finish(db, claim(db, user_id))
    by_owner(db, user_id, "update_virtual_key", key_id=made["id"], name="Renamed", rpm_limit=5)
    (one,) = claim(db, user_id)["keys"]
    assert (one["key"], one["rpm_limit"], one["confirmed"]) == (None, 5, True)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    assert only_key(db, user_id)["state"] == "revoked"


def test_a_blocked_key_is_adopted_as_an_administrator_blocked_it(db: Connection) -> None:
    user_id = sign_up(db)
    assert adopt(db, user_id, p_blocked=True)
    made = only_key(db, user_id)
    assert (made["state"], made["blocked_by"]) == ("blocked", "administrator")
    with refused(403, "blocked_by_administrator"):
        by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])


@pytest.mark.parametrize("duration", ["2mo", "hourly", "daily", "weekly", "monthly", "90d"])
def test_every_period_that_litellm_takes_can_be_kept(db: Connection, duration: str) -> None:
    assert adopt(db, sign_up(db), p_budget_duration=duration)


def test_no_account_takes_another_s_key_and_a_suspended_one_takes_none(db: Connection) -> None:
    first, second = sign_up(db), sign_up(db)
    adopt(db, first)
    with refused(409, "key_taken"):
        adopt(db, second)
    db.execute("update public.profiles set status = 'suspended' where id = %s", [second])
    with refused(403, "account_suspended"):
        adopt(db, second, p_key_hash="0" * 64, p_key=None)
    with refused(403, "account_deleted"):
        adopt(db, UUID(int=1))
    with refused(400, "invalid_rpm_limit"):
        adopt(db, first, p_rpm_limit=0)


def test_who_may_have_a_key_is_found_by_id_or_address(db: Connection) -> None:
    first, second = sign_up(db, "ana@example.com"), sign_up(db)
    adopt(db, second)

    def found(named: str, owner: str | None = None) -> Any:
        return by_service(db, "find_adoptee", p_account=named, p_key_hash=OLD_HASH, p_owner=owner)

    expected = [{"user_id": str(first), "status": "active"}]
    assert found("Ana@Example.com")["accounts"] == expected
    assert found(str(first).upper())["accounts"] == expected
    assert found("nobody@example.com")["accounts"] == []
    told = found(str(first), str(second))
    assert (told["holder"], told["owner_is_ours"]) == (str(second), True)
    assert not found(str(first), "bob")["owner_is_ours"]


@pytest.mark.parametrize(
    "columns",
    [
        {"key_hash": "x" * 64},  # no hash
        {"key_hash": "0" * 64},  # could be created, without a string
        {"key_hash": "0" * 64, "litellm_key_id": OLD, "confirmed_at": "now"},  # of another key
    ],
)
def test_a_hash_that_cannot_be_is_refused_by_the_table(db: Connection, columns: Row) -> None:
    names = ", ".join(columns)
    marks = ", ".join(["%s"] * len(columns))
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute(
            f"insert into public.virtual_keys (user_id, {names}) values (%s, {marks})".encode(),
            [sign_up(db), *columns.values()],
        )
