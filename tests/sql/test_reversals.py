"""Refunds and disputes withhold what they took, once, in whatever order and however often they are told."""

import math
from itertools import count, permutations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    account,
    at_once,
    by_service,
    credit,
    key,
    ledger,
    open_order,
    payment,
    profile,
    refused,
    sign_up,
    synced_key,
)
from tests.support import Connection, Database

PRICE, CREDITS = 1_600_000, 500


def paid_order(db: Connection) -> Row:
    order = open_order(db, sign_up(db))
    credit(db, order)
    return order


def report(db: Connection, order: Row, refunded: int = 0, *disputes: Row) -> int:
    """Report what Paystack says now; returns by how many credits more is withheld."""
    answer = by_service(
        db,
        "record_reversals",
        p_reference=order["reference"],
        p_refunded=refunded,
        p_disputes=Jsonb(list(disputes)),
    )
    change: int = answer["withheld"]
    return change


def dispute(number: int, resolution: str | None = None, refund_amount: int | None = None) -> Row:
    return {
        "id": number,
        "resolved": resolution is not None,
        "resolution": resolution,
        "refund_amount": refund_amount,
    }


def withheld(db: Connection, order: Row) -> int:
    entries = [one["delta"] for one in ledger(db, order["user_id"]) if one["kind"] == "withheld"]
    assert payment(db, order["reference"])["withheld_credits"] == -sum(entries)
    return -int(sum(entries))


# --- refunds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refunded", "credits"), [(0, 0), (1, 1), (PRICE // 2, 250), (PRICE // 2 + 1, 251), (PRICE, 500)]
)
def test_a_refund_withholds_its_share_rounded_up(db: Connection, refunded: int, credits: int) -> None:
    order = paid_order(db)
    assert report(db, order, refunded) == credits
    assert withheld(db, order) == credits


