"""Supabase's users as its auth really leaves them: deleted softly, banned, changed behind lost triggers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.acting import (
    HEALED,
    account,
    ban,
    by_owner,
    by_service,
    change_user,
    claim,
    finish,
    key,
    keys,
    ledger,
    let_pass,
    open_order,
    profile,
    refused,
    rows,
    sign_up,
    soft_delete,
    synced_key,
    value,
    without_triggers,
)
from tests.support import Connection, as_role

TRIGGERS = ["keyfund_new_user", "keyfund_changed_user", "keyfund_deleted_user"]
ON_KEYS = ("update", "block", "unblock", "revoke", "resync", "rotate")


def notes(db: Connection, user_id: UUID) -> list[str]:
    found = rows(db, "select action from public.audit_log where account_id = %s order by id", user_id)
    return [one["action"] for one in found if one["action"].startswith("account_")]


# --- soft deletion ------------------------------------------------------------------------------------------


def test_a_soft_deletion_leaves_a_tombstone_and_the_books(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    made = synced_key(db, user_id, name="Ana's laptop")
    books = ledger(db, user_id)
    soft_delete(db, user_id)
    left = profile(db, user_id)
    assert (left["email"], left["status"], left["deleted_at"] is None) == (None, "deleted", False)
    assert (key(db, made["id"])["state"], key(db, made["id"])["name"]) == ("revoked", "Deleted")
    assert ledger(db, user_id) == books
    push = claim(db, user_id)
    assert (push["budget_micros"], push["suspended"]) == (0, True)
    assert [one["state"] for one in push["keys"]] == ["revoked"]


@pytest.mark.parametrize("noticed", [True, False])
def test_a_token_that_outlives_a_soft_deletion_can_do_nothing(db: Connection, noticed: bool) -> None:
    """Also before the sweep has noticed, where the trigger is lost."""
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    if noticed:
        soft_delete(db, user_id)
    else:
        unnoticed(db, lambda: soft_delete(db, user_id))
    with refused(403, "account_deleted"):
        by_owner(db, user_id, "create_virtual_key")
    for function in ON_KEYS:
        with refused(403, "account_deleted"):
            by_owner(db, user_id, f"{function}_virtual_key", key_id=made["id"])
    with refused(403, "account_deleted"):
        open_order(db, user_id)


def test_taking_a_soft_deletion_back_revives_nothing(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    made = synced_key(db, user_id)
    soft_delete(db, user_id)
    change_user(db, user_id, deleted_at=None, email="ana@example.com")
    by_service(db, "heal_accounts")
    assert (profile(db, user_id)["status"], profile(db, user_id)["email"]) == ("deleted", None)
    assert [one["state"] for one in keys(db, user_id)] == ["revoked"]
    assert key(db, made["id"])["state"] == "revoked"
    with refused(403, "account_deleted"):
        by_owner(db, user_id, "create_virtual_key")


def test_a_deleted_account_cannot_be_made_active_by_hand(db: Connection) -> None:
    user_id = sign_up(db)
    soft_delete(db, user_id)
    with pytest.raises(psycopg.errors.RaiseException, match="stays deleted"):
        db.execute("update public.profiles set status = 'active' where id = %s", [user_id])


def test_who_comes_back_after_a_soft_deletion_is_granted_nothing(db: Connection) -> None:
    soft_delete(db, sign_up(db, "ana@example.com"))
    assert profile(db, sign_up(db, "ana@example.com"))["credits"] == 0


def test_the_sweep_leaves_softly_deleted_users_out(db: Connection) -> None:
    with without_triggers(db):
        user_id = sign_up_softly_deleted(db)
    assert by_service(db, "heal_accounts") == HEALED
    assert rows(db, "select from public.profiles where id = %s", user_id) == []


def test_a_softly_deleted_administrator_is_one_no_more(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    assert by_owner(db, user_id, "is_administrator") is True
    soft_delete(db, user_id)
    assert by_owner(db, user_id, "is_administrator") is False


# --- bans ---------------------------------------------------------------------------------------------------


def test_a_ban_suspends_until_the_clock_has_passed_it(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    ban(db, user_id, days=3650)
    assert profile(db, user_id)["status"] == "suspended"
    push = claim(db, user_id)
    assert (push["budget_micros"], push["suspended"], push["keys"][0]["id"]) == (0, True, str(made["id"]))
    finish(db, push)
    with refused(403, "account_suspended"):
        by_owner(db, user_id, "create_virtual_key")
    with refused(403, "account_suspended"):
        open_order(db, user_id)
    assert by_service(db, "heal_accounts") == HEALED
    let_pass(db, 3651 * 86_400)
    assert by_service(db, "heal_accounts") == HEALED | {"unbanned": 1}
    assert profile(db, user_id)["status"] == "active"
    push = claim(db, user_id)
    assert (push["budget_micros"], push["suspended"], len(push["keys"])) == (10_000_000, False, 1)
    assert by_owner(db, user_id, "create_virtual_key")["state"] == "active"
    assert notes(db, user_id) == ["account_banned", "account_unbanned"]


def test_a_ban_that_is_over_suspends_nobody(db: Connection) -> None:
    user_id = sign_up(db)
    change_user(db, user_id, banned_until=datetime.now(UTC) - timedelta(seconds=1))
    assert profile(db, user_id)["status"] == "active"


def test_a_ban_that_is_lifted_early_ends_at_once_and_one_that_is_prolonged_lasts(db: Connection) -> None:
    user_id = sign_up(db)
    ban(db, user_id, hours=1)
    ban(db, user_id, hours=2)
    let_pass(db, 3700)
    assert by_service(db, "heal_accounts") == HEALED
    assert profile(db, user_id)["status"] == "suspended"
    ban(db, user_id)
    assert profile(db, user_id)["status"] == "active"


@pytest.mark.parametrize("first_lifted", ["ban", "administrator"])
def test_of_two_reasons_neither_lifts_the_other(db: Connection, first_lifted: str) -> None:
    user_id, administrator = sign_up(db), sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [administrator])

    def say(function: str) -> None:
        with as_role(db, "authenticated", administrator):
            db.execute(f"select public.{function}(%s, 'because')".encode(), [user_id])

    ban(db, user_id, hours=1)
    say("suspend_account")
    for lifted in (first_lifted, {"ban": "administrator", "administrator": "ban"}[first_lifted]):
        assert profile(db, user_id)["status"] == "suspended"
        if lifted == "ban":
            let_pass(db, 3700)
            assert by_service(db, "heal_accounts")["unbanned"] == 1
        else:
            say("reinstate_account")
    assert profile(db, user_id)["status"] == "active"


def test_who_signs_up_banned_gets_a_suspended_account(db: Connection) -> None:
    user_id = sign_up(db, banned_until=datetime.now(UTC) + timedelta(days=1))
    assert profile(db, user_id)["status"] == "suspended"


def test_a_banned_administrator_is_none_while_it_lasts(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    ban(db, user_id, hours=1)
    assert by_owner(db, user_id, "is_administrator") is False
    ban(db, user_id)
    assert by_owner(db, user_id, "is_administrator") is True


# --- sign-ins -----------------------------------------------------------------------------------------------


def test_a_sign_in_looks_at_nothing(db: Connection) -> None:
    """GoTrue writes the user's row at each: our function is not called for it."""
    user_id = sign_up(db)
    db.execute("create table auth.calls (at timestamptz default clock_timestamp())")
    db.execute("grant insert on auth.calls to public")
    db.execute(
        "create or replace function keyfund.handle_changed_user() returns trigger language plpgsql as"
        " $$begin insert into auth.calls default values; return new; end$$"
    )
    change_user(db, user_id, last_sign_in_at="2026-11-28", updated_at="2026-11-28")
    change_user(db, user_id, email=value(db, "select email from auth.users where id = %s", user_id))
    assert value(db, "select count(*) from auth.calls") == 0
    change_user(db, user_id, email="other@example.com")
    assert value(db, "select count(*) from auth.calls") == 1


