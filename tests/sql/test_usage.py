"""Booking what LiteLLM shows as spent: nothing free, nothing twice, nothing spendable again."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    CREDIT_MICROS,
    Row,
    account,
    append,
    at_once,
    by_owner,
    by_service,
    claim,
    finish,
    ledger,
    let_pass,
    make_due,
    profile,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database

EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@pytest.fixture
def user_id(db: Connection) -> UUID:
    made = sign_up(db)
    synced_key(db, made)
    return made


def push_seeing(db: Connection, user_id: UUID, spend_micros: int) -> None:
    """A push that finds this spend on the user row."""
    make_due(db, user_id)
    assert finish(db, claim(db, user_id), spend_micros=spend_micros)


def observe(db: Connection, push: Row, spend_micros: int, missing: bool = False) -> Row:
    seen: Row = by_service(
        db,
        "observe_spend",
        p_account_id=push["user_id"],
        p_token=push["token"],
        p_spend_micros=spend_micros,
        p_user_is_missing=missing,
    )
    return seen


def leased(db: Connection, user_id: UUID) -> Row:
    make_due(db, user_id)
    return claim(db, user_id)


# --- forwards -----------------------------------------------------------------------------------------------


def test_spend_is_booked_in_whole_credits_and_the_rest_is_kept_for_later(
    db: Connection, user_id: UUID
) -> None:
    push_seeing(db, user_id, CREDIT_MICROS - 1)
    assert profile(db, user_id)["credits"] == 500
    push_seeing(db, user_id, CREDIT_MICROS)
    assert profile(db, user_id)["credits"] == 499
    assert [one["delta"] for one in ledger(db, user_id)] == [500, -1]


def test_calls_of_a_hundredth_of_a_cent_are_neither_free_nor_charged_twice(
    db: Connection, user_id: UUID
) -> None:
    for count in range(1, 31):
        push_seeing(db, user_id, count * 1_000)
    assert profile(db, user_id)["credits"] == 499
    assert account(db, user_id)["booked_micros"] == 30_000


def test_the_same_spend_seen_again_books_nothing(db: Connection, user_id: UUID) -> None:
    for _ in range(3):
        push_seeing(db, user_id, 50_000)
    assert [one["delta"] for one in ledger(db, user_id)] == [500, -2]


def test_usage_does_not_change_what_is_pushed(db: Connection, user_id: UUID) -> None:
    push_seeing(db, user_id, 50_000)
    push = leased(db, user_id)
    assert (push["budget_micros"], push["seen_micros"]) == (10_000_000, 50_000)


@EXAMPLES
@given(st.lists(st.integers(0, 5 * CREDIT_MICROS), min_size=1, max_size=8))
@example([CREDIT_MICROS - 1, 1])
@example([CREDIT_MICROS // 3] * 3)
def test_any_split_of_a_spend_books_the_same_credits_as_one_step(db: Connection, steps: list[int]) -> None:
    db.execute("update keyfund.settings set signup_grants_per_hour = null")
    in_steps, at_once_ = sign_up(db), sign_up(db)
    spent = 0
    for step in steps:
        spent += step
        push_seeing(db, in_steps, spent)
    push_seeing(db, at_once_, spent)
    assert (
        profile(db, in_steps)["credits"] == profile(db, at_once_)["credits"] == 500 - spent // CREDIT_MICROS
    )
    assert account(db, in_steps)["booked_micros"] == spent


# --- backwards ----------------------------------------------------------------------------------------------


def test_spend_that_went_backwards_once_is_read_again_and_changes_nothing(
    db: Connection, user_id: UUID
) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    assert observe(db, push, 10_000) == {"verdict": "read_again", "budget_micros": 10_000_000}
    assert (account(db, user_id)["epoch"], account(db, user_id)["seen_micros"]) == (0, 60_000)


def test_spend_that_went_backwards_twice_starts_an_epoch_in_which_spent_money_stays_spent(
    db: Connection, user_id: UUID
) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    observe(db, push, 10_000)
    # 10 dollars less the 6 cents that were booked, plus the cent that LiteLLM counts anew
    assert observe(db, push, 10_000) == {"verdict": "new_epoch", "budget_micros": 9_950_000}
    finish(db, push, spend_micros=10_000)
    push_seeing(db, user_id, 30_000)
    after = account(db, user_id)
    assert (after["epoch"], after["booked_micros"], after["seen_micros"]) == (1, 80_000, 30_000)
    assert profile(db, user_id)["credits"] == 496
    assert leased(db, user_id)["budget_micros"] == 9_950_000


def test_a_missing_user_row_starts_an_epoch_at_once(db: Connection, user_id: UUID) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    assert observe(db, push, 0, missing=True) == {"verdict": "new_epoch", "budget_micros": 9_940_000}
    assert account(db, user_id)["epoch"] == 1


def test_a_dip_that_was_a_mistake_is_forgotten(db: Connection, user_id: UUID) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    observe(db, push, 10_000)
    assert observe(db, push, 70_000)["verdict"] == "as_expected"
    finish(db, push, spend_micros=70_000)
    assert observe(db, leased(db, user_id), 10_000)["verdict"] == "read_again"


@pytest.mark.parametrize("by", ["observation", "finish"])
def test_a_dip_that_came_back_to_the_very_same_spend_is_forgotten_too(
    db: Connection, user_id: UUID, by: str
) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    observe(db, push, 10_000)
    if by == "observation":
        observe(db, push, 60_000)
    finish(db, push, spend_micros=60_000)
    assert observe(db, leased(db, user_id), 10_000)["verdict"] == "read_again"


SIGHT = st.tuples(st.sampled_from(["spend", "lose", "vanish", "buy"]), st.integers(0, 6 * CREDIT_MICROS))


@EXAMPLES
@given(st.lists(SIGHT, min_size=1, max_size=8))
@example([("spend", 50_000), ("vanish", 0), ("spend", 50_000), ("lose", 10_000), ("buy", 40_000)])
def test_whatever_litellm_forgets_spent_money_never_becomes_spendable_again(
    db: Connection, sights: list[tuple[str, int]]
) -> None:
    user_id = sign_up(db)
    make_due(db, user_id)
    finish(db, claim(db, user_id))
    shown = booked = 0  # on LiteLLM's user row; and all that was ever spent
    wallet = 500 * CREDIT_MICROS
    for kind, micros in sights:
        if kind == "buy" and micros >= CREDIT_MICROS:
            append(db, user_id, micros // CREDIT_MICROS, "purchase")
            wallet += micros // CREDIT_MICROS * CREDIT_MICROS
        push = leased(db, user_id)
        budget = push["budget_micros"]
        if kind == "spend":
            shown, booked = shown + micros, booked + micros
        elif kind == "lose" and micros < shown:
            shown = micros
            observe(db, push, shown)
            budget = observe(db, push, shown)["budget_micros"]
        elif kind == "vanish":
            shown = 0
            budget = observe(db, push, 0, missing=True)["budget_micros"]
        finish(db, push, spend_micros=shown)
        assert budget - shown == wallet - booked
        assert account(db, user_id)["booked_micros"] == booked
        assert profile(db, user_id)["credits"] == (wallet // CREDIT_MICROS) - booked // CREDIT_MICROS


# --- settlement for all accounts ----------------------------------------------------------------------------


def settle(db: Connection, *spends: tuple[UUID, int | None], asked_ago: float = 0) -> int:
    spenders = [{"user_id": str(user_id), "spend_micros": spend} for user_id, spend in spends]
    asked_at = value(db, "select clock_timestamp()") - timedelta(seconds=asked_ago)
    return int(by_service(db, "settle_usage", p_spenders=Jsonb(spenders), p_asked_at=asked_at))


def claim_turn(db: Connection) -> object:
    return by_service(db, "claim_chore", p_name="settle_usage", p_lease_seconds=30)


def test_one_of_many_workers_carries_out_a_settlement(database: Database, db: Connection) -> None:
    turns = at_once(
        database,
        8,
        lambda connection, _: claim_turn(connection),
    )
    assert len([turn for turn in turns if turn is not None]) == 1
    assert claim_turn(db) is None
    let_pass(db, 31)
    assert claim_turn(db) is not None


def test_nothing_is_settled_while_the_breaker_is_open(db: Connection) -> None:
    for _ in range(3):
        by_service(db, "report_gateway", p_name="litellm", p_ok=False)
    assert claim_turn(db) is None


def test_a_settlement_books_each_account_once_however_often_it_is_repeated(
    db: Connection, user_id: UUID
) -> None:
    other = sign_up(db)
    synced_key(db, other)
    spends = [(user_id, 50_000), (other, 20_000), (uuid4(), 99_000)]
    assert [settle(db, *spends) for _ in range(3)] == [2, 0, 0]
    assert (profile(db, user_id)["credits"], profile(db, other)["credits"]) == (498, 499)


def test_settlements_and_pushes_at_once_book_a_spend_once(
    database: Database, db: Connection, user_id: UUID
) -> None:
    push = leased(db, user_id)

    def act(connection: Connection, number: int) -> None:
        if number == 0:
            finish(connection, push, spend_micros=100_000)
        else:
            settle(connection, (user_id, 100_000))

    at_once(database, 8, act)
    assert [one["delta"] for one in ledger(db, user_id)] == [500, -5]


@pytest.mark.parametrize("seen", [10_000, None])
def test_a_settlement_that_finds_spend_missing_books_nothing_and_asks_for_a_push(
    db: Connection, user_id: UUID, seen: int | None
) -> None:
    push_seeing(db, user_id, 60_000)
    assert settle(db, (user_id, seen)) == 0
    assert account(db, user_id)["seen_micros"] == 60_000
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is not None


def test_what_was_read_before_an_epoch_is_not_booked_in_it(db: Connection, user_id: UUID) -> None:
    push_seeing(db, user_id, 60_000)
    push = leased(db, user_id)
    observe(db, push, 0, missing=True)
    assert settle(db, (user_id, 60_000), asked_ago=5) == 0
    assert profile(db, user_id)["credits"] == 497
    assert settle(db, (user_id, 20_000)) == 1
    assert profile(db, user_id)["credits"] == 496


def test_an_account_that_litellm_was_never_told_of_is_not_settled(db: Connection) -> None:
    user_id = sign_up(db)
    assert settle(db, (user_id, 60_000), (user_id, None)) == 0
    assert account(db, user_id)["next_attempt_at"] is None


def test_wallets_may_be_overspent_and_the_debt_is_shown(db: Connection, user_id: UUID) -> None:
    push_seeing(db, user_id, 501 * CREDIT_MICROS)
    assert profile(db, user_id)["credits"] == -1
    assert by_owner(db, user_id, "create_virtual_key")["max_budget"] == 1000
