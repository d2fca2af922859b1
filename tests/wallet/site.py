"""A LiteLLM with the provider behind it, as an attacker and an auditor see them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.integration.world import until

Json = dict[str, Any]
ENDED = ("failed", "cut_off")
"""Outcomes of calls that are counted apart: nobody promises that LiteLLM charges for them."""


@dataclass(frozen=True)
class Bill:
    """What the provider has been asked for; `owed_micros` leaves out calls that failed or were cut off."""

    calls: tuple[Json, ...]

    @property
    def owed_micros(self) -> int:
        return sum(call["cost_micros"] for call in self.calls if call["outcome"] not in ENDED)

    @property
    def worked(self) -> tuple[Json, ...]:
        """The calls that the provider did not refuse."""
        return tuple(call for call in self.calls if call["outcome"] != "refused")


def client() -> httpx.Client:
    """A connection for each call: LiteLLM closes one after a failure of its own without saying so."""
    return httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass(frozen=True)
class Site:
    """One LiteLLM and the provider that it calls."""

    litellm_url: str
    master_key: str
    provider_url: str
    http: httpx.Client = field(default_factory=client)

    def ask(self, key: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A call with somebody's key; what `more` says wins. The path goes out as it is written."""
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        url = httpx.URL(self.litellm_url + path, params=more.pop("params", None) or None)
        target = {"target": path.encode() + (b"?" + url.query if url.query else b"")}
        return self.http.request(method, url, headers=headers, extensions=target, **more)

    def manage(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.ask(self.master_key, method, path, **more)

    def bill(self) -> Bill:
        told = self.http.get(f"{self.provider_url}/sandbox/bill").json()
        return Bill(tuple(told["calls"]))

    def forget_bill(self) -> None:
        """Start the bill anew: a long one takes its time to read."""
        self.http.delete(f"{self.provider_url}/sandbox/bill")

    def ended_bill(self) -> Bill:
        """The bill once the provider has ended all that it began."""

        def look() -> Bill | None:
            bill = self.bill()
            return bill if all(call["outcome"] != "working" for call in bill.calls) else None

        bill = until(look, what="the provider ends its work")
        assert bill is not None
        return bill

    def spend_micros(self, user_ids: Iterable[str]) -> dict[str, int]:
        """LiteLLM's lifetime spend of each, as its database has it: some seconds after the calls."""
        return {each: self.user(each)["spend_micros"] for each in user_ids}

    def user(self, user_id: str) -> Json:
        answer = self.manage("GET", "/v2/user/info", params={"user_id": user_id})
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return {**told, "spend_micros": round(told["spend"] * 1_000_000)}
