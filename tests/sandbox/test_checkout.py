"""The hosted page: a buyer pays, declines or walks away, without scripts."""

from typing import Any

import httpx
import pytest

from dev.paystack import Sandbox

from .merchant import Merchant, Receiver


async def page_of(merchant: Merchant, **more: Any) -> tuple[str, str]:
    """A fresh payment and the address of its page."""
    body = {"email": "wanjiru@buyer.example", "amount": 500_050, "currency": "GHS", **more}
    data = (await merchant.post("/transaction/initialize", **body))["data"]
    return data["reference"], data["authorization_url"]


async def choose(merchant: Merchant, page: str, choice: str) -> httpx.Response:
    return await merchant.http.post(page, data={"choice": choice}, headers={"Authorization": ""})


async def test_the_page_says_what_is_paid_and_to_whom(merchant: Merchant) -> None:
    reference, page = await page_of(merchant)

    answer = await merchant.http.get(page, headers={"Authorization": ""})

    assert answer.status_code == 200
    for text in ("GHS 5,000.50", "Keyfund", reference, "wanjiru@buyer.example", '<html lang="en">'):
        assert text in answer.text
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    ("choice", "status", "events"),
    [("pay", "success", ["charge.success"]), ("decline", "failed", []), ("abandon", "abandoned", [])],
)
async def test_a_choice_leads_back_with_the_reference_twice(
    choice: str,
    status: str,
    events: list[str],
    merchant: Merchant,
    receiver: Receiver,
    sandbox: Sandbox,
) -> None:
    reference, page = await page_of(merchant, callback_url="https://app.example/back?plan=a%20b")

    answer = await choose(merchant, page, choice)

    back = httpx.URL(answer.headers["location"])
    assert answer.status_code == 303
    assert (back.host, back.path) == ("app.example", "/back")
    assert dict(back.params) == {"plan": "a b", "trxref": reference, "reference": reference}
    assert (await merchant.data_of(reference))["status"] == status
    await sandbox.postman.until(lambda: receiver.names == events)


async def test_who_abandons_goes_where_the_merchant_wants(merchant: Merchant) -> None:
    for metadata in (
        {"cancel_action": "https://app.example/no"},
        '{"cancel_action":"https://app.example/no"}',
    ):
        _, page = await page_of(merchant, callback_url="https://app.example/back", metadata=metadata)

        answer = await choose(merchant, page, "abandon")

        assert answer.headers["location"] == "https://app.example/no"


async def test_without_a_callback_the_page_itself_says_that_it_is_paid(merchant: Merchant) -> None:
    _, page = await page_of(merchant)

    answer = await choose(merchant, page, "pay")

    assert answer.status_code == 200
    assert "This payment has been made" in answer.text
    assert "<button" not in answer.text


async def test_a_declined_payment_can_be_tried_again(merchant: Merchant) -> None:
    reference, page = await page_of(merchant)
    await choose(merchant, page, "decline")

    await choose(merchant, page, "pay")

    assert (await merchant.data_of(reference))["status"] == "success"


async def test_a_second_click_pays_nothing_and_undoes_nothing(merchant: Merchant, receiver: Receiver) -> None:
    reference, page = await page_of(merchant)
    await merchant.pay(reference)

    await choose(merchant, page, "pay")
    await choose(merchant, page, "decline")

    assert (await merchant.data_of(reference))["status"] == "success"
    assert len(receiver.requests) == 1


async def test_what_the_buyer_sends_is_shown_as_text(merchant: Merchant) -> None:
    _, page = await page_of(merchant, email='"<script>alert(1)</script>"@buyer.example')

    answer = await merchant.http.get(page)

    assert "<script" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_another_choice_or_another_page_is_refused(merchant: Merchant) -> None:
    _, page = await page_of(merchant)

    assert (await choose(merchant, page, "steal")).status_code == 400
    assert (await merchant.http.get("/checkout/nothing")).status_code == 404
