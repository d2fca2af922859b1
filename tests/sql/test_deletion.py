"""What is left of a removed user: a tombstone that the worker finishes, and the books."""

import psycopg
import pytest

from tests.sql.acting import (
    HEALED,
    account,
    by_owner,
    by_service,
    claim,
    credit,
    delete_user,
    finish,
    key,
    keys,
    ledger,
    open_order,
    payment,
    profile,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
    without_triggers,
)
from tests.support import Connection


def test_a_deleted_user_leaves_a_tombstone_without_an_address_and_the_books(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    made = synced_key(db, user_id, name="Ana's laptop")
    credit(db, order := open_order(db, user_id))
    books = ledger(db, user_id)
    delete_user(db, user_id)
    left = profile(db, user_id)
    assert (left["email"], left["status"]) == (None, "deleted")
    assert ledger(db, user_id) == books
    assert payment(db, order["reference"])["status"] == "success"
    after = key(db, made["id"])
    assert (after["state"], after["name"], after["key_hash"]) == ("revoked", "Deleted", made["key_hash"])


def test_a_tombstone_is_urgent_its_wallet_nothing_and_its_keys_revoked(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    delete_user(db, user_id)
    assert account(db, user_id)["urgent"] is True
    push = claim(db, user_id)
    assert push["budget_micros"] == 0
    assert [(one["state"], one["key_hash"]) for one in push["keys"]] == [("revoked", made["key_hash"])]
    finish(db, push)
    assert key(db, made["id"])["litellm_key_id"] is None
    assert account(db, user_id)["next_attempt_at"] is None


def test_nothing_that_a_person_named_is_left_of_them(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    for _ in range(2):
        made = synced_key(db, user_id, name="Ana's laptop")
        by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    delete_user(db, user_id)
    assert "Ana" not in str(keys(db, user_id))


def test_the_placeholder_of_a_deleted_user_is_gone(db: Connection) -> None:
    user_id = sign_up(db)
    delete_user(db, user_id)
    assert keys(db, user_id) == []
    assert profile(db, user_id)["status"] == "deleted"


def test_an_error_of_ours_never_fails_a_deletion_and_is_healed_later(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    db.execute("alter table public.profiles add constraint broken check (status <> 'deleted') not valid")
    delete_user(db, user_id)
    assert rows(db, "select from auth.users") == []
    assert profile(db, user_id)["status"] == "active"
    db.execute("alter table public.profiles drop constraint broken")
    assert by_service(db, "heal_accounts")["closed"] == 1
    assert profile(db, user_id)["status"] == "deleted"
    assert key(db, made["id"])["state"] == "revoked"


def test_burying_an_account_again_changes_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    synced_key(db, user_id)
    delete_user(db, user_id)
    finish(db, claim(db, user_id))
    before = (profile(db, user_id), account(db, user_id), keys(db, user_id))
    value(db, "select keyfund.bury_account(%s)", user_id)
    by_service(db, "heal_accounts")
    assert (profile(db, user_id), account(db, user_id), keys(db, user_id)) == before


def test_money_that_comes_after_the_deletion_is_booked_and_buys_nothing_in_litellm(db: Connection) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    delete_user(db, user_id)
    assert credit(db, order)["credited"] is True
    assert profile(db, user_id)["credits"] == 1000
    assert claim(db, user_id)["budget_micros"] == 0


def test_a_token_that_outlives_its_user_can_do_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    delete_user(db, user_id)
    with refused(403, "account_deleted"):
        by_owner(db, user_id, "create_virtual_key")
    for function in ("update", "block", "unblock", "revoke", "resync", "rotate"):
        with refused(403, "account_deleted"):
            by_owner(db, user_id, f"{function}_virtual_key", key_id=made["id"])


def test_the_books_cannot_be_removed_with_the_profile(db: Connection) -> None:
    user_id = sign_up(db)
    delete_user(db, user_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute("delete from public.profiles where id = %s", [user_id])


def test_users_that_were_removed_without_our_knowing_are_found_by_the_sweep(db: Connection) -> None:
    user_id = sign_up(db)
    with without_triggers(db):
        db.execute("delete from auth.users where id = %s", [user_id])
    assert by_service(db, "heal_accounts") == HEALED | {"closed": 1}
    assert by_service(db, "heal_accounts") == HEALED
