"""What administrators find, decide, repeat and refund; and the receipts that buyers get."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.world import Json, World, until
from tests.support import User

PRICE = 1_600_000
FUNCTIONS: dict[str, Json] = {
    "find_payments": {},
    "read_payment": {"reference": "kf-x"},
    "list_events": {},
    "replay_events": {"only_failing": True},
    "read_concerns": {},
    "list_paid_after_deletion": {},
    "read_reconciliation": {},
    "read_drift_report": {},
    "resync_account": {"account_id": "00000000-0000-0000-0000-000000000000"},
    "read_key": {"key_id": "00000000-0000-0000-0000-000000000000"},
    "resync_any_key": {"key_id": "00000000-0000-0000-0000-000000000000"},
    "list_failing_keys": {},
    "resync_failed": {},
    "read_resync": {},
    "save_package": {"id": "x", "name": "X", "credits": 1, "amount": 1, "currency": "NGN"},
    "list_packages": {},
    "set_rate": {"currency": "NGN", "subunits_per_dollar": 1, "reason": "x"},
    "list_rates": {},
}


def rpc(world: World, who: User, function: str, **arguments: Any) -> Any:
    answer = world.rest(who, "POST", f"/rpc/{function}", json=arguments)
    assert answer.is_success, answer.text
    return answer.json()


def bought(world: World, **overrides: Any) -> tuple[User, str]:
    """Somebody whose order is paid, with whatever the buyer changed about it; no webhook was sent."""
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference, deliver=False, **overrides)
    return user, reference


def retry(world: World, admin: User, reference: str, **body: Any) -> Json:
    answer = world.api(admin, "POST", f"/api/admin/payments/{reference}/retry", json=body)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_nobody_else_may(world: World, function: str) -> None:
    answer = world.rest(world.sign_up(), "POST", f"/rpc/{function}", json=FUNCTIONS[function])
    assert (answer.status_code, answer.json()["details"]) == (403, "not_an_administrator")


@pytest.mark.parametrize(("action", "body"), [("retry", {}), ("refund", {"reason": "x"})])
def test_nobody_else_may_over_http(world: World, action: str, body: Json) -> None:
    user, reference = bought(world)
    answer = world.api(user, "POST", f"/api/admin/payments/{reference}/{action}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_administrator")
    assert world.credits(user) == 500


def test_a_right_that_is_taken_away_is_gone_at_once(world: World, admin: User) -> None:
    assert rpc(world, admin, "is_administrator") is True
    world.db.execute("delete from keyfund.administrators where user_id = %s", [admin.id])
    assert world.rest(admin, "POST", "/rpc/find_payments", json={}).status_code == 403


def test_a_payment_is_found_by_reference_email_account_and_paystack_s_id(world: World, admin: User) -> None:
    user, reference = bought(world)
    other = world.order(user)["reference"]
    paid = retry(world, admin, reference)
    assert (paid["status"], paid["email"]) == ("success", user.email)
    for search in (reference, f" {reference} ", str(paid["provider_id"])):
        assert [one["reference"] for one in rpc(world, admin, "find_payments", search=search)] == [reference]
    for search in (user.email, user.email.upper(), user.id):
        found = rpc(world, admin, "find_payments", search=search)
        assert [one["reference"] for one in found] == [other, reference]
    page = rpc(world, admin, "find_payments", search=user.id, page_size=1, before_reference=other)
    assert [one["reference"] for one in page] == [reference]
    assert rpc(world, admin, "find_payments", search=user.id, status="pending")[0]["reference"] == other
    assert rpc(world, admin, "find_payments", search="nobody@example.com") == []


def test_any_step_is_repeated_by_hand(world: World, admin: User) -> None:
    """No webhook came, the refund was not told either; nobody waits for the sweep."""
    user, reference = bought(world)
    assert retry(world, admin, reference, step="verified")["timeline"]["credited"]
    assert retry(world, admin, reference, step="pushed")["status"] == "success"
    until(lambda: world.payment(user, reference)["timeline"]["effective"], what="it is effective")
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE, deliver=False)
    detail = retry(world, admin, reference, step="withheld")
    assert (detail["status"], detail["withheld_credits"], world.credits(user)) == ("reversed", 500, 500)
    assert [entry["delta"] for entry in detail["ledger"]] == [500, -500]
    assert world.api(admin, "POST", "/api/admin/payments/kf-x/retry", json={}).status_code == 404
    wrong = world.api(admin, "POST", f"/api/admin/payments/{reference}/retry", json={"step": "all"})
    assert wrong.status_code == 422


def test_money_that_did_not_fit_is_refunded_and_asks_for_nothing_more(world: World, admin: User) -> None:
    user, reference = bought(world, amount=PRICE // 2, requested_amount=PRICE)
    assert retry(world, admin, reference)["status"] == "needs_review"
    assert rpc(world, admin, "read_concerns")["needs_review"] >= 1
    for _ in range(2):  # as somebody does who is not sure that it worked
        answer = world.api(
            admin, "POST", f"/api/admin/payments/{reference}/refund", json={"reason": "paid half"}
        )
        assert answer.status_code == 200, answer.text
    world.until_status(user, reference, "reversed")
    assert retry(world, admin, reference)["status"] == "reversed"
    assert world.credits(user) == 500
    told = world.http.get(
        f"{world.env['PAYSTACK_BASE_URL']}/refund",
        headers={"Authorization": f"Bearer {world.env['PAYSTACK_SECRET_KEY']}"},
        params={"transaction": answer.json()["provider_id"]},
    ).json()["data"]
    assert [one["amount"] for one in told] == [PRICE // 2]


def test_a_payment_of_which_paystack_names_no_amount_is_refunded_whole(world: World, admin: User) -> None:
    user, reference = bought(world, omit=["amount"])
    told = retry(world, admin, reference)
    assert (told["status"], told["review_reason"], told["paid_amount"]) == (
        "needs_review",
        "incomplete",
        None,
    )
    answer = world.api(admin, "POST", f"/api/admin/payments/{reference}/refund", json={"reason": "unclear"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["standing"] == "refund_under_way"
    world.until_status(user, reference, "reversed")
    assert (world.payment(user, reference)["standing"], world.credits(user)) == ("refunded", 500)


def test_money_that_goes_back_through_a_dispute_is_not_refunded_as_well(world: World, admin: User) -> None:
    user, reference = bought(world)
    retry(world, admin, reference)
    opened = world.sandbox(f"/sandbox/transactions/{reference}/dispute", deliver=False)
    refund = f"/api/admin/payments/{reference}/refund"
    answer = world.api(admin, "POST", refund, json={"reason": "asked for it"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "payment_disputed")
    resolve = f"/sandbox/disputes/{opened['event']['data']['id']}/resolve"
    world.sandbox(resolve, resolution="merchant-accepted", refund_amount=PRICE, deliver=False)
    answer = world.api(admin, "POST", refund, json={"reason": "asked again"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "payment_disputed")
    assert world.credits(user) == 500


def test_a_payment_that_was_refused_and_not_returned_is_shown_until_it_is(world: World, admin: User) -> None:
    _, reference = bought(world, amount=PRICE // 2, requested_amount=PRICE)
    retry(world, admin, reference)
    before = rpc(world, admin, "read_concerns")["refused_not_returned"]
    rpc(world, admin, "decide_review", reference=reference, accept=False, reason="paid half")
    assert rpc(world, admin, "read_concerns")["refused_not_returned"] == before + 1
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE // 4, deliver=False)
    answer = world.api(admin, "POST", f"/api/admin/payments/{reference}/refund", json={"reason": "the rest"})
    assert answer.status_code == 200
    until(lambda: rpc(world, admin, "read_concerns")["refused_not_returned"] == before, what="it is returned")
    assert rpc(world, admin, "read_payment", reference=reference)["status"] == "reversed"


def test_a_refused_payment_is_not_asked_about_again(world: World, admin: User) -> None:
    user, reference = bought(world, currency="USD")
    assert retry(world, admin, reference)["status"] == "needs_review"
    rpc(world, admin, "decide_review", reference=reference, accept=False, reason="another currency")
    raw = world.pay(reference, deliver=False)["raw"].encode()  # Paystack's own webhook comes late
    world.deliver(raw)
    until(lambda: (world.event(raw) or {}).get("outcome") == "refused", what="the event is handled")
    assert retry(world, admin, reference)["status"] == "failed"
    assert world.credits(user) == 500
    page = world.http.get(f"{world.env['WEBHOOK_BASE_URL']}/checkout/return", params={"reference": reference})
    assert "was not accepted" in page.text
    (told,) = world.api(user, "GET", "/api/credits/transactions").json()["transactions"]
    assert (told["refused"], told["waiting_for"], told["authorization_url"]) == (True, None, None)


def test_a_payment_that_was_returned_in_part_before_it_was_accepted_grants_the_rest(
    world: World, admin: User
) -> None:
    user, reference = bought(world, amount=PRICE // 2, requested_amount=PRICE)
    retry(world, admin, reference)
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE // 4, deliver=False)
    retry(world, admin, reference, step="withheld")
    rpc(world, admin, "decide_review", reference=reference, accept=True, reason="a friend")
    assert world.credits(user) == 500 + 250


# --- the inbox ----------------------------------------------------------------------------------------------


def test_a_charge_of_nobody_s_order_is_kept_and_shown(world: World, admin: User) -> None:
    before = rpc(world, admin, "read_concerns")["unknown_payments"]
    told = world.sandbox("/sandbox/charges", amount=PRICE, currency="NGN", deliver=True)
    reference = told["event"]["data"]["reference"]

    def shown() -> list[Json]:
        listed: list[Json] = rpc(world, admin, "list_events", only_kind="unknown", reference=reference)
        return listed

    (event,) = until(shown, what="it is shown")
    assert (event["event"], event["outcome"]) == ("charge.success", "not_ours")
    assert not {"body", "lease_token", "fingerprint"} & event.keys()
    assert (event["facts"]["amount"], event["facts"]["currency"]) == (PRICE, "NGN")
    assert "customer" not in str(event)
    assert rpc(world, admin, "read_concerns")["unknown_payments"] == before + 1
    assert world.rest(admin, "POST", "/rpc/list_events", json={"only_kind": "odd"}).status_code == 400


def test_one_event_a_time_range_and_all_that_fail_are_replayed(world: World, admin: User) -> None:
    user, reference = bought(world)
    raw = world.pay(reference, deliver=False)["raw"].encode()
    world.misbehave({"route": "GET /transaction/verify/:reference", "status": 500, "count": None})
    assert world.deliver(raw).status_code == 200
    until(lambda: (world.event(raw) or {}).get("attempts"), what="it failed")
    (event,) = rpc(world, admin, "list_events", only_kind="failing", reference=reference)
    assert event["last_error"].startswith("paystack_failed")
    world.db.execute(
        "update keyfund.events set next_attempt_at = now() + interval '1 day' where id = %s",
        [event["id"]],
    )
    world.behave()
    assert rpc(world, admin, "replay_events", only_failing=True) >= 1
    world.until_status(user, reference, "success")

    def handled_at() -> str:
        return str(rpc(world, admin, "read_payment", reference=reference)["events"][0]["handled_at"])

    until(lambda: handled_at() != "None", what="the event is handled")
    received = datetime.fromisoformat(event["received_at"]).astimezone(UTC)
    for chosen in (
        {"event_ids": [event["id"]]},
        {
            "received_from": received.isoformat(),
            "received_until": (received + timedelta(microseconds=1)).isoformat(),
        },
    ):
        first = handled_at()
        assert rpc(world, admin, "replay_events", **chosen) == 1
        until(lambda first=first: handled_at() not in (first, "None"), what="it is handled again")  # type: ignore[misc]
    assert world.credits(user) == 1000
    assert world.rest(admin, "POST", "/rpc/replay_events", json={}).status_code == 400


# --- packages, deletion -------------------------------------------------------------------------------------


def test_packages_are_added_changed_and_retired_and_orders_stay_as_they_were(
    world: World, admin: User
) -> None:
    package = {"id": "kes-test", "name": "Kenya", "credits": 200, "amount": 65_000, "currency": "KES"}
    rpc(world, admin, "save_package", **package)
    user = world.sign_up()
    order = world.order(user, "kes-test")
    assert (order["amount"], order["currency"], order["credits"]) == (65_000, "KES", 200)
    rpc(world, admin, "save_package", **{**package, "credits": 1, "amount": 99_000})
    rpc(world, admin, "save_package", **package, active=False)
    on_sale = world.api(user, "GET", "/api/credits/packages").json()["packages"]
    assert "kes-test" not in [one["id"] for one in on_sale]
    refused = world.api(user, "POST", "/api/credits/checkout", json={"package_id": "kes-test"})
    assert refused.status_code == 404
    world.pay(order["reference"])
    world.until_status(user, order["reference"], "success")
    assert world.credits(user) == 700
    for wrong in ({"credits": 0}, {"currency": "kes"}, {"id": "A b"}, {"amount": -1}, {"name": None}):
        answer = world.rest(admin, "POST", "/rpc/save_package", json={**package, **wrong})
        assert (answer.status_code, answer.json()["details"]) == (400, "invalid_package")


def test_money_that_comes_after_a_deletion_is_credited_to_nobody_s_use_and_shown(
    world: World, admin: User
) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.db.execute("delete from auth.users where id = %s", [user.id])
    world.pay(reference)

    def shown() -> list[Json]:
        listed: list[Json] = rpc(world, admin, "list_paid_after_deletion")
        return [one for one in listed if one["reference"] == reference]

    (payment,) = until(shown, what="it is shown")
    assert (payment["account_status"], payment["email"]) == ("deleted", None)
    assert rpc(world, admin, "read_concerns")["paid_after_deletion"] >= 1
    budget = "select keyfund.budget_micros(a) from keyfund.wallets a where account_id = %s"
    assert world.db.execute(budget, [user.id]).fetchone() == (0,)


# --- receipts -----------------------------------------------------------------------------------------------


def test_a_receipt_is_the_buyer_s_alone_and_tells_what_was_given_back(world: World, admin: User) -> None:
    user, reference = bought(world)
    page = f"/api/credits/transactions/{reference}/receipt"
    assert world.api(user, "GET", page).json()["error"]["code"] == "payment_not_credited"
    retry(world, admin, reference)
    receipt = world.api(user, "GET", page)
    assert receipt.status_code == 200
    assert receipt.headers["content-type"] == "text/html; charset=utf-8"
    assert receipt.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in receipt.headers["content-security-policy"]
    for text in (reference, user.email, "NGN 16,000.00", ">500<"):
        assert text in receipt.text
    assert "Given back" not in receipt.text
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=PRICE // 4, deliver=False)
    retry(world, admin, reference, step="withheld")
    later = world.api(user, "GET", page).text
    assert "\N{MINUS SIGN}NGN 4,000.00" in later
    assert "NGN 12,000.00" in later
    for stranger in (world.sign_up(), admin):
        assert world.api(stranger, "GET", page).status_code == 404