# --- lost triggers ------------------------------------------------------------------------------------------


def unnoticed(db: Connection, act: Callable[[], object]) -> None:
    """As it is after a dump that left our triggers out."""
    for trigger in TRIGGERS:
        db.execute(f"alter table auth.users disable trigger {trigger}".encode())
    act()
    for trigger in TRIGGERS:
        db.execute(f"alter table auth.users enable trigger {trigger}".encode())


def sign_up_softly_deleted(db: Connection) -> UUID:
    user_id = uuid4()
    db.execute("insert into auth.users (id, email, deleted_at) values (%s, 'x', now())", [user_id])
    return user_id


@pytest.mark.parametrize(
    ("kind", "change", "shown"),
    [
        ("changed", {"email": "new@example.com"}, {"email": "new@example.com", "status": "active"}),
        ("changed", {"banned_until": "2999-01-01"}, {"status": "suspended"}),
        ("closed", {"deleted_at": "2026-11-28"}, {"status": "deleted", "email": None}),
    ],
)
def test_the_sweep_sees_what_lost_triggers_did_not_tell(
    db: Connection, kind: str, change: dict[str, object], shown: dict[str, object]
) -> None:
    user_id = sign_up(db, "ana@example.com")
    unnoticed(db, lambda: change_user(db, user_id, **change))
    assert profile(db, user_id)["email"] == "ana@example.com"
    assert by_service(db, "heal_accounts") == HEALED | {kind: 1}
    assert {name: profile(db, user_id)[name] for name in shown} == shown
    assert by_service(db, "heal_accounts") == HEALED


def test_users_restored_from_a_dump_get_accounts_and_their_bans(db: Connection) -> None:
    people: list[UUID] = []
    until = datetime.now(UTC) + timedelta(days=1)
    unnoticed(db, lambda: people.extend([sign_up(db), sign_up(db, banned_until=until)]))
    assert by_service(db, "heal_accounts") == HEALED | {"opened": 2}
    assert [profile(db, one)["status"] for one in people] == ["active", "suspended"]
    assert [profile(db, one)["credits"] for one in people] == [500, 500]


def test_a_key_made_before_the_sweep_saw_the_ban_is_refused(db: Connection) -> None:
    user_id = sign_up(db)
    unnoticed(db, lambda: ban(db, user_id, hours=1))
    with refused(403, "account_suspended"):
        by_owner(db, user_id, "create_virtual_key")


def test_missing_triggers_are_named_and_an_operator_puts_them_back(db: Connection) -> None:
    assert by_service(db, "list_missing_triggers") == []
    with db.transaction(force_rollback=True):
        for trigger in TRIGGERS:
            db.execute(f"drop trigger {trigger} on auth.users".encode())
        assert by_service(db, "list_missing_triggers") == TRIGGERS
        with as_role(db, "postgres"):
            db.execute("select keyfund.follow_users()")
        assert by_service(db, "list_missing_triggers") == []
    with db.transaction(force_rollback=True):
        db.execute("alter table auth.users disable trigger keyfund_changed_user")
        assert by_service(db, "list_missing_triggers") == ["keyfund_changed_user"]


def test_an_account_that_was_suspended_by_an_administrator_stays_so_through_the_sweep(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("update public.profiles set status = 'suspended' where id = %s", [user_id])
    assert by_service(db, "heal_accounts") == HEALED
    assert profile(db, user_id)["status"] == "suspended"
    assert account(db, user_id)["urgent"] is True
