"""The provider's bill as judge: what somebody was done for, beside what their wallet holds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from tests.wallet.customers import WALLET_MICROS, Customer
from tests.wallet.site import Bill, Site

Json = dict[str, Any]
REFUSALS = (401, 403, 404, 422, 429)


@dataclass
class Account:
    """A customer, and what the provider did for them."""

    customer: Customer
    wallet_micros: int
    billed_micros: int = 0

    @property
    def overspent(self) -> bool:
        return self.billed_micros > self.wallet_micros


@dataclass
class Audit:
    """Attacks one wallet after the other; a wallet is used again for as long as little was spent of it."""

    site: Site
    customers: Iterator[Customer]
    at_once: int = 10
    wallet_micros: int = WALLET_MICROS
    most_micros: int = 100_000
    accounts: list[Account] = field(default_factory=list)

    def account(self) -> Account:
        if not self.accounts or self.accounts[-1].billed_micros > self.most_micros:
            self.accounts.append(Account(next(self.customers), self.wallet_micros))
        return self.accounts[-1]

    def attack(self, path: str, requests: Sequence[Json]) -> "Attacked":
        """Send all at once with one customer's key, and wait until the provider has ended what it began."""
        account = self.account()
        self.site.forget_bill()
        with ThreadPoolExecutor(self.at_once) as pool:
            answers = list(pool.map(partial(self.send, account.customer.key, path), requests))
        bill = self.site.ended_bill()
        account.billed_micros += bill.owed_micros
        return Attacked(account, answers, bill)

    def send(self, key: str, path: str, request: Json) -> httpx.Response:
        return self.site.ask(key, "POST", path, **request)


@dataclass(frozen=True)
class Attacked:
    """What became of one attack."""

    account: Account
    answers: list[httpx.Response]
    bill: Bill

    @property
    def wrong(self) -> list[str]:
        """What may not be: more than the wallet, work that nobody is charged for."""
        found = [f"overspent: {self.account.billed_micros} micro-dollars"] if self.account.overspent else []
        answered = sum(one.status_code == 200 for one in self.answers)
        worked = [
            call for call in self.bill.worked if not call["route"].startswith("GET ")
        ]  # of LiteLLM's own
        if len(worked) != answered:
            asked = [(call["route"], call["model"]) for call in worked]
            found.append(f"{answered} answers, and at the provider {asked}")
        return found

    @property
    def statuses(self) -> dict[int, int]:
        return dict(sorted(Counter(one.status_code for one in self.answers).items()))


def says_why(answer: httpx.Response, name: str) -> bool:
    """Whether it was answered, or refused with the field's name or a status of its kind.

    What the provider refuses must name the field; anything else from there went through unseen. LiteLLM fails
    on some values before the guard is asked, which refuses them, too.
    """
    text = answer.text.lower()
    named = answer.status_code in (400, 404) and name.strip().lower() in text
    if "exception - " in text or "model group" in text:
        return named
    ours = answer.status_code == 400 and ("field_not_allowed" in text or "auth_error" in text)
    return named or ours or answer.status_code in (200, 500, *REFUSALS)
