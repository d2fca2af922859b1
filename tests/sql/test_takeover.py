"""What was taken over: an opening balance, and payments of which nobody knows what they bought."""

from uuid import UUID, uuid4

import pytest

from tests.sql.acting import (
    Row,
    account,
    by_owner,
    by_service,
    claim,
    credit,
    finish,
    keys,
    ledger,
    payment,
    profile,
    refused,
    rows,
    sign_up,
    without_triggers,
)
from tests.support import Connection


def from_before(db: Connection, email: str = "") -> UUID:
    """A user who was there before Keyfund: no trigger followed them."""
    user_id = uuid4()
    with without_triggers(db):
        db.execute(
            "insert into auth.users (id, aud, role, email, email_confirmed_at) "
            "values (%s, 'authenticated', 'authenticated', %s, now())",
            [user_id, email or f"user-{user_id.hex[:12]}@example.com"],
        )
    return user_id


def take_over(db: Connection, user_id: UUID, credits: int, seen: int = 0, spent: int = 0) -> None:
    db.execute("select keyfund.take_over_account(%s, %s, %s, %s, now())", [user_id, credits, seen, spent])


def keep_payment(db: Connection, user_id: UUID, status: str) -> Row:
    reference = f"T{uuid4().hex[:12]}"
    db.execute(
        "select keyfund.take_over_payment(null, %s, %s, 5000, 'NGN', %s, now() - interval '90 days')",
        [user_id, reference, status],
    )
    return payment(db, reference)


@pytest.fixture
def ana(db: Connection) -> UUID:
    user_id = from_before(db)
    take_over(db, user_id, 731)
    return user_id


def test_an_account_begins_with_what_it_had_and_a_placeholder(db: Connection, ana: UUID) -> None:
    assert profile(db, ana)["credits"] == 731
    assert [(one["delta"], one["kind"], one["cause"]) for one in ledger(db, ana)] == [
        (731, "opening", f"takeover:{ana}")
    ]
    assert [one["state"] for one in keys(db, ana)] == ["placeholder"]
    assert by_owner(db, ana, "read_balance")["after_top_up"] == 731
    by_service(db, "heal_accounts")
    assert profile(db, ana)["credits"] == 731


def test_a_debt_stays_one_and_nothing_is_no_entry(db: Connection) -> None:
    owing, empty = from_before(db), from_before(db)
    take_over(db, owing, -40)
    take_over(db, empty, 0)
    assert profile(db, owing)["credits"] == -40
    assert (profile(db, empty)["credits"], ledger(db, empty)) == (0, [])


def test_what_was_spent_before_is_seen_and_never_booked(db: Connection) -> None:
    user_id = from_before(db)
    take_over(db, user_id, 100, seen=1_500_000)
    push = claim(db, user_id)
    assert (push["budget_micros"], push["seen_micros"]) == (3_500_000, 1_500_000)
    assert finish(db, push, spend_micros=1_540_000)
    assert profile(db, user_id)["credits"] == 98  # what came since: two credits


def test_what_is_booked_at_once_is_no_longer_spendable(db: Connection) -> None:
    user_id = from_before(db)
    take_over(db, user_id, 100, seen=1_500_000, spent=1_510_000)
    assert profile(db, user_id)["credits"] == 25
    assert account(db, user_id)["booked_micros"] == 1_510_000
    assert claim(db, user_id)["budget_micros"] == 2_000_000 - 1_510_000 + 1_500_000
    assert not rows(db, "select keyfund.audit_account(%s)", user_id)


def test_their_mailbox_has_had_its_grant(db: Connection) -> None:
    take_over(db, from_before(db, "ana@example.com"), 3)
    assert profile(db, sign_up(db, "ana+again@example.com"))["credits"] == 0


def test_nobody_who_is_gone_is_taken_over(db: Connection) -> None:
    with pytest.raises(Exception, match="no rows"):
        take_over(db, uuid4(), 5)


def test_a_paid_one_is_final_and_agrees_with_the_books(db: Connection, ana: UUID) -> None:
    kept = keep_payment(db, ana, "success")
    assert (kept["standing"], kept["credits"], kept["next_verify_at"]) == ("credited", 0, None)
    assert credit(db, kept)["credited"] is False
    assert by_service(db, "list_uncredited", p_references=[kept["reference"]]) == []
    assert by_service(db, "read_payments", p_references=[kept["reference"]]) == []
    assert not rows(db, "select keyfund.audit_account(%s)", ana)
    assert payment(db, kept["reference"]) == kept


@pytest.mark.parametrize("status", ["pending", "failed", "abandoned"])
def test_another_that_is_paid_after_all_credits_nothing_by_itself(
    db: Connection, ana: UUID, status: str
) -> None:
    kept = keep_payment(db, ana, status)
    assert (kept["next_verify_at"] is not None) == (status == "pending")
    assert by_service(db, "list_uncredited", p_references=[kept["reference"]]) == [kept["reference"]]
    assert len(by_service(db, "read_payments", p_references=[kept["reference"]])) == 1
    with refused(409, "payment_does_not_fit"):
        credit(db, kept)
    assert profile(db, ana)["credits"] == 731


@pytest.mark.parametrize(("accept", "status"), [(True, "success"), (False, "failed")])
def test_a_person_decides_about_it_and_gives_credits_apart(
    db: Connection, ana: UUID, accept: bool, status: str
) -> None:
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [ana])
    kept = keep_payment(db, ana, "pending")
    by_service(
        db,
        "review_payment",
        p_reference=kept["reference"],
        p_reason="taken_over",
        p_provider_id=7,
        p_paid_amount=5000,
        p_currency="NGN",
    )
    decided = by_owner(
        db, ana, "decide_review", reference=kept["reference"], accept=accept, reason="Looked it up"
    )
    assert (decided["status"], profile(db, ana)["credits"]) == (status, 731)
    assert not rows(db, "select keyfund.audit_account(%s)", ana)
