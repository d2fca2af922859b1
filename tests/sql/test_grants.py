"""The sign-up grant: once per mailbox, on a confirmed address, so many an hour."""

from uuid import UUID

import pytest

from tests.sql.acting import (
    account,
    at_once,
    by_service,
    change_user,
    delete_user,
    ledger,
    let_pass,
    profile,
    rows,
    sign_up,
    value,
)
from tests.support import Connection, Database

SPELLINGS = [
    ("ana@proton.me", "ana@protonmail.com"),
    ("ana@proton.me", "ana@pm.me"),
    ("ana@proton.me", "a.n-a_@protonmail.ch"),
    ("ana@icloud.com", "ana@me.com"),
    ("ana@icloud.com", "ana@mac.com"),
    ("ana@icloud.com", "ana+shop@me.com"),
    ("x@yahoo.com", "x-1@yahoo.com"),
    ("x-1@yahoo.co.uk", "x-2@yahoo.co.uk"),
    ("x@ymail.com", "x-shop@ymail.com"),
    ("x@fastmail.com", "a@x.fastmail.com"),
    ("x+b@fastmail.com", "a@x.fastmail.com"),
    ("x@fastmail.fm", "anything@x.fastmail.fm"),
    ("ana@outlook.com", "ana+1@outlook.com"),
    ("ana@hotmail.com", "Ana+keys@Hotmail.com"),
    ("ana@live.com", "ana+x+y@live.com"),
    ("ana@yandex.ru", "ana@ya.ru"),
    ("a.na@yandex.com", "a-na@yandex.ru"),
    ("ana@xn--mnchen-3ya.de", "ana@münchen.de"),
    ("ana@xn--bcher-kva.example", "ana@bücher.example"),
    ("ana@xn--fiqs8s", "ana@中国"),
    ("ana@mail.xn--e1afmkfd.xn--p1ai", "ana@mail.пример.рф"),
    ("ana@example.com", "ana@example.com."),
    ("ana@gmail.com", "a.na@googlemail.com."),
    ("ana@example.com", "ana@ｅｘａｍｐｌｅ.com"),
    ("ana@example.com", "ANA@EXAMPLE.COM"),
    ("ana@example.com", "ana@example。com"),
]

PEOPLE = [
    ("ana@outlook.com", "ana@hotmail.com"),
    ("x-1@example.com", "x-2@example.com"),
    ("a@x.example.com", "b@x.example.com"),
    ("x@fastmail.com", "x@fastmail.fm"),
    ("x@icloud.com", "x@proton.me"),
    ("ana@münchen.de", "ana@munchen.de"),
    ("ana@xn--99999999999.de", "ana@xn--99999999998.de"),
    ("+a@example.com", "+b@example.com"),
]


def credits(db: Connection, user_id: UUID) -> int:
    return int(profile(db, user_id)["credits"])


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_spellings_of_one_mailbox_are_one_grant(db: Connection, one: str, other: str) -> None:
    assert [credits(db, sign_up(db, one)), credits(db, sign_up(db, other))] == [500, 0]


@pytest.mark.parametrize(("one", "other"), PEOPLE)
def test_mailboxes_of_two_people_are_two_grants(db: Connection, one: str, other: str) -> None:
    assert [credits(db, sign_up(db, one)), credits(db, sign_up(db, other))] == [500, 500]


@pytest.mark.parametrize(
    ("label", "decoded"),
    [
        ("mnchen-3ya", "münchen"),
        ("egbpdaj6bu4bxfgehfvwxn", "ليهمابتكلموشعربي؟"),
        ("ihqwcrb4cv8a8dqg056pqjye", "他们为什么不说中文"),
        ("3B-ww4c5e180e575a65lsy2b".lower(), "3年b組金八先生"),
        ("d9juau41awczczp", "そのスピードで"),
        ("$$$", "xn--$$$"),
        ("99999999999", "xn--99999999999"),
    ],
)
def test_punycode_is_decoded_as_its_standard_shows(db: Connection, label: str, decoded: str) -> None:
    assert value(db, "select keyfund.decode_punycode(%s)", label) == decoded


# --- confirmed addresses ------------------------------------------------------------------------------------


def test_unconfirmed_sign_ups_are_granted_nothing_and_use_up_nothing(db: Connection) -> None:
    thief = sign_up(db, "name+x@example.com", email_confirmed_at=None)
    owner = sign_up(db, "name@example.com", email_confirmed_at=None)
    assert [credits(db, thief), credits(db, owner)] == [0, 0]
    change_user(db, owner, email_confirmed_at="2026-11-28")
    assert [credits(db, thief), credits(db, owner)] == [0, 500]


