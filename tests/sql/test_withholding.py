"""How much refunds and disputes withhold: of what was paid towards the price, the fee apart."""

import math
from dataclasses import dataclass
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    by_owner,
    by_service,
    credit,
    ledger,
    open_order,
    payment,
    profile,
    refused,
    rows,
    sign_up,
    value,
)
from tests.support import Connection

OPEN, DECLINED, LOST = None, "declined", "merchant-accepted"


@dataclass(frozen=True)
class Bought:
    """``paid``, ``fee`` in subunits; what does not fit the order was accepted as ordered, or in part."""

    price: int
    paid: int
    fee: int = 0
    credits: int = 500
    in_part: bool = False
    currency: str = "NGN"


@dataclass(frozen=True)
class Lost:
    """Disputes are pairs of a resolution and what it gave back; ``tied`` of the refunds belongs to them."""

    refunded: int = 0
    disputes: tuple[tuple[str | None, int | None], ...] = ()
    tied: int = 0


def fits(bought: Bought) -> bool:
    """Whether it is credited without anybody's decision."""
    return bought.paid >= bought.price and bought.currency == "NGN"


def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def order_of(db: Connection, bought: Bought) -> Row:
    db.execute(
        "update public.credit_packages set amount = %s, credits = %s where id = 'starter-ngn'",
        [bought.price, bought.credits],
    )
    return open_order(db, sign_up(db))


def buy(db: Connection, bought: Bought) -> Row:
    order = order_of(db, bought)
    known = {"p_paid_amount": bought.paid, "p_borne_fee": bought.fee, "p_currency": bought.currency}
    if fits(bought):
        credit(db, order, **known)
        return order
    reference = order["reference"]
    provider_id = int(order["id"].replace("-", "")[:12], 16)
    by_service(
        db, "review_payment", p_reference=reference, p_reason="underpaid", p_provider_id=provider_id, **known
    )
    decision = {"reference": reference, "accept": True, "reason": "agreed", "in_part": bought.in_part}
    by_owner(db, administrator(db), "decide_review", **decision)
    return order


def lose(db: Connection, order: Row, lost: Lost, **more: object) -> int:
    first = int(order["id"].replace("-", "")[:11], 16) * 10
    disputes = [
        {"id": first + number, "resolved": resolution is not None, "resolution": resolution,
         "refund_amount": amount}
        for number, (resolution, amount) in enumerate(lost.disputes)
    ]  # fmt: skip
    answer: Row = by_service(
        db,
        "record_reversals",
        p_reference=order["reference"],
        p_refunded=lost.refunded,
        p_disputes=Jsonb(disputes),
        p_in_disputes=lost.tied,
        **more,
    )
    return int(answer["withheld"])


def withheld(db: Connection, order: Row) -> int:
    entries = [one["delta"] for one in ledger(db, order["user_id"]) if one["kind"] == "withheld"]
    assert payment(db, order["reference"])["withheld_credits"] == -sum(entries)
    return -int(sum(entries))


PLAIN = Bought(1000, 1000)
OVERPAID = Bought(1_600_000, 1_700_000)
WITH_FEE = Bought(7_500_000, 7_626_396, 126_396, credits=2500)
OVERPAID_WITH_FEE = Bought(1000, 1130, 30)
IN_PART = Bought(1000, 400, in_part=True)
ACCEPTED = Bought(1000, 100)
WHOLE = (LOST, None)

