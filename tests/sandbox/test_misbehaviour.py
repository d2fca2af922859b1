"""What goes wrong on demand, goes wrong as demanded and no longer."""

from typing import Any

import httpx
import pytest

from dev.paystack import ManualClock, Sandbox

from .merchant import SECRET_KEY, Merchant, Receiver


async def misbehave(merchant: Merchant, **body: Any) -> Any:
    return await merchant.post("/sandbox/misbehave", **body)


async def states(merchant: Merchant) -> list[str]:
    return [each["state"] for each in (await merchant.get("/sandbox/deliveries"))["deliveries"]]


async def test_every_event_comes_so_often(merchant: Merchant, receiver: Receiver) -> None:
    await misbehave(merchant, duplicate=3)

    await merchant.paid()

    assert receiver.names == ["charge.success"] * 3


async def test_a_dropped_event_never_comes(merchant: Merchant, receiver: Receiver) -> None:
    await misbehave(merchant, drop=1)

    lost, kept = await merchant.paid(), await merchant.paid()

    assert [event["data"]["reference"] for event in receiver.events] == [kept]
    assert (await merchant.data_of(lost))["status"] == "success"
    assert await states(merchant) == ["dropped", "delivered"]


async def test_true_means_until_reset(merchant: Merchant, receiver: Receiver) -> None:
    await misbehave(merchant, drop=True)
    await merchant.paid()
    await merchant.paid()
    assert receiver.requests == []

    await merchant.post("/sandbox/reset")
    await merchant.paid()

    assert len(receiver.requests) == 1


async def test_events_come_in_reverse(merchant: Merchant, receiver: Receiver, sandbox: Sandbox) -> None:
    reference = await merchant.paid()
    await misbehave(merchant, reorder=3)

    await merchant.post(f"/sandbox/transactions/{reference}/refund", amount=100)
    await sandbox.postman.until(lambda: len(receiver.requests) == 4)

    assert receiver.names[1:] == ["refund.processed", "refund.processing", "refund.pending"]


async def test_what_is_held_back_goes_out_on_reset(
    merchant: Merchant, receiver: Receiver, sandbox: Sandbox
) -> None:
    await misbehave(merchant, reorder=5)
    await merchant.paid()
    assert await states(merchant) == ["held"]

    await merchant.post("/sandbox/reset")
    await sandbox.postman.until(lambda: len(receiver.requests) == 1)

    assert await states(merchant) == ["delivered"]


async def test_an_event_comes_late(
    merchant: Merchant, receiver: Receiver, sandbox: Sandbox, clock: ManualClock
) -> None:
    await misbehave(merchant, delay_seconds=5)
    await merchant.post(f"/sandbox/transactions/{await merchant.open()}/pay")

    clock.advance(4)
    assert await states(merchant) == ["waiting"]
    clock.advance(1)
    await sandbox.postman.until(lambda: len(receiver.requests) == 1)


async def test_a_wrong_signature_is_that_of_another_key(merchant: Merchant, receiver: Receiver) -> None:
    await misbehave(merchant, wrong_signature=1)

    first, second = await merchant.pay(await merchant.open()), await merchant.pay(await merchant.open())

    sent = [request.headers["x-paystack-signature"] for request in receiver.requests]
    assert len(sent[0]) == 128
    assert sent[0] != first["signature"]
    assert sent[1] == second["signature"]


async def test_the_webhook_arrives_before_the_call_is_answered(
    merchant: Merchant, receiver: Receiver
) -> None:
    await misbehave(merchant, deliver_before_answer=True)
    seen: list[tuple[str, list[str]]] = []

    async def note(answer: httpx.Response) -> None:
        seen.append((answer.request.url.path, list(receiver.names)))

    merchant.http.event_hooks["response"].append(note)

    reference = await merchant.open()
    await merchant.post("/refund", transaction=reference)

    assert seen == [
        ("/transaction/initialize", ["charge.success"]),
        ("/refund", ["charge.success", "refund.pending"]),
    ]


@pytest.mark.parametrize(
    "body",
    [{"dorp": 1}, {"drop": "1"}, {"faults": [{"rout": "*"}]}, {"faults": {}}, {"reorder": True}],
    ids=str,
)
async def test_an_unknown_option_is_refused(body: dict[str, Any], merchant: Merchant) -> None:
    answer = await merchant.http.post("/sandbox/misbehave", json=body)

    assert answer.status_code == 400


async def test_what_is_demanded_is_told(merchant: Merchant) -> None:
    told = await misbehave(merchant, drop=2, faults=[{"route": "GET /refund", "status": 503}])

    assert await merchant.get("/sandbox/misbehave") == told
    assert (told["drop"], told["faults"][0]["status"]) == (2, 503)


async def test_the_next_calls_to_a_route_fail_and_others_do_not(merchant: Merchant) -> None:
    reference = await merchant.open()
    verify = f"/transaction/verify/{reference}"
    fault = {"route": "GET /transaction/verify/:reference", "status": 503, "count": 2}
    await misbehave(merchant, faults=[fault])

    listed = (await merchant.http.get("/transaction")).status_code
    verified = [(await merchant.http.get(verify)).status_code for _ in range(3)]

    assert (listed, verified) == (200, [503, 503, 200])


@pytest.mark.parametrize("retry_after", [None, 7, "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_too_many_requests_with_and_without_retry_after(
    retry_after: int | str | None, merchant: Merchant
) -> None:
    await misbehave(merchant, faults=[{"status": 429, "retry_after": retry_after}])

    answer = await merchant.http.get("/transaction")

    assert (answer.status_code, answer.json()["status"]) == (429, False)
    assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))


@pytest.mark.parametrize(("body", "kind"), [("html", "text/html; charset=utf-8"), ("empty", None)])
async def test_a_body_that_is_no_json(body: str, kind: str | None, merchant: Merchant) -> None:
    await misbehave(merchant, faults=[{"status": 200, "body": body}])

    answer = await merchant.http.get("/transaction")

    assert answer.headers.get("content-type") == kind
    with pytest.raises(ValueError):
        answer.json()


async def test_a_call_takes_effect_though_its_answer_is_lost(merchant: Merchant) -> None:
    await misbehave(merchant, faults=[{"route": "POST /transaction/initialize", "when": "after"}])
    order = {"email": "wanjiru@buyer.example", "amount": 100, "reference": "cr-lost"}

    first = await merchant.http.post("/transaction/initialize", json=order)
    second = await merchant.http.post("/transaction/initialize", json=order)

    assert (first.status_code, second.json()["code"]) == (500, "duplicate_reference")
    assert (await merchant.data_of("cr-lost"))["status"] == "abandoned"


async def test_a_fault_comes_before_the_key_is_looked_at(merchant: Merchant) -> None:
    await misbehave(merchant, faults=[{"status": 500}])
    headers = {"Authorization": "Bearer none"}

    statuses = [(await merchant.http.get("/transaction", headers=headers)).status_code for _ in range(2)]

    assert statuses == [500, 401]


async def test_the_controls_and_the_checkout_never_fail_on_demand(merchant: Merchant) -> None:
    opened = await merchant.post("/transaction/initialize", email="a@buyer.example", amount=100)
    await misbehave(merchant, faults=[{"status": 500, "count": None}])

    page = await merchant.http.get(opened["data"]["authorization_url"])

    assert page.status_code == 200
    assert (await merchant.get("/sandbox"))["transactions"] == 1
    assert SECRET_KEY not in page.text
