"""The API checks what Paystack checks, and finds what Paystack finds."""

from datetime import timedelta
from typing import Any

import pytest

from dev.paystack import ManualClock
from dev.paystack.wire import stamp

from .merchant import Merchant

ROUTES = [
    ("POST", "/transaction/initialize"),
    ("GET", "/transaction/verify/x"),
    ("GET", "/transaction"),
    ("GET", "/transaction/1"),
    ("POST", "/refund"),
    ("GET", "/refund"),
    ("GET", "/refund/1"),
    ("GET", "/dispute"),
    ("GET", "/dispute/1"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("authorization", ["", "Bearer sk_test_other", "sk_test_no_scheme"])
async def test_every_route_wants_the_secret_key(
    method: str, path: str, authorization: str, merchant: Merchant
) -> None:
    answer = await merchant.http.request(method, path, headers={"Authorization": authorization})

    assert (answer.status_code, answer.json()) == (401, {"status": False, "message": "Invalid key"})


ORDER = {"email": "wanjiru@buyer.example", "amount": 5000, "currency": "NGN"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"email": None}, "Email Address is required"),
        ({"email": "wanjiru"}, "Invalid Email Address Passed"),
        ({"email": "wanjiru@host"}, "Invalid Email Address Passed"),
        ({"email": "wanjiru@shop.local"}, "Invalid Email Address Passed"),
        ({"email": "wanjiru@shop.LOCAL"}, "Invalid Email Address Passed"),
        ({"amount": None}, "Amount is required"),
        ({"amount": 0}, "Invalid Amount Sent"),
        ({"amount": -5}, "Invalid Amount Sent"),
        ({"amount": 19.99}, "Invalid Amount Sent"),
        ({"amount": "19.99"}, "Invalid Amount Sent"),
        ({"amount": "-5"}, "Invalid Amount Sent"),
        ({"amount": True}, "Invalid Amount Sent"),
        ({"currency": "EUR"}, "Currency not supported by merchant"),
        ({"currency": "ngn"}, "Currency not supported by merchant"),
        ({"callback_url": "javascript:alert(1)"}, "Invalid callback URL passed"),
    ],
)
async def test_a_wrong_order_is_refused(wrong: dict[str, Any], message: str, merchant: Merchant) -> None:
    answer = await merchant.http.post("/transaction/initialize", json=ORDER | wrong)

    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["message"]) == (False, message)


@pytest.mark.parametrize("reference", ["a_b", "a b", "a/b", "é", "a+b"])
async def test_a_reference_with_other_characters_is_refused(reference: str, merchant: Merchant) -> None:
    answer = await merchant.http.post("/transaction/initialize", json=ORDER | {"reference": reference})

    assert answer.status_code == 400


@pytest.mark.parametrize("reference", ["cr-01.a=b", "ABC", "1"])
async def test_a_reference_of_letters_digits_and_three_signs_is_taken(
    reference: str, merchant: Merchant
) -> None:
    assert await merchant.open(reference=reference) == reference
    assert (await merchant.data_of(reference))["reference"] == reference


@pytest.mark.parametrize("currency", ["NGN", "GHS", "KES", "ZAR", "USD", "XOF"])
async def test_every_currency_of_paystack_is_taken(currency: str, merchant: Merchant) -> None:
    assert (await merchant.data_of(await merchant.paid(currency=currency)))["currency"] == currency


async def test_an_amount_may_be_a_string_of_digits(merchant: Merchant) -> None:
    data = await merchant.data_of(await merchant.open(amount="500000"))

    assert (data["amount"], data["requested_amount"]) == (500_000, 500_000)


async def test_an_order_may_be_a_form(merchant: Merchant) -> None:
    answer = await merchant.http.post("/transaction/initialize", data=ORDER | {"amount": "5000"})

    assert answer.json()["status"] is True


async def test_a_body_that_is_no_json_is_refused(merchant: Merchant) -> None:
    for content in (b"{", b"[]", b"1"):
        answer = await merchant.http.post("/transaction/initialize", content=content)
        assert (answer.status_code, answer.json()["status"]) == (400, False)


async def test_a_reference_is_made_when_none_is_given(merchant: Merchant) -> None:
    first, second = await merchant.open(), await merchant.open()

    assert first != second
    assert first.isalnum()


