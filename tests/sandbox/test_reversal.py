"""Refunds and disputes: what is announced, what is found, and when a payment counts as reversed."""

from functools import partial
from typing import Any

import pytest

from dev.paystack import ManualClock, Sandbox

from .merchant import Merchant, Receiver


async def refund(merchant: Merchant, reference: str, **body: Any) -> Any:
    return (await merchant.post(f"/sandbox/transactions/{reference}/refund", wait=True, **body))["event"]


async def status_of(merchant: Merchant, reference: str) -> str:
    return str((await merchant.data_of(reference))["status"])


async def test_a_refund_is_announced_three_times_in_order(merchant: Merchant, receiver: Receiver) -> None:
    reference = await merchant.paid()

    last = await refund(merchant, reference, amount=200_000)

    assert receiver.names[1:] == ["refund.pending", "refund.processing", "refund.processed"]
    assert receiver.events[-1] == last
    assert [each["data"]["amount"] for each in receiver.events[1:]] == ["200000"] * 3
    references = [each["data"]["refund_reference"] for each in receiver.events[1:]]
    assert references[:2] == [None, None]
    assert references[2].isdecimal()


async def test_two_equal_partial_refunds_differ_by_their_reference_alone(merchant: Merchant) -> None:
    reference = await merchant.paid()

    first = (await refund(merchant, reference, amount=100_000))["data"]
    second = (await refund(merchant, reference, amount=100_000))["data"]

    assert first.pop("refund_reference") != second.pop("refund_reference")
    assert first == second


async def test_a_payment_is_reversed_once_all_of_it_went_back(merchant: Merchant) -> None:
    reference = await merchant.paid()

    await refund(merchant, reference, amount=200_000)
    assert await status_of(merchant, reference) == "success"
    await refund(merchant, reference)

    assert await status_of(merchant, reference) == "reversed"


async def test_the_event_of_a_reversed_payment_still_says_success(merchant: Merchant) -> None:
    reference = await merchant.open()
    before = await merchant.pay(reference)
    await refund(merchant, reference)

    assert await merchant.pay(reference) == before
    assert await status_of(merchant, reference) == "reversed"


async def test_no_more_goes_back_than_was_paid(merchant: Merchant) -> None:
    reference = await merchant.paid()
    await refund(merchant, reference, amount=300_000)

    answer = await merchant.http.post("/refund", json={"transaction": reference, "amount": 200_001})

    assert answer.status_code == 400


async def test_a_failed_refund_gives_its_amount_free_again(merchant: Merchant) -> None:
    reference = await merchant.paid()

    failed = await refund(merchant, reference, status="failed")
    assert failed["data"]["amount"] == 500_000
    assert await status_of(merchant, reference) == "success"
    await refund(merchant, reference)

    assert await status_of(merchant, reference) == "reversed"


async def test_an_unpaid_transaction_cannot_be_refunded_or_disputed(merchant: Merchant) -> None:
    reference = await merchant.open()

    for control in ("refund", "dispute"):
        answer = await merchant.http.post(f"/sandbox/transactions/{reference}/{control}")
        assert answer.status_code == 400


