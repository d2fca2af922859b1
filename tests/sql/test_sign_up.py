"""From a Supabase user to an account: the trigger, what heals it, and the one grant per person."""

from threading import Thread
from uuid import UUID, uuid4

import pytest

from tests.sql.acting import (
    HEALED,
    account,
    at_once,
    by_owner,
    by_service,
    change_user,
    delete_user,
    keys,
    ledger,
    profile,
    row,
    rows,
    sign_up,
    value,
    wait_until_blocked,
    without_triggers,
)
from tests.support import Connection, Database


def credits(db: Connection, user_id: UUID) -> int:
    return int(profile(db, user_id)["credits"])


def break_accounts(db: Connection) -> None:
    """Make ensure_account() fail, as a fault of ours would."""
    db.execute("create temporary table hidden as select * from keyfund.settings")
    db.execute("delete from keyfund.settings where true")


def repair_accounts(db: Connection) -> None:
    db.execute("insert into keyfund.settings select * from hidden")
    db.execute("drop table hidden")


@pytest.mark.parametrize("regime", ["db", "open_db"])
def test_a_new_user_gets_500_credits_a_placeholder_key_and_one_ledger_entry(
    regime: str, request: pytest.FixtureRequest
) -> None:
    db: Connection = request.getfixturevalue(regime)
    user_id = sign_up(db, "ana@example.com")
    made = profile(db, user_id)
    assert (made["email"], made["credits"], made["status"]) == ("ana@example.com", 500, "active")
    (entry,) = ledger(db, user_id)
    assert (entry["delta"], entry["kind"], entry["balance_after"]) == (500, "signup_grant", 500)
    (placeholder,) = keys(db, user_id)
    wanted = {
        "state": "placeholder",
        "cap": "wallet",
        "max_budget": 1000,
        "budget_duration": "30d",
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "sync_status": "pending",
        "litellm_key_id": None,
        "key_hash": None,
    }
    assert {name: placeholder[name] for name in wanted} == wanted


def test_a_new_account_is_no_work_for_litellm(db: Connection) -> None:
    user_id = sign_up(db)
    made = account(db, user_id)
    assert (made["wallet_credits"], made["revision"], made["next_attempt_at"]) == (500, 0, None)
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is None


def test_an_error_of_ours_never_fails_a_sign_up_and_is_healed_later(db: Connection) -> None:
    break_accounts(db)
    user_id = sign_up(db)
    assert rows(db, "select from auth.users where id = %s", user_id)
    assert not rows(db, "select from public.profiles where id = %s", user_id)
    repair_accounts(db)
    assert by_service(db, "heal_accounts") == HEALED | {"opened": 1}
    assert credits(db, user_id) == 500
    assert [one["state"] for one in keys(db, user_id)] == ["placeholder"]
    assert by_service(db, "heal_accounts") == HEALED


def test_one_account_that_cannot_be_made_does_not_keep_the_others_waiting(db: Connection) -> None:
    db.execute("alter table public.profiles add constraint broken check (email <> 'bad@example.com')")
    sign_up(db, "bad@example.com")
    with without_triggers(db):
        user_id = sign_up_silently(db)
    assert by_service(db, "heal_accounts")["opened"] == 1
    assert credits(db, user_id) == 500
    db.execute("alter table public.profiles drop constraint broken")
    assert by_service(db, "heal_accounts")["opened"] == 1


def test_the_first_key_heals_an_account_before_the_sweep_does(db: Connection) -> None:
    break_accounts(db)
    user_id = sign_up(db)
    repair_accounts(db)
    made = by_owner(db, user_id, "create_virtual_key")
    assert made["max_budget"] == 1000
    assert credits(db, user_id) == 500


def test_a_sign_up_does_not_wait_for_a_lock_of_ours(db: Connection, database: Database) -> None:
    with database.connect() as other, other.transaction():
        other.execute("lock table public.profiles in access exclusive mode")
        user_id = sign_up(db)  # gives up after its own lock_timeout
    assert by_service(db, "heal_accounts")["opened"] == 1
    assert credits(db, user_id) == 500


def test_a_grant_that_failed_when_the_address_was_confirmed_is_healed(db: Connection) -> None:
    user_id = sign_up(db, email_confirmed_at=None)
    break_accounts(db)
    change_user(db, user_id, email_confirmed_at="2026-11-24")
    repair_accounts(db)
    db.execute("update keyfund.signups set grant_checked_at = now() - interval '11 minutes' where true")
    by_service(db, "heal_accounts")
    assert credits(db, user_id) == 500


# --- one grant per person -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@gmail.com", "a.n.a@gmail.com"),
        ("ana@gmail.com", "ana+1@gmail.com"),
        ("ana@gmail.com", "Ana@GoogleMail.com"),
        ("ana@gmail.com", " A.na+x.y@googlemail.com "),
        ("ana@example.com", "ANA+keys@Example.com"),
    ],
)
def test_spellings_of_one_address_are_one_person(db: Connection, one: str, other: str) -> None:
    assert credits(db, sign_up(db, one)) == 500
    second = sign_up(db, other)
    assert credits(db, second) == 0
    assert ledger(db, second) == []
    assert [made["max_budget"] for made in keys(db, second)] == [0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@example.com", "a.n.a@example.com"),
        ("ana@example.com", "ana@example.org"),
        ("ana@gmail.com", "anna@gmail.com"),
    ],
)
def test_addresses_of_two_people_are_two_grants(db: Connection, one: str, other: str) -> None:
    assert credits(db, sign_up(db, one)) == credits(db, sign_up(db, other)) == 500


def test_a_deleted_and_new_account_of_the_same_person_is_granted_nothing(db: Connection) -> None:
    delete_user(db, sign_up(db, "ana@example.com"))
    assert credits(db, sign_up(db, "Ana+again@example.com")) == 0


