"""A thousand random calls of fifty accounts at once, with LiteLLM restarted in the middle: no wallet gives way."""

import os
from collections import Counter
from collections.abc import Sequence

import pytest

from dev.stack import Stack
from tests.integration.world import until
from tests.wallet.customers import WALLET_MICROS, Customer, Registry
from tests.wallet.site import Bill, Site
from tests.wallet.storm import Storm, shots

SHOTS = 20_000 if os.environ.get("LONG") else 1_000
ACCOUNTS = 50


@pytest.mark.timeout(3600)
def test_no_wallet_gives_way_in_a_storm(stack: Stack, site: Site, registry: Registry) -> None:
    customers = registry.some(ACCOUNTS, max_budget=100_000)
    before, storm = site.bill(), Storm(site)

    def restart() -> None:
        stack.stop_part("litellm")
        stack.start_part("litellm")

    storm.fire(list(shots(1, customers, SHOTS)), (1 / 3, restart), (2 / 3, restart))
    spend = settled(site, registry, customers)
    bill = ended(site, before)
    report(storm, bill, spend)
    assert max(spend.values()) <= WALLET_MICROS
    assert bill.owed_micros <= ACCOUNTS * WALLET_MICROS
    assert bill.owed_micros <= sum(spend.values())


def settled(site: Site, registry: Registry, customers: Sequence[Customer]) -> dict[str, int]:
    """The spend of each, once LiteLLM's has come to rest and the worker has booked it."""
    seen: list[dict[str, int]] = [{}]

    def look() -> dict[str, int] | None:
        spend = site.spend_micros(one.id for one in customers)
        seen.append(spend)
        return spend if spend == seen[-2] == registry.booked_micros(customers) else None

    found = until(look, seconds=90, what="what is spent is booked")
    assert found is not None
    return found


def ended(site: Site, before: Bill) -> Bill:
    def look() -> Bill | None:
        bill = site.bill().since(before)
        return bill if all(call["outcome"] != "working" for call in bill.calls) else None

    bill = until(look, what="the provider ends its work")
    assert bill is not None
    return bill


def report(storm: Storm, bill: Bill, spend: dict[str, int]) -> None:
    apart = sum(call["cost_micros"] for call in bill.calls) - bill.owed_micros
    statuses = sorted(Counter(hit.status for hit in storm.hits).items())
    print(
        f"{len(storm.hits)} calls: {statuses}; bill {bill.owed_micros} (and {apart} for calls cut off or failed), "
        f"spend = usage booked {sum(spend.values())}, wallets {len(spend) * WALLET_MICROS} micro-dollars"
    )
