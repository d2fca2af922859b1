"""Random calls of fifty accounts at once, LiteLLM restarted and killed in the middle: no wallet gives way."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import psycopg
import pytest

from dev.litellm import Proxy
from dev.stack import Stack
from tests.integration.world import until
from tests.wallet.beside import site_of
from tests.wallet.conftest import Say
from tests.wallet.customers import WALLET_MICROS, Customer, Registry
from tests.wallet.site import Bill, Site
from tests.wallet.storm import HUNG_UP_TOKENS, Storm, shots

SHOTS = 20_000 if os.environ.get("LONG") else 1_000
ACCOUNTS = 50
CALL_SECONDS = 3
"""What the provider was asked for so long before a writing may have been answered after it began."""


@dataclass(frozen=True)
class Settled:
    """What a storm came to once all is written down."""

    storm: Storm
    bill: Bill
    spend: Mapping[str, int]

    @property
    def answered(self) -> Bill:
        """The bill without what is counted apart: what failed, was cut off, or whose caller hung up."""
        calls = self.bill.calls
        return Bill(tuple(call for call in calls if call["asked"].get("max_tokens") not in HUNG_UP_TOKENS))

    @property
    def lost_micros(self) -> int:
        """What the provider did and nobody is charged for."""
        return self.answered.owed_micros - sum(self.spend.values())

    def __str__(self) -> str:
        apart = sum(call["cost_micros"] for call in self.bill.calls) - self.answered.owed_micros
        statuses = dict(sorted(Counter(hit.status for hit in self.storm.hits).items()))
        return (
            f"{len(self.storm.hits)} calls {statuses}, in micro-dollars: bill {self.answered.owed_micros}, "
            f"beside it {apart} for calls that failed or were cut off, "
            f"spend = booked {sum(self.spend.values())}"
        )


@pytest.fixture(scope="module")
def workers(homes: Path) -> Iterator[Stack]:
    """Two LiteLLM workers that know of each other by Redis."""
    with Stack(homes / "workers", proxy=Proxy(workers=2, redis=True)) as running:
        running.unhurry()
        yield running


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("running", ["stack", "workers"])
def test_no_wallet_gives_way_while_litellm_is_restarted(
    request: pytest.FixtureRequest, running: str, say: Say
) -> None:
    stack: Stack = request.getfixturevalue(running)

    def restart() -> None:
        stack.stop_part("litellm")
        stack.start_part("litellm")

    came = stormed(stack, (1 / 3, restart), (2 / 3, restart))
    say(f"restarted twice ({running}), {came}")
    assert max(came.spend.values()) <= WALLET_MICROS
    assert came.bill.owed_micros <= ACCOUNTS * WALLET_MICROS
    assert came.lost_micros <= 0


@pytest.mark.timeout(3600)
def test_a_killed_litellm_forgets_no_more_than_it_answered_since_it_last_wrote(
    stack: Stack, say: Say
) -> None:
    """A busy machine is late with it, so LiteLLM's database says when that was."""
    killed_at: list[datetime] = []
    written_at: list[datetime] = []

    def kill() -> None:
        killed_at.append(datetime.now(UTC))
        stack.kill_part("litellm")
        written_at.append(last_written(stack))
        stack.start_part("litellm")

    came = stormed(stack, (1 / 2, kill))
    lately = since(came.bill, written_at[0] - timedelta(seconds=CALL_SECONDS), killed_at[0])
    seconds = (killed_at[0] - written_at[0]).total_seconds()
    say(f"killed once, {seconds:.1f} s after it wrote, {came}; forgotten {came.lost_micros}, of {lately}")
    assert max(came.spend.values()) <= WALLET_MICROS
    assert came.lost_micros <= lately


def last_written(stack: Stack) -> datetime:
    """When LiteLLM last wrote down what somebody spent."""
    with psycopg.connect(stack.address.url("litellm", "litellm"), autocommit=True) as db:
        row = db.execute('select max(updated_at) from "LiteLLM_UserTable" where spend > 0').fetchone()
    assert row is not None
    return cast(datetime, row[0]).replace(tzinfo=UTC)


def since(bill: Bill, begin: datetime, end: datetime) -> int:
    """What the calls cost that reached the provider in this time."""
    return sum(
        call["cost_micros"] for call in bill.calls if begin <= datetime.fromisoformat(call["at"]) <= end
    )


def stormed(stack: Stack, *meanwhile: tuple[float, Callable[[], None]]) -> Settled:
    site = site_of(stack)
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        registry = Registry(stack.env, db)
        customers = registry.some(ACCOUNTS, max_budget=100_000)
        storm = Storm(site)
        site.forget_bill()
        storm.fire(list(shots(1, customers, SHOTS)), *meanwhile)
        return Settled(storm, site.ended_bill(), settled(site, registry, customers))


def settled(site: Site, registry: Registry, customers: Sequence[Customer]) -> Mapping[str, int]:
    """The spend of each, once LiteLLM's has come to rest and the worker has booked it."""
    seen: list[dict[str, int]] = [{}]

    def look() -> dict[str, int] | None:
        seen.append(site.spend_micros(one.id for one in customers))
        return seen[-1] if seen[-1] == seen[-2] == registry.booked_micros(customers) else None

    spend = until(look, seconds=120, what="what is spent is booked")
    assert spend is not None
    return spend
