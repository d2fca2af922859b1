"""How a buyer could get what they did not pay for, on the whole stack."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.hostile.bare import unbalanced
from tests.integration.world import Json, World, dumps, until
from tests.support import User

GRANT = 500
PRICE = 1_600_000


def service(world: World, function: str, **arguments: object) -> Any:
    answer = world.http.post(
        f"{world.env['SUPABASE_URL']}/rest/v1/rpc/{function}",
        headers={"apikey": world.env["SUPABASE_SERVICE_ROLE_KEY"]},
        json=arguments,
    )
    assert answer.is_success, answer.text
    return answer.json()


def outcome(world: World, told: Json) -> str:
    """What became of an event that the sandbox signed; delivered here, so that it is there for certain."""
    raw = told["raw"].encode()
    assert world.deliver(raw, signature=told["signature"]).status_code == 200
    until(lambda: (world.event(raw) or {}).get("outcome"), what="the event is handled")
    event = world.event(raw)
    assert event is not None
    return str(event["outcome"])


def until_tried(world: World, raw: bytes) -> None:
    """The event was looked at, and Paystack did not confirm it."""
    until(lambda: (world.event(raw) or {}).get("attempts"), what="it was tried, and not believed")


def unhandled(world: World, reference: str) -> int:
    row = world.db.execute(
        "select count(*) from keyfund.events where reference = %s and handled_at is null",
        [reference],
    ).fetchone()
    assert row is not None
    return int(row[0])


def wallet_credits(world: World, user: User) -> int:
    row = world.db.execute(
        "select wallet_credits from keyfund.wallets where account_id = %s", [user.id]
    ).fetchone()
    assert row is not None
    return int(row[0])


# --- checkout -------------------------------------------------------------------------------------------------


def test_an_order_is_the_caller_s_whoever_is_named_in_it(world: World) -> None:
    attacker, victim = world.sign_up(), world.sign_up()
    """Names of others are refused, in the body and in the address; a header says nothing."""
    named = {"user_id": victim.id, "p_user_id": victim.id, "email": "x@example.com",
             "currency": "USD", "reference": "kf-mine", "callback_url": "https://evil.example", "metadata": {"credits": 10**9}}  # fmt: skip
    headers = {"authorization": f"Bearer {attacker.token}", "x-user-id": victim.id}
    url, wanted = f"{world.env['WEBHOOK_BASE_URL']}/api/credits/checkout", {"package_id": "starter-ngn"}
    for name, value in named.items():
        body = {**wanted, name: value}
        assert world.http.post(url, headers=headers, json=body).status_code == 422
    asked = f"{url}?user_id={victim.id}"
    assert world.http.post(asked, headers=headers, json=wanted).status_code == 422
    answer = world.http.post(url, headers=headers, json=wanted)
    assert answer.status_code == 201
    order = answer.json()
    assert (order["amount"], order["currency"], order["credits"]) == (PRICE, "NGN", 500)
    row = world.db.execute(
        "select user_id::text from public.transactions where reference = %s", [order["reference"]]
    ).fetchone()
    assert row == (attacker.id,)
    assert world.rest(victim, "GET", "/transactions").json() == []


@pytest.mark.parametrize("named", [{"credits": 10**9}, {"amount": 1}, {"credits": 10**9, "amount": 1}])
def test_a_price_of_the_buyer_s_own_is_no_order(world: World, named: Json) -> None:
    attacker = world.sign_up()
    answer = world.api(attacker, "POST", "/api/credits/checkout", json={"package_id": "starter-ngn", **named})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "price_changed")
    assert world.rest(attacker, "GET", "/transactions").json() == []


@pytest.mark.parametrize("package_id", [
    "starter-ngn ", " starter-ngn", "STARTER-NGN", "starter-ngn,plus-ngn", "starter-ng_", "%", "*",
    "starter-ngn'--", "starter-ngn\n", "starter\u2010ngn", "0", "null", "hidden",
])  # fmt: skip
def test_only_what_is_on_sale_is_sold_by_its_very_name(world: World, package_id: str) -> None:
    world.db.execute(
        "insert into public.credit_packages (id, name, credits, amount, currency, active) "
        "values ('hidden', 'Staff', 1000000, 1, 'NGN', false) on conflict do nothing"
    )
    attacker = world.sign_up()
    answer = world.api(attacker, "POST", "/api/credits/checkout", json={"package_id": package_id})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "package_not_found")
    assert "hidden" not in world.api(attacker, "GET", "/api/credits/packages").text
    assert world.rest(attacker, "GET", "/credit_packages?id=eq.hidden").json() == []


def test_a_price_that_rises_after_the_order_leaves_the_order_alone_and_no_cheaper_one(world: World) -> None:
    user = world.sign_up()
    order = world.order(user)
    world.db.execute("update public.credit_packages set credits = 50000 where id = 'starter-ngn'")
    try:
        world.pay(order["reference"])
        world.until_status(user, order["reference"], "success")
    finally:
        world.db.execute("update public.credit_packages set credits = 500 where id = 'starter-ngn'")
    assert world.credits(user) == 2 * GRANT


# --- charges of the buyer's own making ------------------------------------------------------------------------


def test_a_charge_made_with_the_public_key_buys_nothing_whatever_it_says(world: World) -> None:
    attacker = world.sign_up()
    order = world.order(attacker)
    wishes: list[Json] = [
        {"user_id": attacker.id, "credits": 10**9, "package_id": "plus-ngn"},
        {"reference": order["reference"], "order_id": order["reference"], "keyfund": True},
        {"custom_fields": [{"variable_name": "reference", "value": order["reference"]}]},
    ]
    for metadata in wishes:
        for name in ({}, {"reference": f"kf-{uuid4().hex}"}, {"reference": order["reference"] + "."},
                     {"reference": order["reference"].upper()}):  # fmt: skip
            told = world.sandbox(
                "/sandbox/charges", amount=PRICE, currency="NGN", email=attacker.email, metadata=metadata,
                deliver=False,
                **(name if not name or (name["reference"].startswith("kf-") and metadata is wishes[0]) else {}),
            )  # fmt: skip
            assert outcome(world, told) == "not_ours"
    assert (world.credits(attacker), wallet_credits(world, attacker)) == (GRANT, GRANT)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (1, "NGN"),
        (PRICE - 1, "NGN"),
        (PRICE, "KES"),
        (PRICE, "GHS"),
        (PRICE, "XOF"),
        (PRICE + 1, "NGN"),
        (PRICE, "USD"),
    ],
)
def test_a_charge_that_gets_ahead_of_the_checkout_under_its_reference_buys_nothing_cheaper(
    world: World, amount: int, currency: str
) -> None:
    """The order is visible to its owner before Paystack hears of it: time enough to use its reference."""
    attacker = world.sign_up()
    order = service(world, "open_order", p_user_id=attacker.id, p_package_id="starter-ngn")
    seen = world.rest(attacker, "GET", "/transactions?select=reference").json()
    assert seen == [{"reference": order["reference"]}]
    told = world.sandbox(
        "/sandbox/charges", reference=order["reference"], amount=amount, currency=currency, deliver=False
    )
    assert outcome(world, told) == "needs_review"
    assert (world.credits(attacker), wallet_credits(world, attacker)) == (GRANT, GRANT)
    page = world.http.get(
        f"{world.env['WEBHOOK_BASE_URL']}/checkout/return", params={"reference": order["reference"]}
    )
    assert "We are looking into it" in page.text
    assert world.credits(attacker) == GRANT


def test_a_payload_that_lies_about_its_charge_is_not_believed(world: World) -> None:
    """Signed as Paystack would, with every field to the buyer's taste: only what verify says counts."""
    attacker, victim = world.sign_up(), world.sign_up()
    unpaid, theirs = world.order(attacker)["reference"], world.order(victim)["reference"]
    for lie in (
        {"status": "success", "amount": 10**12},
        {"gateway_response": "Approved", "paid_at": "2020-01-01T00:00:00Z"},
        {"domain": "test", "id": 1},
    ):
        for reference in (unpaid, theirs):
            raw = json.dumps(
                {
                    "event": "charge.success",
                    "data": {"reference": reference, "currency": "NGN", "amount": PRICE, **lie},
                }
            ).encode()
            assert world.deliver(raw).status_code == 200
            until_tried(world, raw)
    assert (world.credits(attacker), world.credits(victim)) == (GRANT, GRANT)
    world.db.execute("delete from keyfund.events where reference = any(%s)", [[unpaid, theirs]])


