"""What an operator or an administrator allows at most, nobody goes beyond."""

from uuid import UUID

import pytest

from tests.sql.acting import Row, append, by_owner, claim, finish, key, keys, refused, sign_up, synced_key
from tests.support import Connection

REASON = "it was too much"


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def create(db: Connection, user_id: UUID, **limits: object) -> Row:
    made: Row = by_owner(db, user_id, "create_virtual_key", **limits)
    return made


@pytest.mark.parametrize(
    ("ceiling", "limit"),
    [("most_rpm_limit", "rpm_limit"), ("most_tpm_limit", "tpm_limit"), ("most_max_budget", "max_budget")],
)
def test_no_key_is_made_or_changed_beyond_the_installation_s_ceilings(
    db: Connection, user_id: UUID, ceiling: str, limit: str
) -> None:
    db.execute(f"update keyfund.settings set {ceiling} = 50".encode())
    with refused(400, "beyond_ceiling"):
        create(db, user_id, **{limit: 51})
    made = create(db, user_id, **{limit: 50})
    with refused(400, "beyond_ceiling"):
        by_owner(db, user_id, "update_virtual_key", key_id=made["id"], **{limit: 51})
    assert create(db, user_id)[limit] == 50  # what is not said is no way around it


def test_a_ceiling_that_is_lowered_reaches_the_keys_that_are_beyond_it(db: Connection, user_id: UUID) -> None:
    fast, slow = synced_key(db, user_id, rpm_limit=90), synced_key(db, user_id, rpm_limit=10)
    db.execute("update keyfund.settings set most_rpm_limit = 20")
    assert (key(db, fast["id"])["rpm_limit"], key(db, fast["id"])["sync_status"]) == (20, "pending")
    assert (key(db, slow["id"])["rpm_limit"], key(db, slow["id"])["sync_status"]) == (10, "synced")


def test_a_wallet_s_cap_stops_at_the_ceiling_however_much_is_bought(db: Connection, user_id: UUID) -> None:
    db.execute("update keyfund.settings set most_max_budget = 1100")
    made = create(db, user_id)
    append(db, user_id, 10_000)
    assert key(db, made["id"])["max_budget"] == 1100


def test_an_administrator_s_limits_are_ceilings_for_the_owner_s_own(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    made = synced_key(db, user_id, rpm_limit=90)
    shown = by_owner(db, admin, "limit_virtual_key", key_id=made["id"], reason=REASON, rpm_limit=30)
    assert shown["rpm_limit"] == 30
    assert "litellm_key_id" not in shown
    with refused(400, "beyond_ceiling"):
        by_owner(db, user_id, "update_virtual_key", key_id=made["id"], rpm_limit=31)
    assert by_owner(db, user_id, "update_virtual_key", key_id=made["id"], rpm_limit=5)["rpm_limit"] == 5
    by_owner(db, admin, "limit_virtual_key", key_id=made["id"], reason=REASON)
    assert by_owner(db, user_id, "update_virtual_key", key_id=made["id"], rpm_limit=80)["rpm_limit"] == 80


def test_what_an_administrator_holds_only_an_administrator_releases(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    made = synced_key(db, user_id)
    by_owner(db, admin, "hold_virtual_key", key_id=made["id"], reason=REASON)
    assert (key(db, made["id"])["state"], key(db, made["id"])["blocked_by"]) == ("blocked", "administrator")
    with refused(403, "blocked_by_administrator"):
        by_owner(db, user_id, "unblock_virtual_key", key_id=made["id"])
    by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    assert key(db, made["id"])["blocked_by"] == "administrator"
    by_owner(db, admin, "release_virtual_key", key_id=made["id"], reason=REASON)
    assert key(db, made["id"])["state"] == "active"


@pytest.mark.parametrize("function", ["hold_virtual_key", "release_virtual_key", "limit_virtual_key"])
def test_nobody_else_holds_releases_or_limits(db: Connection, user_id: UUID, function: str) -> None:
    made = synced_key(db, user_id)
    with refused(403, "not_an_administrator"):
        by_owner(db, user_id, function, key_id=made["id"], reason=REASON)


def test_an_account_is_suspended_and_reinstated_with_a_reason(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    with refused(400, "reason_missing"):
        by_owner(db, admin, "suspend_account", account_id=user_id, reason=" ")
    with refused(403, "not_an_administrator"):
        by_owner(db, user_id, "reinstate_account", account_id=user_id, reason=REASON)
    by_owner(db, admin, "suspend_account", account_id=user_id, reason=REASON)
    with refused(403, "account_suspended"):
        create(db, user_id)
    by_owner(db, admin, "reinstate_account", account_id=user_id, reason=REASON)
    create(db, user_id)


def test_limits_of_the_account_and_models_go_with_its_push_and_reach_everyone_when_they_change(
    db: Connection, user_id: UUID
) -> None:
    made = synced_key(db, user_id)
    db.execute(
        "update keyfund.settings set account_rpm_limit = 9, account_tpm_limit = 900, allowed_models = '{a,b}'"
    )
    assert key(db, made["id"])["sync_status"] == "pending"
    push = claim(db, user_id)
    assert (push["rpm_limit"], push["tpm_limit"]) == (9, 900)
    assert [(one["id"], one["models"]) for one in push["keys"]] == [(str(made["id"]), ["a", "b"])]
    finish(db, push)


def test_where_it_is_switched_on_a_sign_up_makes_a_working_key(db: Connection) -> None:
    db.execute("update keyfund.settings set provision_at_signup = true")
    user_id = sign_up(db)
    (made,) = keys(db, user_id)
    assert (made["state"], made["max_budget"], made["sync_status"]) == ("active", 1000, "pending")
    assert [one["id"] for one in claim(db, user_id)["keys"]] == [str(made["id"])]