def test_where_nothing_has_to_be_confirmed_the_owner_of_an_address_gets_theirs_all_the_same(
    db: Connection,
) -> None:
    db.execute("update keyfund.settings set signup_needs_confirmed_email = false")
    first = sign_up(db, "name+x@example.com", email_confirmed_at=None)
    second = sign_up(db, "name+y@example.com", email_confirmed_at=None)
    owner = sign_up(db, "name@example.com")
    assert [credits(db, one) for one in (first, second, owner)] == [500, 0, 500]
    for one in (first, second):
        change_user(db, one, email_confirmed_at="2026-11-28")
    by_service(db, "heal_accounts")
    assert [credits(db, one) for one in (first, second, owner)] == [500, 0, 500]


def test_who_was_granted_unconfirmed_and_confirms_uses_the_identity_up(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_needs_confirmed_email = false")
    first = sign_up(db, "name+x@example.com", email_confirmed_at=None)
    change_user(db, first, email_confirmed_at="2026-11-28")
    assert credits(db, first) == 500
    assert credits(db, sign_up(db, "name@example.com")) == 0


def test_a_confirmed_phone_uses_up_no_address_that_is_not_confirmed(db: Connection) -> None:
    both = sign_up(db, "name@example.com", email_confirmed_at=None, phone="2348012345678")
    assert credits(db, both) == 500
    assert credits(db, sign_up(db, "name@example.com.")) == 500


def test_an_address_granted_under_its_former_spelling_is_granted_no_second_time(db: Connection) -> None:
    """The address of a user who is gone: nobody knows its mailbox, but its old hash stands."""
    db.execute(
        "insert into keyfund.signup_grants (identity_hash, user_id)"
        " select keyfund.hash_identity('x-1@yahoo.com'), gen_random_uuid()"
    )
    assert credits(db, sign_up(db, "x-1@yahoo.com")) == 0
    assert credits(db, sign_up(db, "X-1+again@yahoo.com")) == 0


# --- the ceiling --------------------------------------------------------------------------------------------


def waiting(db: Connection) -> int:
    return int(value(db, "select (keyfund.user_concerns() ->> 'waiting_grants')::integer"))


def test_beyond_the_hours_ceiling_grants_wait_and_are_shown(db: Connection) -> None:
    people = [sign_up(db) for _ in range(81)]
    assert [credits(db, one) for one in people] == [500] * 50 + [0] * 31
    assert waiting(db) == 31
    by_service(db, "heal_accounts")
    assert waiting(db) == 31
    let_pass(db, 3601)
    by_service(db, "heal_accounts")
    assert [credits(db, one) for one in people] == [500] * 81
    assert (waiting(db), len(rows(db, "select from public.credit_ledger"))) == (0, 81)


def test_an_administrator_who_raises_the_ceiling_lets_them_go_and_the_longest_waiting_first(
    db: Connection,
) -> None:
    db.execute("update keyfund.settings set signup_grants_per_hour = 1")
    people = [sign_up(db) for _ in range(5)]
    assert [credits(db, one) for one in people] == [500, 0, 0, 0, 0]
    db.execute("update keyfund.settings set signup_grants_per_hour = 3")
    latest = sign_up(db)
    by_service(db, "heal_accounts")
    assert [credits(db, one) for one in [*people, latest]] == [500, 500, 500, 0, 0, 0]
    db.execute("update keyfund.settings set signup_grants_per_hour = null")
    by_service(db, "heal_accounts")
    assert {credits(db, one) for one in [*people, latest]} == {500}


def test_parallel_sign_ups_do_not_overrun_the_ceiling(database: Database, db: Connection) -> None:
    db.execute("update keyfund.settings set signup_grants_per_hour = 3")
    people = at_once(database, 12, lambda connection, _: sign_up(connection))
    assert sorted(credits(db, one) for one in people) == [0] * 9 + [500] * 3
    assert waiting(db) == 9


def test_who_leaves_the_line_holds_nobody_up(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_grants_per_hour = 1")
    _, gone, next_one = (sign_up(db) for _ in range(3))
    delete_user(db, gone)
    let_pass(db, 3601)
    by_service(db, "heal_accounts")
    assert (credits(db, next_one), ledger(db, gone), waiting(db)) == (500, [], 0)
    assert account(db, next_one)["grant_settled"] is True
