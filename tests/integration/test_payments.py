"""A payment's life: credited once, whatever happens around it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.world import Json, World, dumps, until


def test_a_paid_order_is_credited_and_every_step_is_on_its_timeline(world: World) -> None:
    user = world.sign_up()
    order = world.order(user)
    world.pay(order["reference"])
    payment = world.until_status(user, order["reference"], "success")
    until(lambda: world.payment(user, order["reference"])["timeline"]["effective"], what="it is effective")
    payment = world.payment(user, order["reference"])
    steps = [
        payment["timeline"][step]
        for step in ("ordered", "webhook", "verified", "credited", "pushed", "effective")
    ]
    assert all(steps)
    assert steps == sorted(steps)
    assert payment["waiting_for"] is None
    assert world.credits(user) == 1000
    assert world.wallet(user)["max_budget"] == 20.0


def test_two_hundred_deliveries_the_callback_and_the_worker_credit_once(world: World) -> None:
    user = world.sign_up()
    world.synced_key(user)
    reference = world.order(user)["reference"]
    event = world.pay(reference, deliver=False)["event"]

    def deliver(number: int) -> int:
        if number % 20 == 7:  # the buyer's browser comes back, again and again
            page = world.http.get(
                f"{world.env['WEBHOOK_BASE_URL']}/checkout/return", params={"reference": reference}
            )
            assert page.status_code == 200
        raw = dumps(event, number)
        return world.deliver(raw).status_code

    # An event that another process took and never finished: the worker drains it beside the others.
    world.db.execute(
        "select keyfund.receive_event('paystack', 'left-behind', 'charge.success', %s, %s, 0)",
        [reference, json.dumps(event)],
    )
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(deliver, range(200)))
    assert answers == [200] * 200
    world.until_status(user, reference, "success")
    until(
        lambda: (
            world.db.execute(
                "select count(*) = 0 from keyfund.events where reference = %s and handled_at is null",
                [reference],
            ).fetchone()
            == (True,)
        ),
        what="every event is handled",
    )
    assert len({dumps(event, number) for number in range(200)}) > 100
    assert [row["delta"] for row in world.purchases(user)] == [500]
    assert world.credits(user) == 1000
    until(lambda: world.wallet(user)["max_budget"] == 20.0, what="the wallet is raised once")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ({"amount": 1_599_999}, "underpaid"),
        ({"amount": 1_600_000, "currency": "KES"}, "other_currency"),
        ({"requested_amount": 100}, "other_amount_requested"),
        ({"domain": "live"}, "other_domain"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_money_that_does_not_fit_waits_for_a_person(
    world: World, override: dict[str, object], reason: str
) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference, **override)
    world.until_status(user, reference, "needs_review")
    row = world.db.execute(
        "select review_reason from public.transactions where reference = %s", [reference]
    ).fetchone()
    assert row == (reason,)
    assert world.credits(user) == 500


def test_a_lost_webhook_is_found_by_asking(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference, deliver=False)
    world.db.execute(
        "update public.transactions set next_verify_at = now() where reference = %s", [reference]
    )
    payment = world.until_status(user, reference, "success")
    assert payment["timeline"]["webhook"] is None
    assert world.credits(user) == 1000


def test_the_callback_page_settles_like_the_webhook(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    page = f"{world.env['WEBHOOK_BASE_URL']}/checkout/return"
    assert "Not paid yet" in world.http.get(page, params={"reference": reference}).text
    world.pay(reference, deliver=False)
    for _ in range(2):
        assert "Your credits have arrived" in world.http.get(page, params={"reference": reference}).text
    assert world.credits(user) == 1000
    assert "Unknown payment" in world.http.get(page, params={"reference": "kf-stranger"}).text
    assert world.http.get(page, params={"reference": "<script>"}).status_code == 422


def test_verify_unreachable_leaves_the_event_due_and_credits_later(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.misbehave(
        {"route": "GET /transaction/verify/:reference", "status": 502, "body": "html", "count": 4}
    )
    paid = world.pay(reference, deliver=False)
    assert world.deliver(paid["raw"].encode()).status_code == 200
    until(lambda: (world.event(paid["raw"].encode()) or {}).get("attempts"), what="the first try failed")
    world.until_status(user, reference, "success")
    assert [row["delta"] for row in world.purchases(user)] == [500]


def test_failed_and_abandoned_are_not_the_end(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.sandbox(f"/sandbox/transactions/{reference}/fail")
    world.db.execute(
        "update public.transactions set next_verify_at = now() where reference = %s", [reference]
    )
    world.until_status(user, reference, "failed")
    world.pay(reference)
    world.until_status(user, reference, "success")
    assert world.credits(user) == 1000


def test_a_checkout_of_unknown_outcome_is_another_attempt_and_both_count_when_paid(world: World) -> None:
    user = world.sign_up()
    world.misbehave({"route": "POST /transaction/initialize", "when": "after", "cut": True})
    second = world.order(user)["reference"]
    rows = world.db.execute(
        "select reference, order_id from public.transactions where user_id = %s order by created_at",
        [user.id],
    ).fetchall()
    assert [row[0] for row in rows][-1] == second
    assert len({row[1] for row in rows}) == 1
    for reference, _ in rows:
        world.pay(reference)
        world.until_status(user, reference, "success")
    assert world.credits(user) == 1500


def test_a_webhook_that_overtakes_the_checkouts_answer_credits(world: World) -> None:
    user = world.sign_up()
    world.misbehave(deliver_before_answer=True)
    reference = world.order(user)["reference"]
    world.until_status(user, reference, "success")
    assert world.credits(user) == 1000


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 429, "retry_after": 1}, {"body": "html", "status": 200}, {"cut": True}],
    ids=["500", "429", "html", "cut"],
)
def test_paystack_away_is_a_clear_answer_to_the_buyer(world: World, fault: dict[str, object]) -> None:
    user = world.sign_up()
    world.misbehave({"route": "POST /transaction/initialize", "count": None, **fault})
    answer = world.api(user, "POST", "/api/credits/checkout", json={"package_id": "starter-ngn"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"].startswith("paystack_")


@pytest.mark.parametrize("body", [{}, {"package_id": 7}, {"package_id": ""}, [], {"package_id": None},
    {"package_id": "starter-ngn", "amount": 16.5}, {"package_id": "starter-ngn", "credits": "500"},
    {"package_id": "starter-ngn", "amount": 0}])  # fmt: skip
def test_a_malformed_purchase_is_a_422(world: World, body: object) -> None:
    answer = world.api(world.sign_up(), "POST", "/api/credits/checkout", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_request"


def test_what_is_not_on_sale_cannot_be_bought(world: World) -> None:
    answer = world.api(world.sign_up(), "POST", "/api/credits/checkout", json={"package_id": "nothing"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "package_not_found")


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({"amount": 1_600_000, "credits": 500}, 201),
        ({"amount": 1_600_000, "credits": 1}, 409),
        ({"amount": 1_599_999}, 409),
        ({"credits": 501}, 409),
    ],
)
def test_what_the_buyer_was_shown_is_what_they_order(world: World, shown: Json, status: int) -> None:
    user = world.sign_up()
    body = {"package_id": "starter-ngn", **shown}
    answer = world.api(user, "POST", "/api/credits/checkout", json=body)
    assert answer.status_code == status
    if status == 409:
        assert answer.json()["error"] == {
            "code": "price_changed",
            "message": "This package has changed: it is now 500 credits for NGN 16,000.00.",
        }
        assert world.api(user, "GET", "/api/credits/transactions").json()["transactions"] == []


def test_a_refused_payment_tells_its_buyer_what_becomes_of_the_money(world: World) -> None:
    user, admin = world.sign_up(), world.administrator()
    reference = world.order(user)["reference"]
    world.pay(reference, amount=100)
    world.until_status(user, reference, "needs_review")
    told = [world.payment(user, reference)["standing"]]
    decision = {"reference": reference, "accept": False, "reason": "too little"}
    assert world.rest(admin, "POST", "/rpc/decide_review", json=decision).status_code == 200
    told.append(world.payment(user, reference)["standing"])
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=60, status="pending")
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=40)
    until(lambda: world.payment(user, reference)["refunded_amount"] == 40, what="the refunds are known")
    told.append(world.payment(user, reference)["standing"])
    assert told == ["under_review", "declined", "refund_under_way"]
    assert world.payment(user, reference)["refunding_amount"] == 60
