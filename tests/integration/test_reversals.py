"""Refunds and disputes: what they withhold, in any order, any number of times."""

import json

import pytest

from tests.integration.world import Json, World, until
from tests.support import User

PRICE = 1_600_000


@pytest.fixture
def bought(world: World) -> tuple[User, str]:
    """Somebody who bought 500 credits on top of the 500 they were given."""
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference)
    world.until_status(user, reference, "success")
    return user, reference


def until_credits(world: World, user: User, credits: int) -> None:
    until(lambda: world.credits(user) == credits, what=f"{credits} credits")


def withheld(world: World, user: User) -> list[int]:
    rows = world.rest(user, "GET", "/credit_ledger?kind=eq.withheld&order=id").json()
    return [row["delta"] for row in rows]


def refund(world: World, reference: str, amount: int, **body: object) -> Json:
    return world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=amount, **body)


def dispute(world: World, reference: str, **body: object) -> Json:
    return world.sandbox(f"/sandbox/transactions/{reference}/dispute", **body)


def resolve(world: World, event: Json, resolution: str, **body: object) -> Json:
    identity = event["event"]["data"]["id"]
    return world.sandbox(f"/sandbox/disputes/{identity}/resolve", resolution=resolution, **body)


def test_a_full_refund_takes_back_all_and_lowers_the_wallet(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    refund(world, reference, PRICE)
    until_credits(world, user, 500)
    world.until_status(user, reference, "reversed")
    until(lambda: world.wallet(user).get("max_budget") == 10.0, what="the wallet is lowered")


def test_a_refund_repeated_counts_once(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    event = refund(world, reference, PRICE // 2)
    until_credits(world, user, 750)
    for spaces in range(5):
        raw = json.dumps(event["event"], indent=spaces + 1).encode()
        world.deliver(raw)
    world.deliver(json.dumps({**event["event"], "again": True}).encode())
    until(
        lambda: world.db.execute(
            "select count(*) from keyfund.events where handled_at is null and reference = %s",
            [reference],
        ).fetchone() == (0,),
        what="every delivery is handled",
    )  # fmt: skip
    assert withheld(world, user) == [-250]


def test_three_thirds_take_back_exactly_all(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    for part, left in ((PRICE // 3, 833), (PRICE // 3, 666), (PRICE - 2 * (PRICE // 3), 500)):
        refund(world, reference, part)
        until_credits(world, user, left)
    assert sum(withheld(world, user)) == -500


def test_an_open_dispute_withholds_all_and_a_declined_one_gives_it_back(
    world: World, bought: tuple[User, str]
) -> None:
    user, reference = bought
    opened = dispute(world, reference)
    until_credits(world, user, 500)
    resolve(world, opened, "declined")
    until_credits(world, user, 1000)
    assert withheld(world, user) == [-500, 500]


def test_a_dispute_accepted_in_part_withholds_that_part(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    opened = dispute(world, reference)
    until_credits(world, user, 500)
    resolve(world, opened, "merchant-accepted", refund_amount=PRICE // 4)
    until_credits(world, user, 875)


def test_a_resolve_that_comes_before_its_create_is_final(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    created = dispute(world, reference, deliver=False)
    resolved = resolve(world, created, "declined", deliver=False)
    world.deliver(resolved["raw"].encode())
    world.deliver(created["raw"].encode())
    until(lambda: (world.event(created["raw"].encode()) or {}).get("handled_at"), what="both are handled")
    until(lambda: (world.event(resolved["raw"].encode()) or {}).get("handled_at"), what="both are handled")
    assert world.credits(user) == 1000
    assert withheld(world, user) == []


def test_a_dispute_and_the_refund_that_belongs_to_it_count_once(
    world: World, bought: tuple[User, str]
) -> None:
    user, reference = bought
    opened = dispute(world, reference)
    until_credits(world, user, 500)
    refund(world, reference, PRICE // 2, dispute=opened["event"]["data"]["id"])
    resolve(world, opened, "merchant-accepted", refund_amount=PRICE // 2)
    until_credits(world, user, 750)
    assert sum(withheld(world, user)) == -250


def test_a_refund_that_comes_before_the_charge_was_credited_counts(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    paid = world.pay(reference, deliver=False)
    refund(world, reference, PRICE // 2)
    until_credits(world, user, 750)
    world.deliver(paid["raw"].encode())
    until(lambda: (world.event(paid["raw"].encode()) or {}).get("handled_at"), what="the charge is handled")
    assert world.credits(user) == 750


def test_a_payment_returned_before_it_was_credited_is_never_credited(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    paid = world.pay(reference, deliver=False)
    refund(world, reference, PRICE, deliver=False)
    world.deliver(paid["raw"].encode())
    world.until_status(user, reference, "reversed")
    assert world.credits(user) == 500


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_a_refund_that_is_not_processed_takes_nothing(
    world: World, bought: tuple[User, str], status: str
) -> None:
    user, reference = bought
    event = refund(world, reference, PRICE, status=status)
    until(lambda: (world.event(event["raw"].encode()) or {}).get("handled_at"), what="it is handled")
    assert world.credits(user) == 1000


def test_spent_credits_that_are_taken_back_stop_the_keys(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    key = world.synced_key(user)
    for _ in range(12):
        assert world.call(key, "mock-costly").status_code == 200
    refund(world, reference, PRICE)
    until(lambda: world.wallet(user).get("max_budget") == 10.0, what="the wallet is lowered")
    assert world.call(key, "mock-small").status_code == 422
    until(lambda: world.credits(user) < 0, what="what is owed shows")


def test_what_no_webhook_told_is_found_by_the_sweep(world: World, bought: tuple[User, str]) -> None:
    user, reference = bought
    other = world.order(user)["reference"]
    world.pay(other, deliver=False)
    refund(world, reference, PRICE // 2, deliver=False)
    disputed = world.order(user)["reference"]
    world.pay(disputed)
    world.until_status(user, disputed, "success")
    dispute(world, disputed, deliver=False)
    world.db.execute("update keyfund.chores set next_attempt_at = now() where name = 'sweep_paystack'")
    world.stack.stop_part("worker")
    world.stack.start_part("worker")
    until_credits(world, user, 500 + 250 + 500 + 0)
    world.until_status(user, other, "success")


@pytest.mark.parametrize(
    ("paid", "given_back", "credits"),
    [
        ({"amount": PRICE + 100_000, "channel": "bank_transfer"}, 100_000, 1000),
        ({"amount": PRICE + 36_000, "fees": 36_000}, PRICE, 500),
        ({"amount": PRICE + 36_000, "fees": 36_000}, 36_000, 988),
    ],
)
def test_what_is_given_back_is_measured_by_the_price(
    world: World, paid: Json, given_back: int, credits: int
) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference, requested_amount=PRICE, **paid)
    world.until_status(user, reference, "success")
    event = refund(world, reference, given_back)
    until(lambda: (world.event(event["raw"].encode()) or {}).get("handled_at"), what="the refund is handled")
    assert world.credits(user) == credits
