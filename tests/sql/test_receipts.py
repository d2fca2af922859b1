"""A receipt is data: lines that add up, and what of them was given back."""

from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import Row, by_owner, by_service, credit, open_order, sign_up
from tests.support import Connection

PRICE = 1_600_000


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db, "ana@example.com")


def receipt(db: Connection, who: UUID, reference: str) -> Row | None:
    found: Row | None = by_owner(db, who, "read_receipt", reference=reference)
    return found


def bought(db: Connection, user_id: UUID, **paid: object) -> Row:
    order = open_order(db, user_id)
    assert credit(db, order, p_provider_id=7, **paid)["credited"] is True
    found = receipt(db, user_id, order["reference"])
    assert found is not None
    return found


def lines(receipt: Row) -> dict[str, int]:
    return {one["what"]: one["amount"] for one in receipt["lines"]}


@pytest.mark.parametrize(
    ("paid", "fee", "expected"),
    [
        (PRICE, 0, {"credits": PRICE}),
        (1_626_396, 26_396, {"credits": PRICE, "fee": 26_396}),
        (1_700_000, 0, {"credits": PRICE, "beyond": 100_000}),
        (1_730_000, 30_000, {"credits": PRICE, "fee": 30_000, "beyond": 100_000}),
    ],
)
def test_the_lines_tell_price_fee_and_what_came_beyond(
    db: Connection, user_id: UUID, paid: int, fee: int, expected: dict[str, int]
) -> None:
    told = bought(db, user_id, p_paid_amount=paid, p_borne_fee=fee)
    assert lines(told) == expected
    assert sum(expected.values()) == told["paid_amount"] == told["total"] == paid
    assert told["borne_fee"] == fee


def test_it_says_who_paid_what_when_and_through_whom(db: Connection, user_id: UUID) -> None:
    told = bought(db, user_id, p_paid_at="2026-11-20T10:00:00Z")
    assert (told["email"], told["provider"], told["provider_id"]) == ("ana@example.com", "paystack", 7)
    assert (told["currency"], told["credits"], told["withheld_credits"]) == ("NGN", 500, 0)
    assert told["paid_at"].startswith("2026-11-20T10:00:00")
    assert told["credited_at"] is not None
    assert told["refunded_at"] is None


def test_what_was_given_back_is_taken_off(db: Connection, user_id: UUID) -> None:
    reference = bought(db, user_id)["reference"]
    given = {"p_reference": reference, "p_refunded": PRICE // 4, "p_disputes": Jsonb([])}
    by_service(db, "record_reversals", **given)
    told = receipt(db, user_id, reference)
    assert told is not None
    assert (told["refunded_amount"], told["total"], told["withheld_credits"]) == (400_000, 1_200_000, 125)
    assert lines(told) == {"credits": PRICE}
    assert told["refunded_at"] is not None


@pytest.mark.parametrize(
    ("paid", "in_part", "credits"),
    [
        ({"p_paid_amount": PRICE // 2, "p_currency": "NGN", "p_borne_fee": 0}, True, 250),
        ({"p_paid_amount": PRICE * 2, "p_currency": "USD", "p_borne_fee": 0}, False, 500),
    ],
)
def test_what_did_not_fit_its_order_is_shown_as_it_was_paid(
    db: Connection, user_id: UUID, paid: Row, in_part: bool, credits: int
) -> None:
    administrator = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [administrator])
    reference = open_order(db, user_id)["reference"]
    by_service(db, "review_payment", p_reference=reference, p_reason="underpaid", p_provider_id=7, **paid)
    assert receipt(db, user_id, reference) is None
    decision: Row = {"reference": reference, "accept": True, "reason": "a friend", "in_part": in_part}
    by_owner(db, administrator, "decide_review", **decision)
    told = receipt(db, user_id, reference)
    assert told is not None
    assert lines(told) == {"credits": paid["p_paid_amount"]}
    assert (told["currency"], told["credits"]) == (paid["p_currency"], credits)


def test_there_is_none_before_the_credit_and_none_for_others(db: Connection, user_id: UUID) -> None:
    reference = open_order(db, user_id)["reference"]
    assert receipt(db, user_id, reference) is None
    assert receipt(db, user_id, "kf-nothing") is None
    paid = bought(db, user_id)["reference"]
    assert receipt(db, sign_up(db), paid) is None