def test_the_memory_of_a_grant_does_not_hold_the_address(db: Connection) -> None:
    sign_up(db, "ana@example.com")
    assert "ana" not in str(row(db, "select * from keyfund.signup_grants"))


def test_of_two_spellings_that_sign_up_at_once_one_is_granted(database: Database, db: Connection) -> None:
    people = at_once(database, 8, lambda connection, number: sign_up(connection, f"ana+{number}@example.com"))
    assert sorted(credits(db, user_id) for user_id in people) == [0] * 7 + [500]


def test_a_phone_number_is_granted_once_too(db: Connection) -> None:
    assert credits(db, sign_up(db, None, phone="2348012345678")) == 500
    delete_user(db, value(db, "select id from auth.users"))
    assert credits(db, sign_up(db, None, phone="2348012345678")) == 0


def test_where_confirmed_addresses_are_asked_for_the_grant_waits_for_one(db: Connection) -> None:
    user_id = sign_up(db, email_confirmed_at=None)
    assert credits(db, user_id) == 0
    change_user(db, user_id, email_confirmed_at="2026-11-24")
    assert credits(db, user_id) == 500
    assert [one["max_budget"] for one in keys(db, user_id)] == [1000]
    change_user(db, user_id, email_confirmed_at=None)
    change_user(db, user_id, email_confirmed_at="2026-11-25")
    assert len(ledger(db, user_id)) == 1


def test_where_confirmed_addresses_are_asked_for_a_confirmed_phone_will_do(db: Connection) -> None:
    user_id = sign_up(db, None, phone="2348012345678", phone_confirmed_at=None)
    assert credits(db, user_id) == 0
    change_user(db, user_id, phone_confirmed_at="2026-11-24")
    assert credits(db, user_id) == 500


def test_an_anonymous_person_is_granted_nothing_until_they_convert(db: Connection) -> None:
    user_id = sign_up(db, None, is_anonymous=True)
    assert (credits(db, user_id), ledger(db, user_id)) == (0, [])
    change_user(db, user_id, email="ana@example.com", is_anonymous=False, email_confirmed_at="2026-11-24")
    assert credits(db, user_id) == 500
    assert profile(db, user_id)["email"] == "ana@example.com"


def test_an_anonymous_person_who_links_an_identity_is_granted_credits(db: Connection) -> None:
    """GoTrue's linkIdentityToUser() writes the address, then its confirmation, then is_anonymous."""
    user_id = sign_up(db, None, is_anonymous=True)
    change_user(db, user_id, email="ana@example.com")
    change_user(db, user_id, email_confirmed_at="2026-11-24")
    change_user(db, user_id, is_anonymous=False)
    assert credits(db, user_id) == 500


def test_a_grant_of_no_credits_makes_no_entry(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_credits = 0 where true")
    user_id = sign_up(db)
    assert (credits(db, user_id), ledger(db, user_id)) == (0, [])
    assert [one["state"] for one in keys(db, user_id)] == ["placeholder"]


def test_a_changed_address_is_followed_and_granted_no_second_time(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    change_user(db, user_id, email="ana@example.org")
    assert (profile(db, user_id)["email"], credits(db, user_id)) == ("ana@example.org", 500)


# --- ensure_account -----------------------------------------------------------------------------------------


def test_ensuring_an_account_again_changes_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    before = (profile(db, user_id), account(db, user_id), keys(db, user_id), ledger(db, user_id))
    for _ in range(3):
        db.execute("select keyfund.ensure_account(%s)", [user_id])
    assert (profile(db, user_id), account(db, user_id), keys(db, user_id), ledger(db, user_id)) == before


def test_ensuring_an_account_whose_keys_are_all_revoked_makes_no_placeholder(db: Connection) -> None:
    user_id = sign_up(db)
    made = by_owner(db, user_id, "create_virtual_key")
    by_owner(db, user_id, "revoke_virtual_key", key_id=made["id"])
    db.execute("select keyfund.ensure_account(%s)", [user_id])
    assert [one["state"] for one in keys(db, user_id)] == ["revoked"]


def test_ensuring_the_account_of_nobody_makes_none(db: Connection) -> None:
    db.execute("select keyfund.ensure_account(%s)", [uuid4()])
    assert rows(db, "select from public.profiles") == []


def test_ensuring_an_account_from_many_connections_at_once_makes_one(
    database: Database, db: Connection
) -> None:
    with without_triggers(db):
        user_id = sign_up_silently(db)
    at_once(
        database, 10, lambda connection, _: connection.execute("select keyfund.ensure_account(%s)", [user_id])
    )
    assert credits(db, user_id) == 500
    assert (len(ledger(db, user_id)), len(keys(db, user_id))) == (1, 1)


def test_who_ensures_an_account_while_another_does_waits_and_finds_it_made(
    database: Database, db: Connection
) -> None:
    with without_triggers(db):
        user_id = sign_up_silently(db)
    with database.connect() as first, database.connect() as second:
        with first.transaction():
            first.execute("select keyfund.ensure_account(%s)", [user_id])
            late = Thread(target=lambda: second.execute("select keyfund.ensure_account(%s)", [user_id]))
            late.start()
            wait_until_blocked(db)
        late.join(timeout=30)
    assert (len(ledger(db, user_id)), len(keys(db, user_id)), credits(db, user_id)) == (1, 1, 500)


def sign_up_silently(db: Connection) -> UUID:
    user_id = uuid4()
    db.execute(
        "insert into auth.users (id, email, email_confirmed_at) values (%s, 'ana@example.com', now())",
        [user_id],
    )
    return user_id
