"""What an administrator may do: adjust credits, once and with a reason; decide about a payment in review."""

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    append,
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
        ({"adjustment_id": None}, 400, "adjustment_id_missing"),
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


# --- in proportion to what was paid -------------------------------------------------------------------------


def in_part(db: Connection, who: UUID, paid: int, currency: str = "NGN", fee: int | None = 0) -> Row:
    """Credit what was paid of an order of 500 credits for 1,600,000 kobo."""
    order = open_order(db, sign_up(db))
    known = {"p_paid_amount": paid, "p_currency": currency, "p_borne_fee": fee, "p_provider_id": 7}
    by_service(db, "review_payment", p_reference=order["reference"], p_reason="underpaid", **known)
    decision = {"reference": order["reference"], "accept": True, "reason": "agreed", "in_part": True}
    by_owner(db, who, "decide_review", **decision)
    return payment(db, order["reference"])


@pytest.mark.parametrize(
    ("paid", "fee", "granted"),
    [(640_000, 0, 200), (1_599_999, 0, 499), (3_200, 0, 1), (650_000, 10_000, 200), (640_000, None, 200)],
)
def test_what_was_paid_is_credited_in_proportion_in_whole_credits(
    db: Connection, administrator: UUID, paid: int, fee: int | None, granted: int
) -> None:
    decided = in_part(db, administrator, paid, fee=fee)
    assert (decided["status"], decided["granted_credits"], decided["credits"]) == ("success", granted, 500)
    assert profile(db, decided["user_id"])["credits"] == 500 + granted
    assert [one["delta"] for one in ledger(db, decided["user_id"])] == [500, granted]
    shown = by_owner(db, administrator, "read_payment", reference=decided["reference"])
    assert (shown["granted_credits"], shown["credits"], shown["standing"]) == (granted, 500, "credited")


def test_who_paid_all_of_it_gets_what_was_ordered_and_no_more(db: Connection, administrator: UUID) -> None:
    decided = in_part(db, administrator, 3_200_000)
    assert (decided["granted_credits"], profile(db, decided["user_id"])["credits"]) == (None, 1000)


@pytest.mark.parametrize(
    ("paid", "currency", "code"),
    [(3_199, "NGN", "too_little_paid"), (0, "NGN", "too_little_paid"), (640_000, "GHS", "no_proportion")],
)
def test_what_cannot_be_set_against_the_price_is_not_credited_in_part(
    db: Connection, administrator: UUID, paid: int, currency: str, code: str
) -> None:
    with refused(409, code):
        in_part(db, administrator, paid, currency)


def test_a_payment_from_before_fees_were_known_and_given_back_since_waits_for_its_fee(
    db: Connection, administrator: UUID
) -> None:
    order = order_in_review(db)
    told = {"p_reference": order["reference"], "p_refunded": 50, "p_disputes": Jsonb([])}
    by_service(db, "record_reversals", **told)
    with refused(409, "fee_unknown"):
        decide(db, administrator, order, accept=True)
    by_service(db, "record_reversals", **told, p_borne_fee=0)
    assert decide(db, administrator, order, accept=True)["withheld_credits"] == 250


# --- below zero ---------------------------------------------------------------------------------------------


def test_more_than_there_is_is_taken_only_with_a_second_yes(db: Connection, administrator: UUID) -> None:
    user_id = sign_up(db)
    given = GIVEN | {"account_id": user_id, "credits": -100_000}
    with refused(409, "below_zero"):
        by_owner(db, administrator, "adjust_credits", **given)
    with pytest.raises(psycopg.Error, match="has 500 credits and would have -99500"):
        by_owner(db, administrator, "adjust_credits", **given)
    assert len(ledger(db, user_id)) == 1
    entry = by_owner(db, administrator, "adjust_credits", **given, allow_negative=True)
    assert entry["balance_after"] == -99_500
    again = by_owner(db, administrator, "adjust_credits", **given)  # the same id: nothing more is taken
    assert again["id"] == entry["id"]


@pytest.mark.parametrize(("before", "credits"), [(0, -500), (-400, 50), (-400, 2000)])
def test_up_to_nothing_and_upwards_needs_none(
    db: Connection, administrator: UUID, before: int, credits: int
) -> None:
    user_id = sign_up(db)
    if before:
        append(db, user_id, before - 500)
    adjust(db, administrator, user_id, credits)
    assert profile(db, user_id)["credits"] == (before or 500) + credits


def test_of_two_that_take_at_once_only_one_takes_the_last(
    database: Database, db: Connection, administrator: UUID
) -> None:
    user_id = sign_up(db)

    def take(connection: Connection, number: int) -> bool:
        given = GIVEN | {"account_id": user_id, "credits": -400, "adjustment_id": str(number)}
        try:
            by_owner(connection, administrator, "adjust_credits", **given)
        except psycopg.Error:
            return False
        return True

    assert at_once(database, 8, take).count(True) == 1
    assert profile(db, user_id)["credits"] == 100
