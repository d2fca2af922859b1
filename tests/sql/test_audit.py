"""Who did what to which account or key, and when: written down with the deed, seen by those concerned."""

from uuid import UUID

import psycopg
import pytest

from tests.sql.acting import (
    Row,
    by_owner,
    delete_user,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
    without_triggers,
)
from tests.support import Connection, as_role

AUDITED = ("keyfund.settings", "keyfund.administrators", "public.credit_packages")


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def entries(db: Connection, account_id: UUID) -> list[Row]:
    return rows(db, "select * from public.audit_log where account_id = %s order by id", account_id)


def told(db: Connection, account_id: UUID) -> list[tuple[str, str]]:
    return [(one["actor"], one["action"]) for one in entries(db, account_id)]


def test_what_an_owner_does_to_a_key_is_written_down_without_the_string(
    db: Connection, user_id: UUID
) -> None:
    made = synced_key(db, user_id, name="Private name", max_budget=70)
    by_owner(db, user_id, "update_virtual_key", key_id=made["id"], rpm_limit=4)
    for deed in ("block", "block", "unblock", "rotate", "revoke"):  # blocked again is nothing new
        by_owner(db, user_id, f"{deed}_virtual_key", key_id=made["id"])
    actions = ["created", "changed", "blocked", "unblocked", "rotated", "revoked"]
    assert told(db, user_id) == [("owner", f"key_{action}") for action in actions]
    kept = entries(db, user_id)
    assert {one["key_id"] for one in kept} == {made["id"]}
    assert {one["actor_id"] for one in kept} == {user_id}
    assert kept[0]["details"]["max_budget"] == 70
    assert kept[1]["details"]["rpm_limit"] == 4
    assert "sk-" not in str(kept)
    assert "Private name" not in str(kept)


def test_what_was_refused_is_not_written_down(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id)
    before = told(db, user_id)
    with refused(400, "invalid_rpm_limit"):
        by_owner(db, user_id, "update_virtual_key", key_id=made["id"], rpm_limit=0)
    assert told(db, user_id) == before


def test_what_administrators_do_has_their_name_and_reason(db: Connection, user_id: UUID, admin: UUID) -> None:
    made = synced_key(db, user_id)
    before = len(entries(db, user_id))
    by_owner(db, admin, "hold_virtual_key", key_id=made["id"], reason="abuse")
    by_owner(db, admin, "limit_virtual_key", key_id=made["id"], reason="abuse", rpm_limit=1)
    by_owner(db, admin, "suspend_account", account_id=user_id, reason="abuse")
    by_owner(db, admin, "reinstate_account", account_id=user_id, reason="sorry")
    for _ in range(2):  # the same id again does nothing, and says nothing
        by_owner(
            db, admin, "adjust_credits", account_id=user_id, credits=5, reason="sorry", adjustment_id="a"
        )
    by_owner(db, admin, "resync_account", account_id=user_id)
    kept = entries(db, user_id)[before:]
    assert [one["action"] for one in kept] == [
        "key_blocked", "key_limited", "account_suspended", "account_reinstated", "credits_adjusted",
        "account_resynced",
    ]  # fmt: skip
    assert {(one["actor"], one["actor_id"]) for one in kept} == {("administrator", admin)}
    assert [one["details"].get("reason") for one in kept] == ["abuse"] * 3 + ["sorry"] * 2 + [None]


def test_what_nobody_did_is_the_system_s(db: Connection, user_id: UUID) -> None:
    db.execute("update public.profiles set status = 'suspended' where id = %s", [user_id])
    delete_user(db, user_id)
    assert told(db, user_id) == [("system", "account_suspended"), ("system", "account_deleted")]


