"""The provider's bill as judge: what somebody was done for, beside what their wallet holds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from tests.integration.world import until
from tests.wallet.customers import WALLET_MICROS, Customer
from tests.wallet.site import Bill, Site

Json = dict[str, Any]
REFUSALS = (400, 401, 403, 404, 422, 429)


@dataclass
class Account:
    """A customer, and what the provider did for them."""

    customer: Customer
    billed_micros: int = 0
    charged_calls: int = 0

    @property
    def overspent(self) -> bool:
        return self.billed_micros > WALLET_MICROS


@dataclass
class Audit:
    """Attacks one wallet after the other; a wallet is used again for as long as little was spent of it."""

    site: Site
    customers: Iterator[Customer]
    at_once: int = 10
    most_micros: int = 100_000
    accounts: list[Account] = field(default_factory=list)

    def account(self) -> Account:
        if not self.accounts or self.accounts[-1].billed_micros > self.most_micros:
            self.accounts.append(Account(next(self.customers)))
        return self.accounts[-1]

    def attack(self, path: str, requests: Sequence[Json]) -> "Attacked":
        """Send all at once with one customer's key, and wait until the provider has ended what it began."""
        account = self.account()
        before = self.site.bill()
        with ThreadPoolExecutor(self.at_once) as pool:
            answers = list(pool.map(partial(self.send, account.customer.key, path), requests))
        bill = self.ended(before)
        account.billed_micros += bill.owed_micros
        return Attacked(account, answers, bill)

    def send(self, key: str, path: str, request: Json) -> httpx.Response:
        return self.site.ask(key, "POST", path, **request)

    def ended(self, before: Bill) -> Bill:
        def look() -> Bill | None:
            bill = self.site.bill().since(before)
            return bill if all(call["outcome"] != "working" for call in bill.calls) else None

        bill = until(look, what="the provider ends its work")
        assert bill is not None
        return bill


@dataclass(frozen=True)
class Attacked:
    """What became of one attack."""

    account: Account
    answers: list[httpx.Response]
    bill: Bill

    def wrong(self, name: str) -> list[str]:
        """What may not be, with what it was."""
        found = [f"overspent: {self.account.billed_micros} micros"] if self.account.overspent else []
        answered = sum(one.status_code == 200 for one in self.answers)
        if len(self.bill.worked) != answered:
            found.append(f"{answered} answers, {len(self.bill.worked)} calls at the provider")
        return found + [
            f"{one.status_code} without a name: {one.text[:200]}" for one in self.answers if not named(one, name)
        ]


def named(answer: httpx.Response, name: str) -> bool:
    """Whether it was answered, or refused in a way that says why."""
    if answer.status_code == 200:
        return True
    if answer.status_code not in REFUSALS:
        return False
    return answer.status_code != 400 or name.strip().lower() in answer.text.lower()