TABLE = [
    (PLAIN, Lost(1000), 500),
    (PLAIN, Lost(300), 150),
    (PLAIN, Lost(), 0),
    (OVERPAID, Lost(100_000), 0),
    (OVERPAID, Lost(1_600_000), 469),
    (OVERPAID, Lost(1_700_000), 500),
    (WITH_FEE, Lost(7_500_000), 2500),
    (WITH_FEE, Lost(126_396), 43),
    (OVERPAID_WITH_FEE, Lost(1000), 450),
    (IN_PART, Lost(), 0),
    (IN_PART, Lost(200), 100),
    (IN_PART, Lost(400), 200),
    (ACCEPTED, Lost(disputes=((DECLINED, 0),)), 0),
    (ACCEPTED, Lost(50), 250),
    (Bought(1000, 999), Lost(), 0),
    (PLAIN, Lost(300, ((LOST, 700),)), 500),
    (PLAIN, Lost(300, ((LOST, 300),), tied=300), 150),
    (PLAIN, Lost(disputes=((LOST, 300), (LOST, 300))), 300),
    (PLAIN, Lost(disputes=((OPEN, 1000), (DECLINED, 0))), 500),
    # The same by disputes.
    (PLAIN, Lost(disputes=((LOST, 300),)), 150),
    (OVERPAID, Lost(disputes=((LOST, 100_000),)), 0),
    (OVERPAID, Lost(disputes=((OPEN, 100_000),)), 500),
    (OVERPAID, Lost(disputes=(("auto-accepted", 1_600_000),)), 469),
    (WITH_FEE, Lost(disputes=((LOST, 7_500_000),)), 2500),
    (WITH_FEE, Lost(disputes=(("auto-accepted", 126_396),)), 43),
    (WITH_FEE, Lost(disputes=(WHOLE,)), 2500),
    (IN_PART, Lost(disputes=((LOST, 200),)), 100),
    # And what is not in the table.
    (ACCEPTED, Lost(100), 500),
    (OVERPAID_WITH_FEE, Lost(100), 0),
    (OVERPAID_WITH_FEE, Lost(1130), 500),
    (PLAIN, Lost(1000, (WHOLE,)), 500),
    (Bought(1000, 1_600_000, currency="GHS"), Lost(1_599_000), 500),
    (Bought(1000, 0), Lost(), 0),
]


@pytest.mark.parametrize(("bought", "lost", "credits"), TABLE)
def test_giving_back_the_price_takes_everything_and_what_is_beyond_it_nothing(
    db: Connection, bought: Bought, lost: Lost, credits: int
) -> None:
    order = buy(db, bought)
    assert lose(db, order, lost) == credits
    assert withheld(db, order) == credits
    assert lose(db, order, lost) == 0
    assert value(db, "select count(*) from keyfund.audit_account(%s)", order["user_id"]) == 0


@pytest.mark.parametrize(("bought", "lost", "credits"), [row for row in TABLE if fits(row[0])])
def test_it_is_the_same_when_what_was_lost_is_known_before_the_credit(
    db: Connection, bought: Bought, lost: Lost, credits: int
) -> None:
    order = order_of(db, bought)
    assert lose(db, order, lost) == 0
    credit(db, order, p_paid_amount=bought.paid, p_borne_fee=bought.fee)
    assert withheld(db, order) == credits


@pytest.mark.parametrize(
    ("bought", "lost", "status"),
    [
        (WITH_FEE, Lost(7_500_000), "reversed"),
        (OVERPAID, Lost(1_600_000), "success"),
        (OVERPAID, Lost(1_700_000), "reversed"),
        (IN_PART, Lost(400), "reversed"),
        (PLAIN, Lost(disputes=(WHOLE,)), "reversed"),
        (PLAIN, Lost(disputes=((OPEN, None),)), "success"),
    ],
)
def test_a_payment_is_reversed_once_its_price_went_back_for_good(
    db: Connection, bought: Bought, lost: Lost, status: str
) -> None:
    order = buy(db, bought)
    lose(db, order, lost)
    assert payment(db, order["reference"])["status"] == status


# --- the rule, worked out apart ---------------------------------------------------------------------------


AMOUNTS = st.integers(0, 3000)
DISPUTES = st.lists(
    st.tuples(st.sampled_from([OPEN, DECLINED, LOST, "auto-accepted"]), st.none() | AMOUNTS), max_size=3
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bought, Lost]:
    price, excess = draw(st.integers(1, 2000)), draw(st.integers(0, 500))
    fee = draw(st.integers(0, excess))
    refunded = draw(AMOUNTS)
    disputes = tuple(draw(DISPUTES))
    tied = draw(st.integers(0, refunded)) if disputes else 0
    bought = Bought(price, price + excess, fee, credits=draw(st.integers(1, 900)))
    return bought, Lost(refunded, disputes, tied)