def test_owners_see_their_own_and_administrators_everything(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    synced_key(db, user_id)
    synced_key(db, admin)
    count = "select count(distinct account_id) from public.audit_log"
    for who, seen in ((user_id, 1), (sign_up(db), 0), (admin, 2)):
        with as_role(db, "authenticated", who):
            assert db.execute(count.encode()).fetchone() == (seen,)


@pytest.mark.parametrize(
    "statement",
    ["update public.audit_log set action = 'x'", "delete from public.audit_log", "truncate public.audit_log"],
)
def test_nobody_changes_what_is_written(db: Connection, user_id: UUID, statement: str) -> None:
    synced_key(db, user_id)
    with pytest.raises(psycopg.Error, match="append-only"):
        db.execute(statement.encode())


# --- administrators on their own accounts -------------------------------------------------------------------


def concerns(db: Connection, admin: UUID) -> tuple[int, int]:
    found = by_owner(db, admin, "read_concerns")
    return found["self_dealings"], found["large_adjustments"]


def adjust(db: Connection, admin: UUID, account_id: UUID, credits: int) -> None:
    given = {
        "account_id": account_id,
        "credits": credits,
        "reason": "so be it",
        "adjustment_id": f"a{credits}",
    }
    by_owner(db, admin, "adjust_credits", **given)


def test_what_an_administrator_does_to_their_own_account_is_an_administrator_s_doing(
    db: Connection, admin: UUID
) -> None:
    made = synced_key(db, admin)
    adjust(db, admin, admin, 40)
    by_owner(db, admin, "hold_virtual_key", key_id=made["id"], reason="a try")
    by_owner(db, admin, "suspend_account", account_id=admin, reason="a try")
    by_owner(db, admin, "reinstate_account", account_id=admin, reason="a try")
    by_owner(db, admin, "resync_account", account_id=admin)
    by_owner(db, admin, "create_virtual_key")
    assert [actor for actor, _ in told(db, admin)] == ["owner", *["administrator"] * 5, "owner"]
    kept = entries(db, admin)
    assert {one["actor_id"] for one in kept} == {admin}
    assert kept[1]["details"] == {"credits": 40, "before": 500, "after": 540, "reason": "so be it"}
    with as_role(db, "authenticated", admin):
        found = db.execute("select count(*) from public.audit_log where actor = 'administrator'").fetchone()
    assert found == (5,)


def test_another_should_look_at_what_administrators_do_for_themselves_and_at_large_amounts(
    db: Connection, admin: UUID, user_id: UUID
) -> None:
    adjust(db, admin, user_id, 9_999)
    assert concerns(db, admin) == (0, 0)
    adjust(db, admin, admin, 10)
    assert concerns(db, admin) == (1, 0)
    adjust(db, admin, user_id, 10_000)
    adjust(db, admin, user_id, -15_000)
    assert concerns(db, admin) == (1, 2)
    db.execute("update keyfund.settings set large_adjustment_credits = 9999")
    assert concerns(db, admin) == (1, 3)
    let_pass_the_log(db, 31)
    assert concerns(db, admin) == (0, 0)


def let_pass_the_log(db: Connection, days: int) -> None:
    with without_triggers(db):
        db.execute("update public.audit_log set at = at - make_interval(days => %s)", [days])


def test_what_an_owner_does_in_the_same_moment_is_not_another_administrator_s(
    db: Connection, admin: UUID, user_id: UUID
) -> None:
    """The mark names who is an administrator, and lasts for a transaction."""
    adjust(db, admin, admin, 40)
    synced_key(db, user_id)
    assert told(db, user_id)[-1] == ("owner", "key_created")


# --- what the operator has changed --------------------------------------------------------------------------

CHANGES = """
    select actor, actor_id, action, account_id, key_id, details from public.audit_log
    where action ~ '^(settings|administrator)_' order by id
"""
SYSTEM = {"actor": "system", "actor_id": None, "account_id": None, "key_id": None}


def test_a_setting_that_changes_is_written_down_with_its_old_and_new_value(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_credits = 70, most_rpm_limit = 5, open_routes = '{chat}'")
    db.execute("update keyfund.settings set most_rpm_limit = null")
    first, second = rows(db, CHANGES)
    assert first == SYSTEM | {
        "action": "settings_changed",
        "details": {
            "changes": {
                "signup_credits": {"old": 500, "new": 70},
                "most_rpm_limit": {"old": None, "new": 5},
                "open_routes": {"old": ["chat", "completions", "embeddings"], "new": ["chat"]},
            }
        },
    }
    assert second["details"] == {"changes": {"most_rpm_limit": {"old": 5, "new": None}}}


def test_a_setting_that_is_set_to_what_it_was_is_not_written_down(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_credits = 500, key_rpm_limit = 100")
    assert rows(db, CHANGES) == []


def test_the_salt_of_the_hashes_is_never_written_down(db: Connection) -> None:
    before = str(value(db, "select installation_id from keyfund.settings"))
    db.execute("update keyfund.settings set installation_id = gen_random_uuid()")
    db.execute("update keyfund.settings set installation_id = gen_random_uuid(), signup_credits = 1")
    now = str(value(db, "select installation_id from keyfund.settings"))
    (only,) = rows(db, CHANGES)
    assert only["details"] == {"changes": {"signup_credits": {"old": 500, "new": 1}}}
    assert before not in str(only)
    assert now not in str(only)


def test_who_became_an_administrator_and_who_is_none_any_more_is_written_down(
    db: Connection, user_id: UUID
) -> None:
    before = len(rows(db, CHANGES))
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    db.execute("delete from keyfund.administrators where user_id = %s", [user_id])
    added, removed = rows(db, CHANGES)[before:]
    person = str(user_id)
    assert added == SYSTEM | {
        "action": "administrator_added",
        "details": {"administrator": person, "changes": {"user_id": {"new": person}}},
    }
    assert removed == SYSTEM | {
        "action": "administrator_removed",
        "details": {"administrator": person, "changes": {"user_id": {"old": person}}},
    }


def test_what_somebody_who_is_signed_in_changes_has_their_name(db: Connection, admin: UUID) -> None:
    db.execute(
        "select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, false)", [admin]
    )
    try:
        db.execute("update keyfund.settings set signup_credits = 70")
    finally:
        db.execute("select set_config('request.jwt.claims', '', false)")
    last = rows(db, CHANGES)[-1]
    assert (last["actor"], last["actor_id"], last["account_id"]) == ("administrator", admin, None)


def test_what_belongs_to_no_account_is_seen_by_administrators_alone(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    db.execute("update keyfund.settings set signup_credits = 70")
    count = "select count(*) from public.audit_log where action = 'settings_changed'"
    for who, seen in ((admin, 1), (user_id, 0)):
        with as_role(db, "authenticated", who):
            assert db.execute(count.encode()).fetchone() == (seen,)


@pytest.mark.parametrize("table", AUDITED)
def test_nothing_that_is_written_down_row_by_row_is_emptied_at_once(db: Connection, table: str) -> None:
    with pytest.raises(psycopg.Error, match="delete the rows"):
        db.execute(f"truncate {table} cascade".encode())