def test_a_refund_told_again_or_told_late_changes_nothing(db: Connection) -> None:
    order = paid_order(db)
    assert [report(db, order, refunded) for refunded in (PRICE // 2, PRICE // 2, PRICE // 4, 0)] == [
        250,
        0,
        0,
        0,
    ]
    assert withheld(db, order) == 250


def test_a_refund_told_from_twenty_connections_counts_once(database: Database, db: Connection) -> None:
    order = paid_order(db)
    changes = at_once(database, 20, lambda connection, _: report(connection, order, PRICE // 2))
    assert sorted(changes) == [0] * 19 + [250]
    assert profile(db, order["user_id"])["credits"] == 750


def test_a_refund_lowers_wallet_caps_and_makes_the_account_due(db: Connection) -> None:
    user_id = sign_up(db)
    follows, fixed = synced_key(db, user_id), synced_key(db, user_id, max_budget=300)
    credit(db, order := open_order(db, user_id))
    report(db, order, PRICE)
    assert (key(db, follows["id"])["max_budget"], key(db, fixed["id"])["max_budget"]) == (1000, 300)
    assert account(db, user_id)["next_attempt_at"] is not None


def test_a_refund_known_before_the_payment_is_credited_withholds_with_it(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    assert report(db, order, PRICE // 2) == 0
    assert credit(db, order)["credited"] is True
    assert withheld(db, order) == 250
    assert profile(db, order["user_id"])["credits"] == 750


def test_a_refund_of_nothing_of_ours_is_refused(db: Connection) -> None:
    with refused(404, "payment_not_found"):
        report(db, {"reference": "kf-nobody"}, 5)


# --- disputes -----------------------------------------------------------------------------------------------


def test_an_open_dispute_withholds_everything_and_a_declined_one_gives_it_back(db: Connection) -> None:
    order = paid_order(db)
    assert report(db, order, 0, dispute(1)) == 500
    assert report(db, order, 0, dispute(1, "declined")) == -500
    assert withheld(db, order) == 0


@pytest.mark.parametrize("resolution", ["merchant-accepted", "auto-accepted"])
@pytest.mark.parametrize(("refund_amount", "credits"), [(None, 500), (PRICE // 4, 125), (0, 0)])
def test_a_lost_dispute_withholds_what_it_gave_back(
    db: Connection, resolution: str, refund_amount: int | None, credits: int
) -> None:
    order = paid_order(db)
    report(db, order, 0, dispute(1))
    report(db, order, 0, dispute(1, resolution, refund_amount))
    assert withheld(db, order) == credits


def test_a_resolved_dispute_stays_resolved_whatever_is_told_late(db: Connection) -> None:
    order = paid_order(db)
    report(db, order, 0, dispute(1, "declined"))
    report(db, order, 0, dispute(1))
    report(db, order, 0, dispute(1, "merchant-accepted"))
    assert withheld(db, order) == 0


def test_a_refund_and_a_dispute_of_other_money_add_up_to_all_of_it_at_most(db: Connection) -> None:
    order = paid_order(db)
    report(db, order, PRICE // 2, dispute(1, "merchant-accepted", PRICE // 4))
    assert withheld(db, order) == 375
    report(db, order, PRICE // 2, dispute(2))
    assert withheld(db, order) == 500


DISPUTES = count(1)
FACTS = st.one_of(
    st.integers(0, PRICE).map(lambda refunded: (refunded, None)),
    st.tuples(
        st.just(0),
        st.builds(
            dispute,
            st.integers(1, 3),
            st.sampled_from([None, "declined", "merchant-accepted", "auto-accepted"]),
            st.none() | st.integers(0, PRICE),
        ),
    ),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(st.lists(FACTS, max_size=8), st.booleans())
def test_whatever_is_told_in_whatever_order_the_target_is_withheld(
    db: Connection, facts: list[tuple[int, Row | None]], credited_last: bool
) -> None:
    order = open_order(db, sign_up(db)) if credited_last else paid_order(db)
    base = next(DISPUTES) * 10  # Paystack's ids are its own: no two payments share one
    refunded, known = 0, dict[int, Row]()
    for amount, fact in facts:
        told = fact and fact | {"id": base + fact["id"]}
        report(db, order, amount, *([told] if told else []))
        refunded = max(refunded, amount)
        if told and not known.get(told["id"], {}).get("resolved"):
            known[told["id"]] = told
    if credited_last:
        credit(db, order)
    lost = sum(in_doubt(one) for one in known.values())
    target = min(CREDITS, math.ceil(CREDITS * min(PRICE, refunded + lost) / PRICE))
    assert withheld(db, order) == target
    assert profile(db, order["user_id"])["credits"] == 1000 - target
    assert profile(db, order["user_id"])["credits"] == sum(
        one["delta"] for one in ledger(db, order["user_id"])
    )


def in_doubt(one: Row) -> int:
    if not one["resolved"]:
        return PRICE
    if one["resolution"] == "declined":
        return 0
    refund: int | None = one["refund_amount"]
    return PRICE if refund is None else refund


TOLD = [(PRICE, []), (0, [dispute(1)]), (0, [dispute(1, "merchant-accepted")])]


@pytest.mark.parametrize("order_of_news", list(permutations(range(3))))
def test_a_payment_that_was_wholly_refunded_is_reversed_in_whatever_order_it_is_told(
    db: Connection, order_of_news: tuple[int, ...]
) -> None:
    order = paid_order(db)
    for number in order_of_news:
        refunded, disputes = TOLD[number]
        report(db, order, refunded, *disputes)
    assert withheld(db, order) == 500
    assert payment(db, order["reference"])["status"] == "reversed"


def test_what_is_reversed_is_not_credited_again(db: Connection) -> None:
    order = paid_order(db)
    report(db, order, PRICE)
    assert payment(db, order["reference"])["status"] == "reversed"
    assert credit(db, order)["credited"] is False
    by_service(db, "observe_payment", p_reference=order["reference"], p_status="failed")
    assert payment(db, order["reference"])["status"] == "reversed"
    assert profile(db, order["user_id"])["credits"] == 500


def test_the_database_refuses_to_forget_which_payment_a_dispute_is_about(db: Connection) -> None:
    order = paid_order(db)
    report(db, order, 0, dispute(1))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute("delete from public.transactions where reference = %s", [order["reference"]])
