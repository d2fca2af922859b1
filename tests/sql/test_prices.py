"""Prices are those that the buyer was shown, and not below cost and fee unless somebody says so."""

import re
from uuid import UUID

import psycopg
import pytest

from dev.stack import ROOT
from tests.sql.acting import Row, by_owner, by_service, open_order, refused, row, rows, sign_up
from tests.support import Connection

PACKAGE: Row = {"id": "big-ngn", "name": "Big", "credits": 10_000, "amount": 29_200_000, "currency": "NGN"}
"""At 1,450 naira a dollar it costs 290,000 naira; Paystack keeps 2,000 at most."""
RATES = {"NGN": 145_000, "GHS": 1_100, "KES": 12_900, "ZAR": 1_720, "USD": 100}
"""Subunits of each currency in a dollar."""

FEES = {"NGN": (0.015, 10_000), "GHS": (0.0195, 0), "KES": (0.029, 0), "ZAR": (0.029, 100), "USD": (0.039, 0)}
"""Paystack's share, and what it takes besides, in subunits."""


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def save(db: Connection, who: UUID, **changes: object) -> Row:
    saved: Row = by_owner(db, who, "save_package", **(PACKAGE | changes))
    return saved


def on_sale(db: Connection) -> list[Row]:
    return rows(db, "select id from public.credit_packages where active and id = 'big-ngn'")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": 28}, "below_cost"),
        ({"amount": 29_000_000}, "below_cost"),
        ({"amount": 29_199_999}, "below_cost"),
        ({"credits": 10_001}, "below_cost"),
        ({"currency": "USD", "amount": 19_999}, "below_cost"),
        ({"currency": "XOF"}, "rate_missing"),
    ],
)
def test_a_price_that_does_not_cover_the_cost_needs_a_yes(
    db: Connection, administrator: UUID, changes: Row, code: str
) -> None:
    with refused(409, code):
        save(db, administrator, **changes)
    assert on_sale(db) == []
    assert rows(db, "select from public.audit_log where details ->> 'package' = 'big-ngn'") == []
    assert save(db, administrator, **changes, below_cost=True)["active"]


@pytest.mark.parametrize(
    "changes", [{}, {"currency": "USD", "amount": 20_000}, {"amount": 1, "active": False}]
)
def test_a_price_that_covers_the_cost_and_a_package_that_is_not_on_sale_need_none(
    db: Connection, administrator: UUID, changes: Row
) -> None:
    save(db, administrator, **changes)


def test_putting_a_package_on_sale_or_lowering_its_price_is_looked_at_again(
    db: Connection, administrator: UUID
) -> None:
    save(db, administrator, amount=28, active=False)
    with refused(409, "below_cost"):
        save(db, administrator, amount=28)
    save(db, administrator)
    with refused(409, "below_cost"):
        save(db, administrator, amount=28)
    assert row(db, "select amount, active from public.credit_packages where id = 'big-ngn'") == {
        "amount": 29_200_000,
        "active": True,
    }


def test_the_cost_follows_the_operator_s_rate_and_the_value_of_a_credit(
    db: Connection, administrator: UUID
) -> None:
    by_service(db, "record_rate", p_currency="NGN", p_subunits_per_dollar=160_000, p_reason="It fell.")
    with refused(409, "below_cost"):
        save(db, administrator)
    save(db, administrator, amount=32_200_000)


def test_the_refusal_says_what_the_credits_cost_and_what_the_price_is(
    db: Connection, administrator: UUID
) -> None:
    fee = re.escape(
        "10000 credits cost NGN 290,000.00 at your rate, the fee is NGN 0.01, and the price is NGN 0.28"
    )
    with pytest.raises(psycopg.Error, match=fee):
        save(db, administrator, amount=28)
    no_fee = re.escape(
        "10000 credits cost USD 200.00 at your rate, the fee is USD 0.00, and the price is USD 0.01"
    )
    with pytest.raises(psycopg.Error, match=no_fee):
        save(db, administrator, currency="USD", amount=1)


