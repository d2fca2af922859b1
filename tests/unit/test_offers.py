"""What the doctor says of packages on sale."""

from collections.abc import Sequence

import pytest

from core.domain.payments import Offer
from operate.database import describe_offers
from operate.finding import Finding, Verdict


def offer(
    amount: int, cost: int | None, fee: int | None, currency: str = "NGN", *, active: bool = True
) -> Offer:
    return Offer(f"p-{amount}", currency, amount, active, cost, fee)


def told(*offers: Offer) -> Sequence[Finding]:
    return describe_offers(offers)


@pytest.mark.parametrize(
    "offers", [(), (offer(120, 100, 20), offer(500, 100, 0)), (offer(1, 9, 9, active=False),)]
)
def test_all_is_well_where_each_price_covers_cost_and_fee(offers: tuple[Offer, ...]) -> None:
    (only,) = told(*offers)
    assert only.verdict is Verdict.OK
    assert f"on sale: {sum(one.active for one in offers)}." in only.text


@pytest.mark.parametrize(("amount", "fee"), [(119, 20), (99, None), (99, 0)])
def test_a_package_that_is_sold_at_a_loss_is_named(amount: int, fee: int | None) -> None:
    first, *_ = told(offer(amount, 100, fee), offer(500, 100, 1))
    assert first.verdict is Verdict.WARNING
    assert f"less than cost and fee: p-{amount}." in first.text


def test_currencies_of_which_nobody_can_tell_are_named() -> None:
    found = told(offer(5, None, None, "XOF"), offer(6, None, 1, "NGN"), offer(500, 100, None, "USD"))
    assert [one.verdict for one in found] == [Verdict.WARNING] * 2
    assert "a dollar is worth in NGN, XOF," in found[0].text
    assert "not known for USD:" in found[1].text
