"""The ledger is append-only, explains every credit, counts each cause once, and moves wallets and caps."""

from uuid import uuid4

import psycopg
import pytest

from tests.sql.acting import (
    account,
    append,
    at_once,
    by_owner,
    key,
    keys,
    ledger,
    profile,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database


@pytest.mark.parametrize(
    "statement",
    [
        "update public.credit_ledger set delta = 1 where true",
        "update public.credit_ledger set reason = 'another' where true",
        "delete from public.credit_ledger where true",
        "delete from public.credit_ledger where false",
        "truncate public.credit_ledger",
        "truncate public.profiles cascade",
    ],
)
def test_even_the_superuser_cannot_change_what_the_ledger_says(db: Connection, statement: str) -> None:
    user_id = sign_up(db)
    before = ledger(db, user_id)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        db.execute(statement.encode())
    assert ledger(db, user_id) == before


def test_credits_do_not_change_without_an_entry(db: Connection) -> None:
    user_id = sign_up(db)
    with pytest.raises(psycopg.errors.RaiseException, match="only with a ledger entry"):
        db.execute("update public.profiles set credits = credits + 1 where true")
    assert profile(db, user_id)["credits"] == 500


def test_a_profile_is_not_made_with_credits_that_no_entry_explains(db: Connection) -> None:
    with pytest.raises(psycopg.Error):
        db.execute("insert into public.profiles (id, credits) values (%s, 100)", [uuid4()])


def test_an_entry_that_does_not_continue_the_balance_is_refused(db: Connection) -> None:
    user_id = sign_up(db)
    with pytest.raises(psycopg.errors.RaiseException, match="does not continue the balance"):
        db.execute(
            """insert into public.credit_ledger (account_id, delta, kind, cause, balance_after)
            values (%s, 1, 'adjustment', 'test', 502)""",
            [user_id],
        )


def test_each_entry_shows_the_balance_after_it(db: Connection) -> None:
    user_id = sign_up(db)
    for delta, kind in [(1000, "purchase"), (-30, "usage"), (-1500, "withheld"), (5, "adjustment")]:
        append(db, user_id, delta, kind)
    assert [one["balance_after"] for one in ledger(db, user_id)] == [500, 1500, 1470, -30, -25]
    assert profile(db, user_id)["credits"] == -25


def test_the_same_cause_twice_changes_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    assert append(db, user_id, 100, "purchase", "purchase:kf-1") is not None
    assert append(db, user_id, 100, "purchase", "purchase:kf-1") is None
    assert profile(db, user_id)["credits"] == 600
    assert account(db, user_id)["wallet_credits"] == 600


def test_the_same_cause_from_many_connections_counts_once(database: Database, db: Connection) -> None:
    user_id = sign_up(db)
    entries = at_once(
        database, 10, lambda connection, _: append(connection, user_id, 100, "purchase", "purchase:kf-1")
    )
    assert len([entry for entry in entries if entry is not None]) == 1
    assert profile(db, user_id)["credits"] == 600


def test_entries_made_at_once_stand_in_one_line(database: Database, db: Connection) -> None:
    user_id = sign_up(db)
    at_once(database, 10, lambda connection, number: append(connection, user_id, number + 1))
    balances = [one["balance_after"] for one in ledger(db, user_id)]
    deltas = [one["delta"] for one in ledger(db, user_id)]
    assert balances == [sum(deltas[: count + 1]) for count in range(11)]
    assert profile(db, user_id)["credits"] == balances[-1] == 555


def test_the_value_of_a_credit_is_fixed_by_the_first_entry(db: Connection) -> None:
    db.execute("update keyfund.settings set credit_value_cents = 3 where true")
    user_id = sign_up(db)
    assert keys(db, user_id)[0]["max_budget"] == 1500
    with pytest.raises(psycopg.errors.RaiseException, match="fixed"):
        db.execute("update keyfund.settings set credit_value_cents = 2 where true")


# --- wallets and caps ---------------------------------------------------------------------------------------


def test_a_purchase_raises_a_wallet_cap_and_leaves_a_fixed_one_alone(db: Connection) -> None:
    user_id = sign_up(db)
    follows = synced_key(db, user_id)
    fixed = synced_key(db, user_id, max_budget=300)
    append(db, user_id, 250, "purchase")
    assert key(db, follows["id"])["max_budget"] == 1500
    assert key(db, fixed["id"])["max_budget"] == 300


def test_a_negative_entry_lowers_a_wallet_cap_never_below_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    follows = synced_key(db, user_id)
    fixed = synced_key(db, user_id, max_budget=300)
    append(db, user_id, -100)
    assert key(db, follows["id"])["max_budget"] == 800
    append(db, user_id, -900, "withheld")
    assert key(db, follows["id"])["max_budget"] == 0
    assert key(db, fixed["id"])["max_budget"] == 300
    assert profile(db, user_id)["credits"] == -500
    append(db, user_id, 600, "purchase")  # pays the debt first
    assert key(db, follows["id"])["max_budget"] == 200


def test_usage_leaves_wallet_and_caps_alone(db: Connection) -> None:
    user_id = sign_up(db)
    follows = synced_key(db, user_id)
    append(db, user_id, -400, "usage")
    assert (account(db, user_id)["wallet_credits"], profile(db, user_id)["credits"]) == (500, 100)
    assert key(db, follows["id"]) == follows


def test_the_placeholder_follows_the_wallet_outside_every_backlog(db: Connection) -> None:
    user_id = sign_up(db)
    append(db, user_id, 250, "purchase")
    (placeholder,) = keys(db, user_id)
    assert (placeholder["max_budget"], placeholder["revision"], placeholder["next_attempt_at"]) == (
        1500,
        0,
        None,
    )


def test_a_blocked_key_follows_the_wallet_and_a_revoked_one_does_not(db: Connection) -> None:
    user_id = sign_up(db)
    blocked, revoked = synced_key(db, user_id), synced_key(db, user_id)
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    by_owner(db, user_id, "revoke_virtual_key", key_id=revoked["id"])
    append(db, user_id, 250, "purchase")
    assert key(db, blocked["id"])["max_budget"] == 1500
    assert key(db, revoked["id"])["max_budget"] == 1000


def test_after_an_entry_every_live_key_waits_for_the_wallet(db: Connection) -> None:
    user_id = sign_up(db)
    fixed = synced_key(db, user_id, max_budget=300)
    assert fixed["sync_status"] == "synced"
    append(db, user_id, 250, "purchase")
    assert key(db, fixed["id"])["sync_status"] == "pending"
    made = account(db, user_id)
    assert made["revision"] > made["confirmed_revision"]
    assert value(db, "select next_attempt_at <= now() from keyfund.pushes")
