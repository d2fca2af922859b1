"""Every answer and event of the sandbox is built as Paystack's own.

The fixtures are Paystack's side of the argument: without them the sandbox would only agree with our client.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from .merchant import Merchant
from .shape import differences

FIXTURES = Path(__file__).parents[1] / "fixtures" / "paystack"
Case = Callable[[Merchant], Awaitable[Any]]

# What a merchant fills freely, and what is null for one buyer and text for another.
FREE = {"$.data.metadata"}
NULLABLE = {
    f"{data}.{field}"
    for data in ("$.data", "$.data[]")
    for field in (
        "customer.phone",
        "customer.first_name",
        "customer.last_name",
        "authorization.sender_bank",
        "authorization.narration",
    )
}
# No part of selling credits: other events, a request, and a route that the sandbox does not have.
NOT_SERVED = {"api.initialize.request", "api.refund.retry.422"}
SERVED = ("charge.", "refund.", "api.")


def charged(fields: dict[str, Any] | None = None, **opening: Any) -> Case:
    async def case(merchant: Merchant) -> Any:
        reference = await merchant.open(**opening)
        return (await merchant.pay(reference, **(fields or {})))["event"]

    return case


def unpaid(status: str) -> Case:
    async def case(merchant: Merchant) -> Any:
        reference = await merchant.open()
        await merchant.post(f"/sandbox/transactions/{reference}/status", status=status)
        return await merchant.get(f"/transaction/verify/{reference}")

    return case


async def legacy_minimal(merchant: Merchant) -> Any:
    """An account from before many fields existed, rebuilt with overrides."""
    legacy = json.loads((FIXTURES / "charge.success.card.legacy_minimal.json").read_text())["data"]
    modern = await charged()(merchant)
    replaced = {name: legacy[name] for name in ("metadata", "fees", "log", "authorization", "customer")}
    replaced["omit"] = sorted(modern["data"].keys() - legacy.keys())
    return await charged(replaced)(merchant)


def refunded(status: str, **body: Any) -> Case:
    async def case(merchant: Merchant) -> Any:
        reference = await merchant.paid()
        answer = await merchant.post(f"/sandbox/transactions/{reference}/refund", status=status, **body)
        return answer["event"]

    return case


async def disputed(merchant: Merchant) -> Any:
    reference = await merchant.paid(phone="08000000000")
    return (await merchant.post(f"/sandbox/transactions/{reference}/dispute"))["event"]


async def reminded(merchant: Merchant) -> Any:
    opened = await disputed(merchant)
    return (await merchant.post(f"/sandbox/disputes/{opened['data']['id']}/remind"))["event"]


async def declined(merchant: Merchant) -> Any:
    path = f"/sandbox/disputes/{(await disputed(merchant))['data']['id']}/resolve"
    return (await merchant.post(path, resolution="declined"))["event"]


async def dispute_list(merchant: Merchant) -> Any:
    await disputed(merchant)
    return await merchant.get("/dispute")


async def initialized(merchant: Merchant) -> Any:
    request = json.loads((FIXTURES / "api.initialize.request.json").read_text())
    return await merchant.post("/transaction/initialize", **request)


async def refused(merchant: Merchant, **body: Any) -> Any:
    return (await merchant.http.post("/transaction/initialize", json=body)).json()


async def duplicated(merchant: Merchant) -> Any:
    reference = await merchant.open()
    return await refused(merchant, email="a@buyer.example", amount=100, reference=reference)


async def keyless(merchant: Merchant) -> Any:
    return (await merchant.http.get("/transaction", headers={"Authorization": "Bearer sk_test_no"})).json()


async def unknown_reference(merchant: Merchant) -> Any:
    return (await merchant.http.get("/transaction/verify/never-issued")).json()


async def verified(merchant: Merchant) -> Any:
    return await merchant.get(f"/transaction/verify/{await merchant.paid()}")


async def reversed_(merchant: Merchant) -> Any:
    reference = await merchant.paid()
    await merchant.post(f"/sandbox/transactions/{reference}/refund")
    return await merchant.get(f"/transaction/verify/{reference}")


async def page(merchant: Merchant) -> Any:
    await merchant.paid(metadata=None)
    return await merchant.get("/transaction")


async def cursor(merchant: Merchant) -> Any:
    await merchant.paid(metadata=None)
    await merchant.paid(metadata=None)
    return await merchant.get("/transaction", use_cursor="true", perPage=1)


async def refund_created(merchant: Merchant) -> Any:
    return await merchant.post("/refund", transaction=await merchant.paid())


async def refund_list(merchant: Merchant) -> Any:
    await refunded("processed")(merchant)
    return await merchant.get("/refund")


async def refund_fetched(merchant: Merchant) -> Any:
    rows = (await refund_list(merchant))["data"]
    return await merchant.get(f"/refund/{rows[0]['id']}")


CASES: dict[str, Case] = {
    "charge.success.card": charged(),
    "charge.success.card.legacy_minimal": legacy_minimal,
    "charge.success.card.metadata_empty_string": charged(metadata=None),
    "charge.success.card.metadata_null": charged({"metadata": None, "fees": None}),
    "charge.success.card.usd": charged(currency="USD"),
    "charge.success.bank_transfer": charged(channels=["bank_transfer"], metadata=None),
    "charge.success.pesalink_kes": charged({"metadata": 0}, channels=["bank_transfer"], currency="KES"),
    "charge.success.mobile_money_ghs": charged(channels=["mobile_money"], currency="GHS", metadata=None),
    "charge.success.ussd": charged(channels=["ussd"], metadata=None),
    "charge.success.direct_debit": charged(channels=["direct_debit"], metadata=None),
    "charge.dispute.create": disputed,
    "charge.dispute.remind": reminded,
    "charge.dispute.resolve.declined": declined,
    "refund.pending": refunded("pending"),
    "refund.processing": refunded("processing"),
    "refund.processed": refunded("processed"),
    "refund.processed.partial": refunded("processed", amount=200_000),
    "refund.failed": refunded("failed"),
    "api.initialize.200": initialized,
    "api.initialize.400.duplicate_reference": duplicated,
    "api.error.400.missing_params": lambda merchant: refused(merchant, amount=100),
    "api.error.400.currency": lambda merchant: refused(
        merchant, email="a@buyer.example", amount=1, currency="EUR"
    ),
    "api.error.401.invalid_key": keyless,
    "api.verify.404.not_found": unknown_reference,
    "api.verify.200.success": verified,
    "api.verify.200.reversed": reversed_,
    "api.verify.200.abandoned": unpaid("abandoned"),
    "api.verify.200.ongoing": unpaid("ongoing"),
    "api.verify.200.pending": unpaid("pending"),
    "api.verify.200.failed": unpaid("failed"),
    "api.transaction.list.200.page": page,
    "api.transaction.list.200.cursor": cursor,
    "api.refund.create.200": refund_created,
    "api.refund.list.200": refund_list,
    "api.refund.fetch.200": refund_fetched,
    "api.dispute.list.200": dispute_list,
}


@pytest.mark.parametrize("name", sorted(CASES))
async def test_the_sandbox_builds_it_as_paystack_does(name: str, merchant: Merchant) -> None:
    expected = json.loads((FIXTURES / f"{name}.json").read_text())

    actual = await CASES[name](merchant)

    assert differences(actual, expected, free=FREE, nullable=NULLABLE) == []


@pytest.mark.parametrize("name", sorted(each for each in CASES if ".40" in each))
async def test_a_refusal_is_paystacks_to_the_letter(name: str, merchant: Merchant) -> None:
    expected = json.loads((FIXTURES / f"{name}.json").read_text())

    assert await CASES[name](merchant) == expected


def test_no_fitting_fixture_is_left_out() -> None:
    fitting = {path.stem for path in FIXTURES.glob("*.json") if path.name.startswith(SERVED)}

    assert fitting - NOT_SERVED == CASES.keys()


@pytest.mark.parametrize(
    ("actual", "told"),
    [
        ({"a": 1}, "$.b: missing"),
        ({"a": 1, "b": [{"c": "x"}], "d": 1}, "$.d: unknown"),
        ({"a": True, "b": [{"c": "x"}]}, "$.a: boolean instead of integer"),
        ({"a": "1", "b": [{"c": "x"}]}, "$.a: string instead of integer"),
        ({"a": 1, "b": [{"c": "x"}, {"c": None}]}, "$.b[].c: null instead of string"),
    ],
)
def test_the_comparison_can_fail(actual: Any, told: str) -> None:
    assert differences(actual, {"a": 2, "b": [{"c": "y"}]}) == [told]


async def test_ids_do_not_fit_into_32_bits(merchant: Merchant) -> None:
    data = await merchant.data_of(await merchant.paid())

    assert 2**31 < data["id"] < 2**53


@pytest.mark.parametrize(
    ("currency", "amount", "name"),
    [
        ("NGN", 500_000, "charge.success.card"),
        ("USD", 2_000, "charge.success.card.usd"),
        ("KES", 65_000, "charge.success.pesalink_kes"),
        ("GHS", 10_000, "charge.success.mobile_money_ghs"),
        ("NGN", 1_000_000, "charge.success.bank_transfer"),
    ],
)
async def test_fees_are_those_of_the_captured_charges(
    currency: str, amount: int, name: str, merchant: Merchant
) -> None:
    captured = json.loads((FIXTURES / f"{name}.json").read_text())["data"]

    data = await merchant.data_of(await merchant.paid(currency=currency, amount=amount))

    assert (data["amount"], data["fees"]) == (captured["amount"], captured["fees"])