def due(bought: Bought, lost: Lost) -> int:
    """By exact fractions: how much of what went towards the price is not covered any more."""
    towards = min(bought.price, bought.paid - bought.fee)
    gone = lost.refunded - lost.tied
    for resolution, amount in lost.disputes:
        if resolution != DECLINED:
            gone += bought.paid if resolution is OPEN or amount is None else amount
    gone = min(gone, bought.paid)
    covered = max(0, bought.paid - bought.fee - gone)
    share = Fraction(max(0, towards - covered), towards)
    return min(bought.credits, math.ceil(bought.credits * share)) if gone else 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(cases())
def test_the_database_withholds_what_the_rule_says(db: Connection, case: tuple[Bought, Lost]) -> None:
    bought, lost = case
    db.execute(
        "update keyfund.settings set signup_grants_per_hour = null"
    )  # everybody here is granted theirs
    order = buy(db, bought)
    lose(db, order, lost)
    assert withheld(db, order) == due(bought, lost)
    assert profile(db, order["user_id"])["credits"] == 500 + bought.credits - due(bought, lost)


# --- the fee ------------------------------------------------------------------------------------------------


def older(db: Connection, bought: Bought, lost: Lost, booked: int) -> Row:
    """A payment as it was before fees were known, with what was withheld of it then."""
    order = buy(db, bought)
    set_back = """update public.transactions
        set borne_fee = null, refunded_amount = %s, withheld_credits = %s, reversals = least(1, %s)
        where reference = %s"""
    db.execute(set_back, [lost.refunded, booked, booked, order["reference"]])
    if booked:
        cause = f"withheld:{order['reference']}:1"
        value(db, "select keyfund.append_entry(%s, %s, 'withheld', %s)", order["user_id"], -booked, cause)
    return order


def test_a_payment_whose_fee_is_unknown_stays_as_it_was_until_paystack_is_asked(db: Connection) -> None:
    order = older(db, OVERPAID, Lost(100_000), booked=30)
    before = ledger(db, order["user_id"])
    value(db, "select keyfund.withhold(id) from public.transactions where reference = %s", order["reference"])
    with refused(409, "fee_unknown"):
        lose(db, order, Lost(200_000))
    assert ledger(db, order["user_id"]) == before
    assert value(db, "select count(*) from keyfund.audit_account(%s)", order["user_id"]) == 0
    assert lose(db, order, Lost(100_000), p_borne_fee=0) == -30
    assert (withheld(db, order), payment(db, order["reference"])["borne_fee"]) == (0, 0)


def test_the_fee_is_kept_as_it_was_first_known(db: Connection) -> None:
    order = buy(db, WITH_FEE)
    lose(db, order, Lost(7_500_000), p_borne_fee=0)
    assert (withheld(db, order), payment(db, order["reference"])["borne_fee"]) == (2500, 126_396)


def test_who_paid_the_price_alone_bore_no_fee_whoever_tells_of_the_payment(db: Connection) -> None:
    order = order_of(db, PLAIN)
    credit(db, order)
    assert payment(db, order["reference"])["borne_fee"] == 0
    other = order_of(db, PLAIN)
    credit(db, other, p_paid_amount=1030)
    assert payment(db, other["reference"])["borne_fee"] is None


def test_what_would_be_withheld_is_shown_and_nothing_changes(db: Connection) -> None:
    order = older(db, WITH_FEE, Lost(7_500_000), booked=2459)
    tables = ("public.transactions", "public.credit_ledger", "keyfund.disputes", "public.profiles")
    before = {table: rows(db, f"select * from {table}") for table in tables}
    told = lose(db, order, Lost(7_500_000, ((LOST, 1),)), p_borne_fee=126_396, p_only_show=True)
    assert told == 41
    assert {table: rows(db, f"select * from {table}") for table in tables} == before


def test_only_payments_that_were_measured_without_their_fee_wait_to_be_measured_anew(db: Connection) -> None:
    measured, untouched = buy(db, WITH_FEE), older(db, OVERPAID, Lost(), booked=0)
    lose(db, measured, Lost(1000))
    wait = sorted(older(db, OVERPAID, Lost(100_000), booked=30)["reference"] for _ in range(3))
    pages = [by_service(db, "list_unmeasured", p_after=after, p_limit=2) for after in (None, wait[1])]
    assert pages == [wait[:2], wait[2:]]
    assert untouched["reference"] not in wait