@pytest.mark.parametrize("metadata", [{"a": 1}, '{"a":1}', 0, ""])
async def test_metadata_comes_back_as_it_was_sent(metadata: Any, merchant: Merchant) -> None:
    reference = await merchant.open(metadata=metadata)
    event = (await merchant.pay(reference))["event"]

    assert event["data"]["metadata"] == metadata
    assert (await merchant.data_of(reference))["metadata"] == metadata


async def test_an_unpaid_transaction_verifies_as_abandoned_from_the_start(merchant: Merchant) -> None:
    answer = await merchant.get(f"/transaction/verify/{await merchant.open()}")

    assert (answer["status"], answer["data"]["status"]) == (True, "abandoned")


async def test_a_transaction_is_fetched_by_its_id(merchant: Merchant) -> None:
    reference = await merchant.paid()
    transaction_id = (await merchant.data_of(reference))["id"]

    assert (await merchant.get(f"/transaction/{transaction_id}"))["data"]["reference"] == reference
    assert (await merchant.http.get("/transaction/1")).status_code == 404
    assert (await merchant.http.get("/transaction/none")).status_code == 404


async def opened(merchant: Merchant, clock: ManualClock, count: int) -> list[str]:
    """References a minute apart, the newest first, as lists show them."""
    references: list[str] = []
    for _ in range(count):
        references.insert(0, await merchant.open())
        clock.advance(60)
    return references


async def test_pages_by_number_hold_every_row_once(merchant: Merchant, clock: ManualClock) -> None:
    references = await opened(merchant, clock, 5)

    pages = [await merchant.get("/transaction", perPage=2, page=number) for number in (1, 2, 3, 4)]

    found = [[row["reference"] for row in page["data"]] for page in pages]
    assert found == [references[:2], references[2:4], references[4:], []]
    assert pages[1]["meta"] == {
        "total": 5,
        "total_volume": 2_500_000,
        "skipped": 2,
        "perPage": "2",
        "page": 2,
        "pageCount": 3,
    }


async def test_per_page_is_known_by_both_names(merchant: Merchant, clock: ManualClock) -> None:
    await opened(merchant, clock, 3)

    answer = await merchant.get("/transaction", per_page=2)

    assert len(answer["data"]) == 2


async def test_a_cursor_is_not_disturbed_by_new_payments(merchant: Merchant, clock: ManualClock) -> None:
    references = await opened(merchant, clock, 5)
    found, query = [], {"use_cursor": "true", "perPage": 2}

    while True:
        page = await merchant.get("/transaction", **query)
        found += [row["reference"] for row in page["data"]]
        await merchant.open()  # by number, this would show a row twice
        if page["meta"]["next"] is None:
            break
        query["next"] = page["meta"]["next"]

    assert found == references


async def test_a_cursor_leads_back_too(merchant: Merchant, clock: ManualClock) -> None:
    references = await opened(merchant, clock, 4)
    first = await merchant.get("/transaction", use_cursor="true", perPage=2)
    second = await merchant.get("/transaction", use_cursor="true", perPage=2, next=first["meta"]["next"])

    back = await merchant.get(
        "/transaction", use_cursor="true", perPage=2, previous=second["meta"]["previous"]
    )

    assert [row["reference"] for row in back["data"]] == references[:2]
    assert first["meta"]["previous"] is None


async def test_a_list_is_filtered_by_time_and_status(merchant: Merchant, clock: ManualClock) -> None:
    references = await opened(merchant, clock, 3)
    await merchant.pay(references[1])
    row = (await merchant.get("/transaction", status="success"))["data"]
    made_at = clock.now() - timedelta(minutes=2)

    within = await merchant.get("/transaction", **{"from": stamp(made_at), "to": stamp(made_at)})

    assert [each["reference"] for each in row] == [references[1]]
    assert [each["reference"] for each in within["data"]] == [references[1]]


async def test_a_list_is_filtered_by_customer(merchant: Merchant) -> None:
    reference = await merchant.open()
    await merchant.open(email="other@buyer.example")
    customer = (await merchant.data_of(reference))["customer"]["id"]

    rows = (await merchant.get("/transaction", customer=customer))["data"]

    assert [row["reference"] for row in rows] == [reference]


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"perPage": "x"}, {"from": "soon"}, {"use_cursor": "true", "next": "?"}]
)
async def test_a_list_refuses_what_it_cannot_read(query: dict[str, str], merchant: Merchant) -> None:
    answer = await merchant.http.get("/transaction", params=query)

    assert (answer.status_code, answer.json()["status"]) == (400, False)
