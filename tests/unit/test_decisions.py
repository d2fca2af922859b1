"""Pure decisions: units, what differs in a key, when a payment buys credits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import money
from core.domain.keys import KeyState, ObservedKey, ObservedUser, WantedKey, differences, holds_wallet
from core.domain.payments import (
    Bearer,
    Credit,
    Observe,
    Order,
    Refund,
    Refunds,
    Review,
    Verified,
    borne_fee,
    judge,
)
from core.domain.routes import ALWAYS, PATHS, PROOFLESS, Fences

FENCES = Fences(PROOFLESS, {}, key_max_parallel=10, account_max_parallel=20)
WANTED = WantedKey(
    id="k1", user_id="u1", installation_id="i1", key="sk-kf-1", key_hash="h", name="Key",
    state=KeyState.ACTIVE, budget_cents=2000, budget_duration="30d", rpm_limit=100, tpm_limit=10_000,
    revision=3, confirmed=False, maybe_created=False, fences=FENCES,
)  # fmt: skip
SHOWN = ObservedKey(
    user_id="u1", team_id=None, blocked=False, budget_cents=2000, budget_duration="30d", rpm_limit=100,
    tpm_limit=10_000, routes=FENCES.paths, max_parallel=10, metadata=WANTED.marks,
)  # fmt: skip
LATER, BEFORE = (datetime.now(UTC) + timedelta(days=days) for days in (9, -9))
ORDER = Order(
    reference="kf-1", account_id="u1", amount_subunits=500_000, currency="NGN", credits=500, status="pending",
    provider_id=None,
)  # fmt: skip
PAID = Verified(
    reference="kf-1", status="success", provider_id=5_612_903_388, amount_subunits=500_000,
    requested_subunits=500_000, currency="NGN", domain="test", paid_at=None,
)  # fmt: skip


@given(st.integers(min_value=0, max_value=10**15))
def test_micro_dollars_survive_the_wire(micros: int) -> None:
    assert money.micros_from_dollars(money.dollars_from_micros(micros)) == micros


def test_a_sum_of_floats_that_falls_short_by_a_hair_is_rounded_not_floored() -> None:
    assert money.micros_from_dollars(0.1 + 0.7) == 800_000
    assert money.micros_from_dollars(sum([0.1] * 10)) == 1_000_000


def test_a_key_as_wanted_has_no_differences() -> None:
    assert differences(WANTED, SHOWN) == ()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"user_id": None}, "user_id"),
        ({"team_id": "t"}, "team_id"),
        ({"blocked": True}, "blocked"),
        ({"budget_cents": None}, "max_budget"),
        ({"budget_duration": None}, "budget_duration"),
        ({"rpm_limit": None}, "rpm_limit"),
        ({"tpm_limit": 9_999}, "tpm_limit"),
        ({"models": ("a",)}, "models"),
        ({"expires_at": LATER}, "expires_at"),
        ({"expires_at": BEFORE}, "expires_at"),
        ({"routes": ()}, "allowed_routes"),
        ({"routes": (*FENCES.paths, "/v1/files")}, "allowed_routes"),
        ({"routes": FENCES.paths[1:]}, "allowed_routes"),
        ({"max_parallel": None}, "max_parallel_requests"),
        ({"metadata": {}}, "metadata"),
        ({"metadata": WANTED.marks | {"keyfund": "i2"}}, "metadata"),
        ({"metadata": WANTED.marks | {"keyfund_guard": None}}, "metadata"),
    ],
)
def test_each_way_out_of_the_wallet_or_the_limits_is_named(change: dict[str, object], name: str) -> None:
    assert differences(WANTED, replace(SHOWN, **change)) == (name,)  # type: ignore[arg-type]


def test_the_order_of_routes_and_what_others_keep_in_metadata_are_no_difference() -> None:
    observed = replace(SHOWN, routes=FENCES.paths[::-1], metadata=WANTED.marks | {"team": "blue"})
    assert differences(WANTED, observed) == ()


@pytest.mark.parametrize(
    ("wanted", "shown", "same"),
    [
        (LATER, LATER, True),
        (LATER, LATER + timedelta(seconds=59), True),
        (LATER, LATER - timedelta(seconds=59), True),
        (LATER, LATER + timedelta(seconds=61), False),
        (LATER, LATER - timedelta(seconds=61), False),
        (LATER, None, False),
        (BEFORE, None, False),
        (BEFORE, BEFORE + timedelta(days=3), True),
        (BEFORE, BEFORE - timedelta(days=300), True),
        (BEFORE, LATER, False),
        (LATER, BEFORE, False),
    ],
)
def test_an_end_is_the_same_to_the_minute_and_over_is_over(
    wanted: datetime, shown: datetime | None, same: bool
) -> None:
    found = differences(replace(WANTED, expires_at=wanted), replace(SHOWN, expires_at=shown))
    assert found == (() if same else ("expires_at",))


def test_models_are_the_same_in_any_order_and_no_list_is_none_other() -> None:
    wanted = replace(WANTED, models=("a", "b"))
    assert differences(wanted, replace(SHOWN, models=("b", "a"))) == ()
    for models in ((), ("a",), ("a", "b", "c"), ("all-proxy-models",)):
        assert differences(wanted, replace(SHOWN, models=models)) == ("models",)
    assert differences(WANTED, replace(SHOWN, models=("all-proxy-models",))) == ("models",)


def test_a_key_of_a_suspended_account_only_has_to_be_blocked_whatever_its_owner_wants() -> None:
    wanted = replace(WANTED, suspended=True)
    assert (wanted.state, wanted.blocked) == (KeyState.ACTIVE, True)
    assert differences(wanted, SHOWN) == ("blocked",)
    assert differences(wanted, replace(SHOWN, blocked=True, routes=())) == ()


def test_the_routes_of_a_key_are_literal_each_in_its_spellings_and_never_none() -> None:
    assert replace(FENCES, open_routes=()).paths == ALWAYS
    assert set(FENCES.paths) == {*ALWAYS, *PATHS["chat"], *PATHS["completions"], *PATHS["embeddings"]}
    every = replace(FENCES, open_routes=tuple(PATHS)).paths
    assert len(set(every)) == len(every)
    assert all(path.startswith("/") and "*" not in path for path in every)


def test_a_key_tells_the_guard_its_account_s_bound_and_the_models_of_routes_that_need_a_proof() -> None:
    fences = Fences(("chat", "images"), {"images": ("draw",)}, 10, 7)
    assert replace(WANTED, fences=fences).marks == {
        "keyfund": "i1",
        "keyfund_key_id": "k1",
        "keyfund_guard": {"in_flight": 7, "routes": {"images": ["draw"]}},
    }


@pytest.mark.parametrize("state", [KeyState.BLOCKED, KeyState.REVOKED])
def test_a_stopped_key_only_has_to_be_blocked(state: KeyState) -> None:
    wanted = replace(WANTED, state=state)
    assert differences(wanted, replace(SHOWN, blocked=True, rpm_limit=1)) == ()
    assert differences(wanted, SHOWN) == ("blocked",)


def test_a_wallet_is_the_amount_for_life_for_someone_it_binds() -> None:
    user = ObservedUser(budget_micros=10_000_000, budget_duration=None, spend_micros=0, role="internal_user")
    assert holds_wallet(user, 10_000_000)
    assert not holds_wallet(None, 10_000_000)
    assert not holds_wallet(replace(user, budget_micros=None), 10_000_000)
    assert not holds_wallet(replace(user, budget_duration="30d"), 10_000_000)
    assert not holds_wallet(replace(user, role="proxy_admin"), 10_000_000)


def test_what_is_paid_as_ordered_is_credited() -> None:
    assert judge(ORDER, PAID, "test") == Credit(5_612_903_388, 500_000, "NGN", None)


def test_fees_on_top_and_a_missing_requested_amount_are_honest() -> None:
    verified = replace(PAID, amount_subunits=507_500, requested_subunits=None)
    assert isinstance(judge(ORDER, verified, "test"), Credit)


@pytest.mark.parametrize(
    "status", ["failed", "abandoned", "ongoing", "pending", "processing", "queued", "reversed"]
)
def test_anything_but_success_is_an_observation(status: str) -> None:
    assert judge(ORDER, replace(PAID, status=status), "test") == Observe(status)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reference": "kf-2"}, "other_reference"),
        ({"domain": "live"}, "other_domain"),
        ({"domain": None}, "other_domain"),
        ({"currency": "USD"}, "other_currency"),
        ({"requested_subunits": 499_999}, "other_amount_requested"),
        ({"amount_subunits": 499_999}, "underpaid"),
        ({"amount_subunits": None}, "incomplete"),
        ({"complete": False}, "incomplete"),
        ({"complete": False, "amount_subunits": None, "currency": "USD"}, "incomplete"),
        ({"provider_id": None}, "incomplete"),
    ],
)
def test_money_that_does_not_fit_its_order_is_reviewed(change: dict[str, object], reason: str) -> None:
    verdict = judge(ORDER, replace(PAID, **change), "test")  # type: ignore[arg-type]
    assert isinstance(verdict, Review)
    assert verdict.reason == reason


def test_what_nobody_knows_the_credits_of_waits_for_a_person() -> None:
    assert judge(replace(ORDER, credits=0), PAID, "test") == Review(
        "taken_over", 5_612_903_388, 500_000, "NGN", 0
    )


FEES = [
    # (paid, requested, fees) and the fee that the buyer bore: as the buyer, by the numbers, as the merchant
    ((500_000, 500_000, 17_500), (0, 0, 0)),
    ((517_500, 500_000, 17_500), (17_500, 17_500, 0)),
    ((517_500, None, 17_500), (17_500, 17_500, 0)),
    ((600_000, 500_000, 17_500), (17_500, 0, 0)),
    ((510_000, 500_000, 17_500), (10_000, 0, 0)),
    ((517_500, 500_000, None), (17_500, 0, 0)),
    ((500_000, 500_000, 0), (0, 0, 0)),
    ((400_000, 500_000, 17_500), (0, 0, 0)),
    ((None, None, None), (0, 0, 0)),
]


@pytest.mark.parametrize(("told", "borne"), FEES)
def test_the_fee_that_a_buyer_bore_is_told_by_who_bears_it_or_else_by_what_was_paid_beyond_the_price(
    told: tuple[int | None, int | None, int | None], borne: tuple[int, int, int]
) -> None:
    verified = replace(PAID, amount_subunits=told[0], requested_subunits=told[1], fees_subunits=told[2])
    assert (
        tuple(borne_fee(ORDER, verified, bearer) for bearer in (Bearer.BUYER, None, Bearer.MERCHANT)) == borne
    )


def test_the_fee_goes_with_the_verdict() -> None:
    verified = replace(PAID, amount_subunits=517_500, fees_subunits=17_500)
    assert judge(ORDER, verified, "test") == Credit(5_612_903_388, 517_500, "NGN", None, 17_500)
    assert judge(ORDER, verified, "test", Bearer.MERCHANT) == Credit(5_612_903_388, 517_500, "NGN", None, 0)
    other = replace(verified, currency="USD")
    assert judge(ORDER, other, "test") == Review("other_currency", 5_612_903_388, 517_500, "USD", 17_500)


def test_refunds_are_summed_by_how_far_they_are_and_by_what_they_belong_to() -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    refunds = [
        Refund(100, processed=True, under_way=False, dispute_id=None, refunded_at=late),
        Refund(20, processed=True, under_way=False, dispute_id=7, refunded_at=early),
        Refund(3, processed=True, under_way=False, dispute_id=8, refunded_at=None),
        Refund(400, processed=False, under_way=True, dispute_id=None, refunded_at=None),
        Refund(5000, processed=False, under_way=False, dispute_id=None, refunded_at=None),
    ]
    sums = Refunds()
    for one in refunds:
        sums = sums.plus(one, {7})
    assert sums == Refunds(processed=123, in_disputes=20, under_way=400, last_at=late)
