"""Every recorded answer of Paystack's API: what our client makes of it is what the table says."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import respx

from core.domain.payments import Observe, Order, judge
from core.errors import KeyfundError
from core.payments.paystack import Paystack
from core.settings import Settings
from tests.fixtures.effects import ANSWERS

FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"
REFERENCE = "cr-01jb7m3q9e5x4k8t2v6n"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ORDER = Order(REFERENCE, "u", 500_000, "NGN", 500, "pending", None)


async def verify(paystack: Paystack) -> str:
    verified = await paystack.verify(REFERENCE)
    judged = judge(ORDER, verified, "test") if verified else Observe("not_found")
    return f"Observe {judged.status}" if isinstance(judged, Observe) else type(judged).__name__


async def initialize(paystack: Paystack) -> str:
    checkout = await paystack.initialize(
        reference=REFERENCE, email="x@example.com", amount_subunits=1, currency="NGN", callback_url=None
    )
    return f"checkout {checkout.access_code}"


async def list_paid(paystack: Paystack) -> str:
    paid = [one.reference async for one in paystack.walk_payments(LONG_AGO, LONG_AGO)]
    assert paid == [one async for one in paystack.walk_paid(LONG_AGO)]
    return f"paid {', '.join(paid)}"


async def list_refunds(paystack: Paystack) -> str:
    sums = await paystack.read_refunds(LONG_AGO)
    return ", ".join(f"refunded {refunds.processed} of {one}" for one, refunds in sums.items())


async def list_disputes(paystack: Paystack) -> str:
    return ", ".join(f"disputed {one.reference}" for one in await paystack.read_disputes(LONG_AGO))


async def refund(paystack: Paystack) -> str:
    await paystack.refund(5_612_903_388, 500_000)
    return "refund asked"


CALLS: dict[str, Callable[[Paystack], Awaitable[str]]] = {
    "api.verify": verify,
    "api.initialize": initialize,
    "api.error": initialize,
    "api.transaction.list": list_paid,
    "api.refund.list": list_refunds,
    "api.dispute.list": list_disputes,
    "api.refund.create": refund,
    "api.refund.retry": refund,
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
async def test_an_answer_is_taken_as_the_table_says(name: str) -> None:
    call = next(call for prefix, call in CALLS.items() if name.startswith(prefix))
    status = next(int(word) for word in name.split(".") if word.isdigit())
    answer = json.loads((FIXTURES / f"{name}.json").read_text())
    settings = Settings(
        _env_file=None,
        supabase_url="http://supabase.test",
        supabase_anon_key="anonymous-key",
        supabase_service_role_key="service-role-key",
        paystack_secret_key="sk_test_0123456789",
        paystack_base_url="http://paystack.test",
    )
    async with httpx.AsyncClient() as client, respx.mock(base_url="http://paystack.test") as mock:
        mock.route().respond(status, json=answer)
        try:
            seen = await call(Paystack(settings, client))
        except KeyfundError as error:
            seen = f"{type(error).__name__} {error.code}"
    assert seen == ANSWERS[name]
