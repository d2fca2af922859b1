"""How many credits are left of the last top-up, and when to say so."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.acting import (
    Row,
    append,
    by_owner,
    credit,
    ledger,
    let_pass,
    open_order,
    refused,
    rows,
    sign_up,
    value,
)
from tests.support import Connection, as_role


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


def balance(db: Connection, user_id: UUID) -> Row:
    told: Row = by_owner(db, user_id, "read_balance")
    return told


def told(db: Connection, user_id: UUID) -> tuple[Any, ...]:
    row = balance(db, user_id)
    return (row["credits"], row["after_top_up"], row["left_percent"], row["notice"])


def test_a_fresh_account_has_all_of_its_grant(db: Connection, user_id: UUID) -> None:
    assert told(db, user_id) == (500, 500, 100, None)
    assert balance(db, user_id)["topped_up_at"] is not None


@pytest.mark.parametrize(
    ("left", "percent", "notice"),
    [
        (251, 51, None), (250, 50, 50), (101, 21, 50), (100, 20, 20), (26, 6, 20), (25, 5, 5),
        (1, 1, 5), (0, 0, 5), (-40, 0, 5),
    ],
)  # fmt: skip
def test_each_threshold_is_noticed_when_it_is_reached_and_not_before(
    db: Connection, user_id: UUID, left: int, percent: int, notice: int | None
) -> None:
    append(db, user_id, left - 500, "usage")
    assert told(db, user_id) == (left, 500, percent, notice)


def test_a_purchase_arms_it_again(db: Connection, user_id: UUID) -> None:
    append(db, user_id, -480, "usage")
    assert told(db, user_id)[3] == 5
    credit(db, open_order(db, user_id))
    assert told(db, user_id) == (520, 520, 100, None)
    append(db, user_id, -260, "usage")
    assert told(db, user_id) == (260, 520, 50, 50)


@pytest.mark.parametrize("kind", ["adjustment", "withheld"])
def test_what_is_given_is_a_top_up_and_what_is_taken_is_none(
    db: Connection, user_id: UUID, kind: str
) -> None:
    append(db, user_id, -400, kind)
    assert told(db, user_id) == (100, 500, 20, 20)
    append(db, user_id, 300, kind)  # as a dispute that was won
    assert told(db, user_id) == (400, 400, 100, None)


def test_a_top_up_that_does_not_reach_above_nothing_leaves_nothing(db: Connection, user_id: UUID) -> None:
    append(db, user_id, -900, "withheld")
    append(db, user_id, 100, "adjustment")
    assert told(db, user_id) == (-300, -300, 0, 5)


def test_an_account_that_never_had_credits_is_not_warned(db: Connection) -> None:
    db.execute("update keyfund.settings set signup_credits = 0")
    user_id = sign_up(db)
    assert told(db, user_id) == (0, None, None, None)
    append(db, user_id, -5, "usage")
    assert told(db, user_id) == (-5, None, None, None)
    assert told(db, uuid4()) == (0, None, None, None)  # a sign-up whose trigger failed


@given(
    st.lists(
        st.tuples(st.sampled_from(["usage", "adjustment", "withheld"]), st.integers(-300, 300)), max_size=8
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)  # fmt: skip
def test_it_is_the_ledger_s_word(db: Connection, changes: list[tuple[str, int]]) -> None:
    user_id = sign_up(db)
    for kind, delta in changes:
        if delta:
            append(db, user_id, -abs(delta) if kind == "usage" else delta, kind)
    entries = ledger(db, user_id)
    (top,) = [
        one
        for one in entries
        if one["kind"] == "signup_grant" or (one["kind"] != "usage" and one["delta"] > 0)
    ][-1:]
    left, whole = entries[-1]["balance_after"], top["balance_after"]
    share = left / whole if whole > 0 else 0
    expected = 5 if share <= 0.05 else 20 if share <= 0.2 else 50 if share <= 0.5 else None
    assert told(db, user_id)[:2] == (left, whole)
    assert told(db, user_id)[3] == expected


def test_the_last_top_up_is_found_without_reading_the_usage(db: Connection, user_id: UUID) -> None:
    db.execute(
        "insert into public.credit_ledger (account_id, delta, kind, cause, balance_after) "
        "select %s, -1, 'usage', 'bulk:' || n, 500 - n from generate_series(1, 400) n order by n",
        [user_id],
    )
    db.execute("analyze public.credit_ledger")
    with as_role(db, "authenticated", user_id):
        db.execute("set local enable_seqscan = off")
        plan = "\n".join(line for (line,) in db.execute(
            "explain select e.balance_after from public.credit_ledger e where e.account_id = auth.uid() and "
            "(e.kind in ('signup_grant', 'purchase') or (e.kind in ('adjustment', 'withheld') "
            "and e.delta > 0)) order by e.id desc limit 1"
        ).fetchall())  # fmt: skip
    assert "credit_ledger_top_ups_idx" in plan
    assert value(db, "select count(*) from public.credit_ledger where account_id = %s", user_id) == 401


def daily(db: Connection, user_id: UUID, days: int = 10) -> list[Row]:
    """The last so many days, oldest first."""
    last = value(db, "select keyfund.today()")
    with as_role(db, "authenticated", str(user_id)):
        return rows(
            db, "select * from public.read_daily_balances(%s, %s)", last - timedelta(days=days - 1), last
        )


def test_each_day_ends_with_its_last_balance(db: Connection, user_id: UUID) -> None:
    append(db, user_id, -100, "usage")
    let_pass(db, 2 * 86_400)
    append(db, user_id, -50, "usage")
    append(db, user_id, -50, "usage")
    let_pass(db, 86_400)
    other = sign_up(db)
    append(db, other, -1, "usage")
    last = value(db, "select keyfund.today()")
    assert [(last - row["day"]).days for row in daily(db, user_id)] == [3, 2, 1, 0]
    assert [row["credits"] for row in daily(db, user_id)] == [400, 400, 300, 300]
    assert [row["credits"] for row in daily(db, other)] == [499]
    assert daily(db, user_id, days=2) == daily(db, user_id)[-2:]


@pytest.mark.parametrize(
    ("start", "end"), [("2026-01-02", "2026-01-01"), ("2024-01-01", "2025-06-01"), (None, "2026-01-01"),
    ("1999-12-31", "2000-01-01"), ("2026-01-01", None), ("2026-01-01", "infinity"),
     ("-infinity", "2026-01-01"), ("9999-12-31", "10000-01-01")],
)  # fmt: skip
def test_a_range_of_days_that_is_none_is_refused(
    db: Connection, user_id: UUID, start: str | None, end: str | None
) -> None:
    with as_role(db, "authenticated", str(user_id)), refused(400, "invalid_range"):
        db.execute("select * from public.read_daily_balances(%s::date, %s::date)", [start, end])


def test_days_to_come_have_no_balance_yet(db: Connection, user_id: UUID) -> None:
    today = value(db, "select keyfund.today()")
    read = "select * from public.read_daily_balances(%(today)s::date + %(first)s, %(today)s::date + %(last)s)"
    with as_role(db, "authenticated", str(user_id)):
        assert db.execute(read, {"today": today, "first": 1, "last": 30}).fetchall() == []
        assert len(db.execute(read, {"today": today, "first": 0, "last": 30}).fetchall()) == 1
        assert (
            db.execute("select * from public.read_daily_balances('9999-01-01', '9999-01-02')").fetchall()
            == []
        )
