"""What owners may do with their keys, and what becomes of a row that somebody writes by hand."""

import hashlib
import re
from uuid import UUID

import psycopg
import pytest

from tests.sql.acting import (
    Row,
    account,
    append,
    at_once,
    by_owner,
    by_service,
    claim,
    finish,
    key,
    keys,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database

KEY = re.compile(r"sk-kf-[0-9a-f]{64}")


def create(db: Connection, user_id: UUID, **limits: object) -> Row:
    made: Row = by_owner(db, user_id, "create_virtual_key", **limits)
    return made


# --- create -------------------------------------------------------------------------------------------------


def test_the_first_key_takes_the_placeholder_and_the_second_adds_a_row(db: Connection) -> None:
    user_id = sign_up(db)
    (placeholder,) = keys(db, user_id)
    first, second = create(db, user_id, name="First"), create(db, user_id, name="Second")
    assert (first["id"], first["state"]) == (placeholder["id"], "active")
    assert second["id"] != first["id"]
    assert {one["name"] for one in keys(db, user_id)} == {"First", "Second"}


def test_of_many_first_creates_at_once_exactly_one_takes_the_placeholder(
    database: Database, db: Connection
) -> None:
    user_id = sign_up(db)
    (placeholder,) = keys(db, user_id)
    made = at_once(database, 8, lambda connection, number: create(connection, user_id, name=f"Key {number}"))
    assert [one["id"] for one in made].count(placeholder["id"]) == 1
    assert len({one["id"] for one in made}) == len({one["litellm_key_id"] for one in made}) == 8
    assert {one["state"] for one in keys(db, user_id)} == {"active"}
    assert len(keys(db, user_id)) == 8


def test_a_key_has_the_defaults_of_the_settings(db: Connection) -> None:
    made = create(db, sign_up(db))
    wanted = {
        "name": "Key",
        "cap": "wallet",
        "max_budget": 1000,
        "budget_duration": "30d",
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "sync_status": "pending",
        "last_error": None,
        "confirmed_at": None,
    }
    assert {name: made[name] for name in wanted} == wanted


def test_an_operator_s_settings_are_the_defaults_of_later_keys(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute(
        """update keyfund.settings
        set key_budget_duration = '7d', key_rpm_limit = 5, key_tpm_limit = 50 where true"""
    )
    for _ in range(2):  # out of the placeholder, and added
        made = create(db, user_id)
        assert (made["budget_duration"], made["rpm_limit"], made["tpm_limit"]) == ("7d", 5, 50)


def test_the_key_string_is_stored_before_anyone_is_told_and_hashed_as_litellm_does(db: Connection) -> None:
    made = create(db, sign_up(db))
    assert KEY.fullmatch(made["litellm_key_id"])
    assert made["key_hash"] == hashlib.sha256(made["litellm_key_id"].encode()).hexdigest()
    assert made["key_preview"] == "sk-..." + made["litellm_key_id"][-4:]


def test_a_given_budget_makes_a_fixed_cap_and_none_a_wallet_cap(db: Connection) -> None:
    user_id = sign_up(db)
    given = create(db, user_id, max_budget=5000, rpm_limit=7, tpm_limit=70)
    assert (given["cap"], given["max_budget"]) == ("fixed", 5000)
    assert (given["rpm_limit"], given["tpm_limit"]) == (7, 70)
    assert create(db, user_id, max_budget=0)["cap"] == "fixed"
    follows = create(db, user_id)
    assert (follows["cap"], follows["max_budget"]) == ("wallet", 1000)


def test_a_name_is_trimmed(db: Connection) -> None:
    assert create(db, sign_up(db), name="  laptop ")["name"] == "laptop"


WRONG = [
    ({"name": ""}, "invalid_name"),
    ({"name": "   "}, "invalid_name"),
    ({"name": "x" * 101}, "invalid_name"),
    ({"max_budget": -1}, "invalid_max_budget"),
    ({"rpm_limit": 0}, "invalid_rpm_limit"),
    ({"rpm_limit": -5}, "invalid_rpm_limit"),
    ({"tpm_limit": 0}, "invalid_tpm_limit"),
]


@pytest.mark.parametrize(("limits", "code"), WRONG)
def test_a_wrong_limit_is_refused_and_nothing_is_made_or_changed(
    db: Connection, limits: Row, code: str
) -> None:
    user_id = sign_up(db)
    made = create(db, user_id)
    with refused(400, code):
        create(db, user_id, **limits)
    with refused(400, code):
        by_owner(db, user_id, "update_virtual_key", key_id=made["id"], **limits)
    assert keys(db, user_id) == [made]


def test_an_account_has_at_most_so_many_keys_that_are_not_revoked(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("update keyfund.settings set keys_per_account = 2 where true")
    first, _ = create(db, user_id), create(db, user_id)
    with refused(409, "too_many_keys"):
        create(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=first["id"])
    create(db, user_id)
    with refused(409, "too_many_keys"):
        create(db, user_id)


def test_the_limit_of_keys_holds_among_creates_at_once(database: Database, db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("update keyfund.settings set keys_per_account = 3 where true")

    def try_to_create(connection: Connection, number: int) -> str:
        try:
            create(connection, user_id)
        except psycopg.Error as error:
            return error.diag.message_detail or str(error)
        return "made"

    answers = at_once(database, 8, try_to_create)
    assert sorted(answers) == ["made"] * 3 + ["too_many_keys"] * 5
    assert len(keys(db, user_id)) == 3


def test_a_suspended_account_creates_no_key(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("update public.profiles set status = 'suspended' where id = %s", [user_id])
    with refused(403, "account_suspended"):
        create(db, user_id)
    assert [one["state"] for one in keys(db, user_id)] == ["placeholder"]


def test_a_create_makes_the_account_due(db: Connection) -> None:
    user_id = sign_up(db)
    made = create(db, user_id)
    after = account(db, user_id)
    assert (after["revision"], after["confirmed_revision"], after["urgent"]) == (made["revision"], 0, False)
    (push,) = [by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60)]
    assert [one["id"] for one in push["keys"]] == [str(made["id"])]


# --- change -------------------------------------------------------------------------------------------------


def test_an_update_changes_what_is_given_and_is_pushed(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    changed = by_owner(
        db, user_id, "update_virtual_key", key_id=made["id"], max_budget=5, rpm_limit=6, tpm_limit=7
    )
    assert (changed["cap"], changed["max_budget"]) == ("fixed", 5)
    assert (changed["rpm_limit"], changed["tpm_limit"], changed["name"]) == (6, 7, "Key")
    assert (changed["sync_status"], changed["litellm_key_id"]) == ("pending", made["litellm_key_id"])
    (pushed,) = claim(db, user_id)["keys"]
    assert (pushed["budget_cents"], pushed["rpm_limit"], pushed["confirmed"]) == (5, 6, True)


def test_a_key_may_follow_the_wallet_again(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id, max_budget=5)
    changed = by_owner(db, user_id, "update_virtual_key", key_id=made["id"], cap="wallet")
    assert (changed["cap"], changed["max_budget"], changed["sync_status"]) == ("wallet", 1000, "pending")
    append(db, user_id, 10, "purchase")
    assert key(db, made["id"])["max_budget"] == 1020


def test_a_key_may_be_kept_at_what_the_wallet_is_now(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "update_virtual_key", key_id=made["id"], cap="fixed")
    append(db, user_id, 10, "purchase")
    assert key(db, made["id"])["max_budget"] == 1000


@pytest.mark.parametrize("change", [{"cap": "none"}, {"cap": "wallet", "max_budget": 5}])
def test_a_cap_that_makes_no_sense_is_refused(db: Connection, change: Row) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    with refused(400, "invalid_cap"):
        by_owner(db, user_id, "update_virtual_key", key_id=made["id"], **change)


def test_a_new_name_alone_is_no_work_for_litellm(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    changed = by_owner(db, user_id, "update_virtual_key", key_id=made["id"], name="Desk")
    assert (changed["name"], changed["sync_status"]) == ("Desk", "synced")


def test_the_placeholder_is_nobody_s_key_yet(db: Connection) -> None:
    user_id = sign_up(db)
    (placeholder,) = keys(db, user_id)
    functions = ["update", "block", "unblock", "revoke", "resync"]
    for function in functions:
        with refused(404, "key_not_found"):
            by_owner(db, user_id, f"{function}_virtual_key", key_id=placeholder["id"])


# --- block, unblock, revoke, resync -------------------------------------------------------------------------


def test_a_block_and_its_end_are_pushed_and_the_block_is_urgent(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    blocked = by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    assert (blocked["state"], blocked["blocked_by"], blocked["sync_status"]) == (
        "blocked",
        "owner",
        "pending",
    )
    assert account(db, user_id)["urgent"] is True
    push = claim(db, user_id)
    assert [one["state"] for one in push["keys"]] == ["blocked"]
    finish(db, push)
    assert account(db, user_id)["urgent"] is False
    unblocked = by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])
    assert (unblocked["state"], unblocked["blocked_by"], unblocked["sync_status"]) == (
        "active",
        None,
        "pending",
    )


def test_blocking_twice_is_one_change(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    once = by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    assert by_owner(db, user_id, "block_virtual_key", key_id=made["id"]) == once


def test_what_an_administrator_blocked_its_owner_cannot_unblock(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    db.execute(
        "update public.virtual_keys set state = 'blocked', blocked_by = 'administrator' where id = %s",
        [made["id"]],
    )
    with refused(403, "blocked_by_administrator"):
        by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])
    again = by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    assert again["blocked_by"] == "administrator"


def test_a_revoked_key_stays_revoked(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    revoked = by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    assert (revoked["state"], revoked["sync_status"]) == ("revoked", "pending")
    assert revoked["revoked_at"] is not None
    for function in ("update", "block", "unblock", "revoke"):
        with refused(409, "key_revoked"):
            by_owner(db, user_id, f"{function}_virtual_key", key_id=made["id"])
    with pytest.raises(psycopg.errors.RaiseException, match="stays revoked"):
        db.execute("update public.virtual_keys set state = 'active' where id = %s", [made["id"]])


def test_a_confirmed_revocation_forgets_the_key_and_keeps_its_hash(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    finish(db, claim(db, user_id))
    after = key(db, made["id"])
    assert (after["litellm_key_id"], after["key_hash"]) == (None, made["key_hash"])
    assert after["sync_status"] == "synced"


def test_a_key_string_is_never_used_twice(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    finish(db, claim(db, user_id))
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(db, user_id, litellm_key_id=made["litellm_key_id"])


@pytest.mark.parametrize("column", ["litellm_key_id", "key_hash"])
def test_a_key_string_is_never_replaced(db: Connection, column: str) -> None:
    made = synced_key(db, sign_up(db))
    with pytest.raises(psycopg.errors.RaiseException, match="never replaced"):
        db.execute(
            f"update public.virtual_keys set {column} = 'sk-another-string-1234' where id = %s".encode(),
            [made["id"]],
        )


def test_a_resync_makes_a_synced_key_outstanding_again(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    again = by_owner(db, user_id, "resync_virtual_key", key_id=made["id"])
    assert again["sync_status"] == "pending"
    assert [one["id"] for one in claim(db, user_id)["keys"]] == [str(made["id"])]


def test_a_revoked_key_may_be_resynced(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    finish(db, claim(db, user_id))
    by_owner(db, user_id, "resync_virtual_key", key_id=made["id"])
    (pushed,) = claim(db, user_id)["keys"]
    assert (pushed["state"], pushed["key"], pushed["confirmed"]) == ("revoked", None, True)


# --- rows written by hand -----------------------------------------------------------------------------------


def insert(db: Connection, user_id: UUID, **columns: object) -> Row:
    """Insert a key as the owner of the table, as an operator's script would."""
    given = {"user_id": user_id, "name": "By hand"} | columns
    names, marks = ", ".join(given), ", ".join(["%s"] * len(given))
    with db.transaction():
        db.execute("set local role postgres")
        made = rows(
            db, f"insert into public.virtual_keys ({names}) values ({marks}) returning *", *given.values()
        )
        return made[0]


def test_an_ordinary_pending_row_gets_a_key_string_and_is_pushed_like_any_other(db: Connection) -> None:
    user_id = sign_up(db)
    made = insert(db, user_id, max_budget=250, sync_status="pending")
    assert KEY.fullmatch(made["litellm_key_id"])
    assert (made["cap"], made["max_budget"], made["state"]) == ("fixed", 250, "active")
    push = claim(db, user_id)
    assert [one["id"] for one in push["keys"]] == [str(made["id"])]
    finish(db, push)
    assert key(db, made["id"])["sync_status"] == "synced"


def test_a_row_without_a_budget_follows_the_wallet(db: Connection) -> None:
    made = insert(db, sign_up(db))
    assert (made["cap"], made["max_budget"], made["sync_status"]) == ("wallet", 1000, "pending")


def test_a_row_may_bring_a_key_string_of_its_own(db: Connection) -> None:
    made = insert(db, sign_up(db), litellm_key_id="sk-migrated-0123456789")
    assert made["key_hash"] == hashlib.sha256(b"sk-migrated-0123456789").hexdigest()


@pytest.mark.parametrize("wrong", ["sk-short", "pk-migrated-0123456789", "sk-with space 0123456789"])
def test_a_key_string_that_litellm_would_not_take_is_refused(db: Connection, wrong: str) -> None:
    user_id = sign_up(db)
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(db, user_id, litellm_key_id=wrong)


def test_a_row_set_back_to_pending_by_hand_is_found_by_the_sweep(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    db.execute("update public.virtual_keys set sync_status = 'pending' where id = %s", [made["id"]])
    assert by_service(db, "heal_accounts")["strays"] == 1
    assert finish(db, claim(db, user_id))
    assert key(db, made["id"])["sync_status"] == "synced"
    assert by_service(db, "heal_accounts")["strays"] == 0


def test_an_account_has_one_placeholder_at_most(db: Connection) -> None:
    user_id = sign_up(db)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(db, user_id, state="placeholder")
    assert value(db, "select count(*) from public.virtual_keys") == 1
