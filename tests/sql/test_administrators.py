"""What an administrator may do: adjust credits, once and with a reason; decide about a payment in review."""

from uuid import UUID, uuid4

import pytest

from tests.sql.acting import (
    Row,
    at_once,
    by_owner,
    by_service,
    ledger,
    open_order,
    payment,
    profile,
    refused,
    sign_up,
)
from tests.support import Connection, Database

GIVEN = {"credits": 100, "reason": "Sorry", "adjustment_id": "a1"}


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def adjust(db: Connection, who: UUID, account_id: UUID, credits: int = 100) -> Row:
    given = GIVEN | {"account_id": account_id, "credits": credits}
    entry: Row = by_owner(db, who, "adjust_credits", **given)
    return entry


def order_in_review(db: Connection) -> Row:
    order = open_order(db, sign_up(db))
    by_service(
        db,
        "review_payment",
        p_reference=order["reference"],
        p_reason="amount_differs",
        p_provider_id=7,
        p_paid_amount=100,
        p_currency="NGN",
    )
    return order


def decide(db: Connection, who: UUID, order: Row, accept: bool, reason: str = "Agreed by mail") -> Row:
    decided: Row = by_owner(
        db, who, "decide_review", reference=order["reference"], accept=accept, reason=reason
    )
    return decided


def test_people_cannot_adjust_their_own_credits_or_decide_about_their_payments(db: Connection) -> None:
    order = order_in_review(db)
    user_id = UUID(order["user_id"])
    with refused(403, "not_an_administrator"):
        adjust(db, user_id, user_id)
    with refused(403, "not_an_administrator"):
        decide(db, user_id, order, accept=True)
    assert profile(db, user_id)["credits"] == 500


def test_an_adjustment_is_an_entry_with_its_reason(db: Connection, administrator: UUID) -> None:
    user_id = sign_up(db)
    entry = adjust(db, administrator, user_id, -40)
    assert (entry["kind"], entry["delta"], entry["reason"]) == ("adjustment", -40, "Sorry")
    assert profile(db, user_id)["credits"] == 460


def test_an_adjustment_counts_once_however_often_it_is_sent(
    database: Database, db: Connection, administrator: UUID
) -> None:
    user_id = sign_up(db)
    entries = at_once(database, 10, lambda connection, _: adjust(connection, administrator, user_id))
    assert len({entry["id"] for entry in entries}) == 1
    assert profile(db, user_id)["credits"] == 600


def test_the_id_of_an_adjustment_is_not_used_for_another(db: Connection, administrator: UUID) -> None:
    user_id, other = sign_up(db), sign_up(db)
    adjust(db, administrator, user_id)
    with refused(409, "adjustment_exists"):
        adjust(db, administrator, user_id, 50)
    with refused(409, "adjustment_exists"):
        adjust(db, administrator, other)
    assert (profile(db, user_id)["credits"], profile(db, other)["credits"]) == (600, 500)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"reason": " "}, 400, "reason_missing"),
        ({"adjustment_id": None}, 400, "reason_missing"),
        ({"credits": 0}, 400, "invalid_credits"),
        ({"credits": 10**10}, 400, "invalid_credits"),
        ({"account_id": uuid4()}, 404, "account_not_found"),
    ],
)
def test_a_wrong_adjustment_is_refused(
    db: Connection, administrator: UUID, change: Row, status: int, code: str
) -> None:
    user_id = sign_up(db)
    with refused(status, code):
        by_owner(db, administrator, "adjust_credits", **(GIVEN | {"account_id": user_id} | change))
    assert len(ledger(db, user_id)) == 1


def test_an_accepted_payment_is_credited_as_ordered(db: Connection, administrator: UUID) -> None:
    order = order_in_review(db)
    assert decide(db, administrator, order, accept=True)["status"] == "success"
    assert profile(db, order["user_id"])["credits"] == 1000
    assert payment(db, order["reference"])["account_revision"] is not None


def test_a_payment_that_is_not_accepted_credits_nothing(db: Connection, administrator: UUID) -> None:
    order = order_in_review(db)
    assert decide(db, administrator, order, accept=False)["status"] == "failed"
    assert profile(db, order["user_id"])["credits"] == 500


@pytest.mark.parametrize("accept", [True, False])
def test_a_payment_is_decided_about_once(db: Connection, administrator: UUID, accept: bool) -> None:
    order = order_in_review(db)
    decide(db, administrator, order, accept)
    with refused(409, "nothing_to_decide"):
        decide(db, administrator, order, accept=True)
    assert profile(db, order["user_id"])["credits"] == (1000 if accept else 500)


def test_a_decision_needs_a_reason(db: Connection, administrator: UUID) -> None:
    with refused(400, "reason_missing"):
        decide(db, administrator, order_in_review(db), accept=True, reason=" ")