def test_a_package_that_cannot_be_is_refused_as_such_whatever_it_costs(
    db: Connection, administrator: UUID
) -> None:
    for changes in ({"amount": 0}, {"credits": None}, {"currency": "ngn"}, {"id": "Big"}, {"name": " "}):
        with refused(400, "invalid_package"):
            save(db, administrator, **changes)


def test_each_change_of_a_package_is_written_down_with_its_old_and_new_values(
    db: Connection, administrator: UUID
) -> None:
    save(db, administrator)
    save(db, administrator)  # nothing is new
    save(db, administrator, amount=30_000_000, active=False)
    db.execute("delete from public.credit_packages where id = 'big-ngn'")
    found = rows(
        db,
        "select actor, actor_id, account_id, action, details from public.audit_log"
        " where details ->> 'package' = 'big-ngn' order by id",
    )
    assert [(one["actor"], one["actor_id"], one["account_id"], one["action"]) for one in found] == [
        ("administrator", administrator, None, "package_added"),
        ("administrator", administrator, None, "package_changed"),
        ("system", None, None, "package_removed"),
    ]
    assert found[0]["details"]["changes"]["amount"] == {"new": 29_200_000}
    assert found[1]["details"]["changes"] == {
        "amount": {"old": 29_200_000, "new": 30_000_000},
        "active": {"old": True, "new": False},
    }
    assert found[2]["details"]["changes"]["name"] == {"old": "Big"}


# --- the examples -------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, int, int, str, str]]:
    text = (ROOT / "supabase" / "seed.sql").read_text()
    found = re.findall(r"\('([a-z-]+)', '\w+', (\d+), (\d+), '([A-Z]{3})', (\w+)\)", text)
    return [
        (one, int(credits), int(amount), currency, active) for one, credits, amount, currency, active in found
    ]


def test_none_of_the_examples_is_on_sale_before_somebody_looked_at_it() -> None:
    assert len(examples()) == 10
    assert {active for *_, active in examples()} == {"false"}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example[0])
def test_an_example_earns_something_after_paystack_s_fee(example: tuple[str, int, int, str, str]) -> None:
    _, credits, amount, currency, _ = example
    share, fixed = FEES[currency]
    fee = min(amount * share + fixed, 200_000) if currency == "NGN" else amount * share + fixed
    assert amount - fee > credits * 2 / 100 * RATES[currency]


# --- what the buyer was shown -------------------------------------------------------------------------------

SHOWN: Row = {"p_amount": 1_600_000, "p_credits": 500}


def order(db: Connection, user_id: UUID, **shown: object) -> Row:
    made: Row = by_service(db, "open_order", p_user_id=user_id, p_package_id="starter-ngn", **shown)
    return made


@pytest.mark.parametrize("change", ["credits = 1", "amount = 1600001", "amount = 1599999", "credits = 501"])
def test_a_package_that_changed_since_it_was_shown_is_not_ordered(db: Connection, change: str) -> None:
    user_id = sign_up(db)
    db.execute(f"update public.credit_packages set {change} where id = 'starter-ngn'".encode())
    with refused(409, "price_changed"):
        order(db, user_id, **SHOWN)
    assert rows(db, "select from public.transactions") == []
    assert open_order(db, user_id)["status"] == "pending"


@pytest.mark.parametrize("shown", [SHOWN, {"p_amount": 1_600_000}, {"p_credits": 500}, {}])
def test_a_package_as_it_was_shown_is_ordered(db: Connection, shown: Row) -> None:
    assert order(db, sign_up(db), **shown)["credits"] == 500


@pytest.mark.parametrize("shown", [{"p_amount": 1}, {"p_credits": 1}, {"p_amount": 1, "p_credits": 500}])
def test_one_of_both_that_differs_is_enough(db: Connection, shown: Row) -> None:
    with refused(409, "price_changed"):
        order(db, sign_up(db), **shown)