def test_one_payment_counts_once_in_every_spelling_after_refunds_and_for_nobody_else(world: World) -> None:
    buyer, attacker = world.sign_up(), world.sign_up()
    reference, mine = world.order(buyer)["reference"], world.order(attacker)["reference"]
    event = world.pay(reference)["event"]
    world.until_status(buyer, reference, "success")
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE)
    until(lambda: world.credits(buyer) == GRANT, what="the refund took the credits back")
    for number in range(40):
        assert world.deliver(dumps(event, number)).status_code == 200
    bent = {**event, "data": {**event["data"], "reference": mine}}  # the same payment for another order
    raw = dumps(bent, 1)
    assert world.deliver(raw).status_code == 200
    until_tried(world, raw)
    until(lambda: unhandled(world, reference) == 0, what="every replay is handled")
    assert (world.credits(buyer), world.credits(attacker)) == (GRANT, GRANT)
    assert len(world.purchases(buyer)) == 1
    world.db.execute("delete from keyfund.events where reference = %s", [mine])


def test_spending_and_then_refunding_leaves_nothing_to_spend(world: World) -> None:
    buyer = world.sign_up()
    key = world.synced_key(buyer)
    reference = world.order(buyer)["reference"]
    world.pay(reference)
    world.until_status(buyer, reference, "success")
    until(lambda: world.wallet(buyer)["max_budget"] == 20.0, what="the wallet is raised")
    while world.call(key, "mock-costly").status_code == 200:
        pass
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE)
    until(lambda: world.wallet(buyer)["max_budget"] == 10.0, what="the wallet is lowered")
    assert wallet_credits(world, buyer) == GRANT
    assert world.call(key).status_code == 422
    another = world.create_key(buyer)
    until(lambda: world.keys(buyer)[-1]["sync_status"] == "synced", what="the new key is synced")
    assert world.call(another).status_code == 422


def test_paying_for_somebody_else_gives_it_to_them(world: World) -> None:
    attacker, victim = world.sign_up(), world.sign_up()
    reference = world.order(victim)["reference"]
    world.pay(reference, customer={"email": attacker.email}, metadata={"user_id": attacker.id})
    world.until_status(victim, reference, "success")
    assert (world.credits(victim), world.credits(attacker)) == (2 * GRANT, GRANT)


def test_checkouts_and_returns_at_once_credit_each_order_once(world: World) -> None:
    buyer = world.sign_up()
    with ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(lambda _: world.order(buyer)["reference"], range(8)))
        paid = orders[:3]
        for reference in paid:
            world.pay(reference, deliver=False)
        page = f"{world.env['WEBHOOK_BASE_URL']}/checkout/return"
        answers = list(pool.map(lambda one: world.http.get(page, params={"reference": one}), orders * 5))
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: world.credits(buyer) == GRANT + 3 * 500, what="each paid order is credited")
    assert sorted(row["cause"] for row in world.purchases(buyer)) == sorted(f"purchase:{one}" for one in paid)
    assert unbalanced(world.db) == []
