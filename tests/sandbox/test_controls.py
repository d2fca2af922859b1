"""The controls make happen what they say, to the webhooks and to the API alike."""

from typing import Any

import pytest

from .merchant import Merchant, Receiver


@pytest.mark.parametrize("status", ["abandoned", "failed", "ongoing", "pending", "processing", "queued"])
async def test_any_unpaid_transaction_can_be_paid(status: str, merchant: Merchant) -> None:
    reference = await merchant.open()
    await merchant.post(f"/sandbox/transactions/{reference}/status", status=status)
    assert (await merchant.data_of(reference))["status"] == status

    await merchant.pay(reference)

    assert (await merchant.data_of(reference))["status"] == "success"


@pytest.mark.parametrize(("control", "status"), [("fail", "failed"), ("abandon", "abandoned")])
async def test_a_payment_that_comes_to_nothing_sends_no_webhook(
    control: str, status: str, merchant: Merchant, receiver: Receiver
) -> None:
    reference = await merchant.open()

    await merchant.post(f"/sandbox/transactions/{reference}/{control}")

    assert (await merchant.data_of(reference))["status"] == status
    assert receiver.requests == []


async def test_a_paid_transaction_cannot_fail_any_more(merchant: Merchant) -> None:
    reference = await merchant.paid()

    answer = await merchant.http.post(f"/sandbox/transactions/{reference}/fail")

    assert answer.status_code == 400
    assert (await merchant.data_of(reference))["status"] == "success"


async def test_a_second_pay_sends_the_same_bytes(merchant: Merchant, receiver: Receiver) -> None:
    reference = await merchant.open()

    first, second = await merchant.pay(reference), await merchant.pay(reference)

    assert first == second
    assert receiver.requests[0].content == receiver.requests[1].content


async def test_without_delivery_the_event_is_answered_and_not_sent(
    merchant: Merchant, receiver: Receiver
) -> None:
    reference = await merchant.open()

    answer = await merchant.pay(reference, deliver=False)

    assert answer["event"]["data"]["reference"] == reference
    assert (await merchant.data_of(reference))["status"] == "success"
    assert receiver.requests == []


async def test_times_sends_the_event_so_often(merchant: Merchant, receiver: Receiver) -> None:
    await merchant.pay(await merchant.open(), times=4)

    assert len(receiver.requests) == 4
    assert len({request.content for request in receiver.requests}) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": 400_000},
        {"amount": 520_000, "requested_amount": 500_000},
        {"amount": "500000"},
        {"currency": "KES"},
        {"domain": "live"},
        {"status": "failed"},
        {"requested_amount": None},
        {"fees": None},
        {"metadata": {"credits": 10**6}},
        {"id": 5_999_999_999},
        {"customer": {"email": None}},
        {"paid_at": "2020-01-01T00:00:00.000Z"},
    ],
    ids=str,
)
async def test_an_overridden_field_is_in_the_event_and_in_verify(
    fields: dict[str, Any], merchant: Merchant
) -> None:
    reference = await merchant.open()

    event = (await merchant.pay(reference, **fields))["event"]

    verified = await merchant.data_of(reference)
    for name, value in fields.items():
        assert event["data"][name] == value
        if name != "paid_at" or verified["status"] == "success":
            assert verified[name] == value


async def test_an_omitted_field_is_in_neither(merchant: Merchant) -> None:
    reference = await merchant.open()

    event = (await merchant.pay(reference, omit=["requested_amount"]))["event"]

    assert "requested_amount" not in event["data"]
    assert "requested_amount" not in await merchant.data_of(reference)


async def test_a_field_that_paystack_does_not_have_yet_is_in_the_event(merchant: Merchant) -> None:
    event = (await merchant.pay(await merchant.open(), loyalty={"points": 3}))["event"]

    assert event["data"]["loyalty"] == {"points": 3}


async def test_a_charge_with_the_public_key_is_genuine_though_never_issued(
    merchant: Merchant, receiver: Receiver
) -> None:
    answer = await merchant.post(
        "/sandbox/charges", amount=100, currency="NGN", metadata={"credits": 10**6}, wait=True
    )

    data = receiver.events[0]["data"]
    assert answer["event"]["data"] == data
    assert data["source"]["entry_point"] == "request_inline"
    assert (await merchant.data_of(data["reference"]))["status"] == "success"


async def test_a_charge_may_choose_its_reference_but_not_one_in_use(merchant: Merchant) -> None:
    taken = await merchant.open()

    answer = await merchant.post("/sandbox/charges", reference="mine-1", amount=100, deliver=False)
    refused = await merchant.http.post("/sandbox/charges", json={"reference": taken, "amount": 100})

    assert answer["event"]["data"]["reference"] == "mine-1"
    assert refused.json()["code"] == "duplicate_reference"


@pytest.mark.parametrize("control", ["pay", "fail", "refund", "dispute"])
async def test_an_unknown_reference_is_not_found(control: str, merchant: Merchant) -> None:
    answer = await merchant.http.post(f"/sandbox/transactions/never-issued/{control}")

    assert answer.status_code == 404
    assert answer.json()["code"] == "transaction_not_found"


@pytest.mark.parametrize(
    "body", [{"times": 0}, {"times": "2"}, {"deliver": "no"}, {"wait": 1}, {"omit": "a"}]
)
async def test_a_sending_option_of_the_wrong_kind_is_refused(
    body: dict[str, Any], merchant: Merchant
) -> None:
    reference = await merchant.open()

    answer = await merchant.http.post(f"/sandbox/transactions/{reference}/pay", json=body)

    assert answer.status_code == 400
    assert (await merchant.data_of(reference))["status"] == "abandoned"


async def test_the_controls_need_no_key(merchant: Merchant) -> None:
    reference = await merchant.open()

    answer = await merchant.http.post(
        f"/sandbox/transactions/{reference}/pay", headers={"Authorization": ""}, content=b""
    )

    assert answer.status_code == 200


async def test_a_reset_of_the_state_forgets_everything_but_repeats_no_id(merchant: Merchant) -> None:
    before = (await merchant.data_of(await merchant.paid()))["id"]

    await merchant.post("/sandbox/reset", state=True)

    assert (await merchant.get("/transaction"))["data"] == []
    assert (await merchant.get("/sandbox"))["deliveries"] == 0
    assert (await merchant.data_of(await merchant.open()))["id"] > before