@pytest.mark.parametrize("by", ["reference", "id", "text of the id"])
async def test_a_refund_over_the_api_is_processed_only_later(
    by: str, merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    reference = await merchant.paid()
    payment = (await merchant.data_of(reference))["id"]
    name = {"reference": reference, "id": payment, "text of the id": str(payment)}[by]

    queued = (await merchant.post("/refund", transaction=name, amount=500_000))["data"]
    assert queued["status"] == "pending"
    for announced in ("refund.processing", "refund.processed"):
        assert await status_of(merchant, reference) == "success"
        clock.advance(1800)
        await sandbox.postman.until(partial(receiver.has, announced))

    assert receiver.names[1:] == ["refund.pending", "refund.processing", "refund.processed"]
    row = (await merchant.get("/refund", transaction=payment))["data"][0]
    assert (row["id"], row["status"], row["fully_deducted"]) == (queued["id"], "processed", 1)
    assert await status_of(merchant, reference) == "reversed"


async def test_a_queued_refund_can_be_moved_by_hand(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    refund_id = (await merchant.post("/refund", transaction=await merchant.paid()))["data"]["id"]

    await merchant.post(f"/sandbox/refunds/{refund_id}", status="failed", wait=True)
    clock.advance(7200)

    again = await merchant.http.post(f"/sandbox/refunds/{refund_id}", json={"status": "processed"})
    assert (await merchant.get(f"/refund/{refund_id}"))["data"]["status"] == "failed"
    assert receiver.names[-1] == "refund.failed"
    assert again.status_code == 400


async def test_refunds_are_found_by_the_id_of_the_payment_alone(merchant: Merchant) -> None:
    first, second = await merchant.paid(), await merchant.paid()
    await refund(merchant, first)
    payments = [(await merchant.data_of(each))["id"] for each in (first, second)]

    found = [len((await merchant.get("/refund", transaction=payment))["data"]) for payment in payments]
    by_reference = await merchant.http.get("/refund", params={"transaction": f"{first}x"})

    assert found == [1, 0]
    assert by_reference.status_code == 400


async def dispute(merchant: Merchant, reference: str, **body: Any) -> Any:
    answer = await merchant.post(f"/sandbox/transactions/{reference}/dispute", wait=True, **body)
    return answer["event"]["data"]


async def resolve(merchant: Merchant, dispute_id: int, **body: Any) -> Any:
    return (await merchant.post(f"/sandbox/disputes/{dispute_id}/resolve", wait=True, **body))["event"]


@pytest.mark.parametrize(
    ("body", "amount", "status"),
    [
        ({"resolution": "declined"}, 0, "success"),
        ({"resolution": "merchant-accepted"}, 500_000, "reversed"),
        ({"resolution": "auto-accepted", "refund_amount": None}, None, "reversed"),
        ({"resolution": "merchant-accepted", "refund_amount": 100_000}, 100_000, "success"),
    ],
)
async def test_a_lost_dispute_reverses_the_payment_if_all_of_it_is_lost(
    body: dict[str, Any], amount: int | None, status: str, merchant: Merchant, receiver: Receiver
) -> None:
    reference = await merchant.paid()
    opened = await dispute(merchant, reference)

    event = await resolve(merchant, opened["id"], **body)

    assert receiver.names[1:] == ["charge.dispute.create", "charge.dispute.resolve"]
    assert event["data"]["refund_amount"] == amount
    assert (event["data"]["status"], event["data"]["resolution"]) == ("resolved", body["resolution"])
    assert await status_of(merchant, reference) == status
    assert (await merchant.get(f"/dispute/{opened['id']}"))["data"]["resolution"] == body["resolution"]


async def test_a_resolution_is_final(merchant: Merchant) -> None:
    opened = await dispute(merchant, await merchant.paid())
    first = await resolve(merchant, opened["id"], resolution="declined")

    again = await resolve(merchant, opened["id"], resolution="declined")
    other = await merchant.http.post(
        f"/sandbox/disputes/{opened['id']}/resolve", json={"resolution": "auto-accepted"}
    )

    assert again == first
    assert other.status_code == 400
    assert (await merchant.http.post(f"/sandbox/disputes/{opened['id']}/remind")).status_code == 400


async def test_a_reminder_repeats_the_id_of_the_dispute(merchant: Merchant, receiver: Receiver) -> None:
    opened = await dispute(merchant, await merchant.paid(), refund_amount=100_000, category="fraud")

    reminded = await merchant.post(f"/sandbox/disputes/{opened['id']}/remind", wait=True)

    assert reminded["event"]["data"] == opened
    assert receiver.names[-1] == "charge.dispute.remind"


async def test_disputes_are_found_by_payment_and_status(merchant: Merchant) -> None:
    reference = await merchant.paid()
    payment = (await merchant.data_of(reference))["id"]
    opened = await dispute(merchant, reference)

    async def found(**query: Any) -> list[int]:
        return [row["id"] for row in (await merchant.get("/dispute", **query))["data"]]

    assert await found(transaction=payment) == [opened["id"]]
    assert await found(transaction=payment + 1) == []
    assert await found(status="resolved") == []
    assert await found(status="awaiting-merchant-feedback") == [opened["id"]]
    assert await found(**{"from": "2100-01-01"}) == []


async def test_the_refund_behind_an_accepted_dispute_names_it(merchant: Merchant) -> None:
    reference = await merchant.paid()
    opened = await dispute(merchant, reference)
    await resolve(merchant, opened["id"], resolution="merchant-accepted")

    await refund(merchant, reference, dispute=opened["id"])

    assert (await merchant.get("/refund"))["data"][0]["dispute"] == opened["id"]
