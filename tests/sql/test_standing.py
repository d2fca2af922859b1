"""How a payment stands is told as it is: nothing is called given back before it is."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import Row, by_owner, by_service, credit, open_order, payment, sign_up, value
from tests.support import Connection, as_role

PRICE = 1_600_000
PAID = 900_000
LATER = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def in_review(db: Connection) -> Row:
    order = open_order(db, sign_up(db))
    known = {"p_provider_id": 7, "p_paid_amount": PAID, "p_currency": "NGN", "p_borne_fee": 0}
    by_service(db, "review_payment", p_reference=order["reference"], p_reason="underpaid", **known)
    return order


def refuse(db: Connection, who: UUID, order: Row) -> None:
    by_owner(db, who, "decide_review", reference=order["reference"], accept=False, reason="too little")


def tell(db: Connection, order: Row, refunded: int, under_way: int = 0, *disputes: Row) -> None:
    by_service(
        db,
        "record_reversals",
        p_reference=order["reference"],
        p_refunded=refunded,
        p_disputes=Jsonb(list(disputes)),
        p_refunding=under_way,
        p_refunded_at=LATER,
    )


def standing(db: Connection, order: Row) -> str:
    """As its buyer reads it."""
    with as_role(db, "authenticated", order["user_id"]):
        query = "select standing from public.transactions where reference = %s"
        (told,) = db.execute(query, [order["reference"]]).fetchone() or ("",)
    return str(told)


def test_a_refused_payment_is_given_back_only_once_it_was(db: Connection, administrator: UUID) -> None:
    order = in_review(db)
    told = [standing(db, order)]
    refuse(db, administrator, order)
    told.append(standing(db, order))
    for refunded, under_way in ((0, PAID), (0, 0), (0, PAID), (PAID, 0)):  # the first refund failed
        tell(db, order, refunded, under_way)
        told.append(standing(db, order))
    assert told == [
        "under_review", "declined", "refund_under_way", "declined", "refund_under_way", "refunded",
    ]  # fmt: skip
    assert payment(db, order["reference"])["refunded_at"] == LATER


def test_a_payment_that_is_refunded_without_a_decision_is_not_under_review_any_more(db: Connection) -> None:
    order = in_review(db)
    tell(db, order, 0, PAID)
    assert standing(db, order) == "refund_under_way"
    tell(db, order, PAID)
    assert standing(db, order) == "refunded"


def test_a_refused_payment_that_a_lost_dispute_gave_back_is_owed_no_more(
    db: Connection, administrator: UUID
) -> None:
    order = in_review(db)
    refuse(db, administrator, order)
    dispute = {"id": 1, "resolved": False, "resolution": None, "refund_amount": None}
    tell(db, order, 0, 0, dispute)
    assert standing(db, order) == "declined"
    tell(db, order, 0, 0, dispute | {"resolved": True, "resolution": "auto-accepted"})
    assert standing(db, order) == "refunded"


def test_money_of_which_paystack_named_no_amount_is_owed_until_the_price_went_back(
    db: Connection, administrator: UUID
) -> None:
    order = open_order(db, sign_up(db))
    known = {"p_provider_id": 7, "p_paid_amount": None, "p_currency": "NGN", "p_borne_fee": 0}
    by_service(db, "review_payment", p_reference=order["reference"], p_reason="incomplete", **known)
    refuse(db, administrator, order)
    owed = "select keyfund.is_owed(t) from public.transactions t where reference = %s"
    assert (standing(db, order), value(db, owed, order["reference"])) == ("declined", True)
    tell(db, order, PRICE)
    assert (standing(db, order), value(db, owed, order["reference"])) == ("refunded", False)


@pytest.mark.parametrize(
    ("refunded", "under_way", "told"),
    [
        (0, 0, "credited"),
        (PRICE // 2, 0, "credited"),
        (0, PRICE // 2, "credited"),
        (0, PRICE, "refund_under_way"),
        (PRICE // 2, PRICE // 2, "refund_under_way"),
        (PRICE, 0, "refunded"),
    ],
)
def test_a_credited_payment_is_refunded_when_all_of_its_price_is(
    db: Connection, refunded: int, under_way: int, told: str
) -> None:
    order = open_order(db, sign_up(db))
    credit(db, order)
    tell(db, order, refunded, under_way)
    assert standing(db, order) == told


@pytest.mark.parametrize("status", ["pending", "failed", "abandoned"])
def test_what_was_not_paid_stands_as_paystack_says(db: Connection, status: str) -> None:
    order = open_order(db, sign_up(db))
    by_service(db, "observe_payment", p_reference=order["reference"], p_status=status)
    assert standing(db, order) == status


def test_the_time_of_a_refund_stays_while_nothing_more_is_given_back(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    credit(db, order)
    tell(db, order, 100)
    by_service(db, "record_reversals", p_reference=order["reference"], p_refunded=100, p_disputes=Jsonb([]))
    assert payment(db, order["reference"])["refunded_at"] == LATER


def test_who_decided_about_a_payment_is_not_asked_again_by_the_sweep(
    db: Connection, administrator: UUID
) -> None:
    refused, waiting = in_review(db), open_order(db, sign_up(db))
    refuse(db, administrator, refused)
    both = [refused["reference"], waiting["reference"]]
    assert by_service(db, "list_uncredited", p_references=both) == [waiting["reference"]]
