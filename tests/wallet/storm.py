"""Random requests of many accounts at once: honest and hostile ones, on all open routes, some hung up."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx

from tests.wallet.customers import Customer
from tests.wallet.filling import Json
from tests.wallet.site import Site

DEMANDS = ("", "", "", "", "[delay 0.1]", "[delay 0.5]", "[pace 0.01]", "[fail 500]", "[fail 429]", "[cut]")
"""What a prompt asks of the provider: mostly nothing."""

HOSTILE: tuple[Json, ...] = (
    {"extra_body": {"max_tokens": 4500, "n": 5}},
    {"additional_drop_params": ["max_tokens"]},
    {"max_completion_tokens": 4500},
    {"n": 3},
    {"n": -1},
    {"max_tokens": 0},
    {"max_tokens": "4500"},
    {"max_tokens": 1e9},
    {"service_tier": "priority"},
    {"model": "live-large,live-large"},
    {"model": "live-unbounded"},
    {"fallbacks": ["live-large"], "num_retries": 3},
    {"mock_response": "free"},
    {"no-log": True},
    {"metadata": {"user_api_key_user_id": "x"}},
    {"tools": [{"type": "web_search"}]},
    {"stream": "yes"},
    {"timeout": 0.01},
)

HUNG_UP_TOKENS = (21, 301, 1001, 4499)
"""What calls ask for whose callers hang up, so that they can be told from the others on the bill."""


@dataclass(frozen=True)
class Shot:
    """One request. ``hung_up``: the caller leaves after the first bytes."""

    customer: Customer
    path: str
    request: Json
    hung_up: bool = False


@dataclass(frozen=True)
class Hit:
    """What came back: a status (0 where nothing did), what LiteLLM says that it cost, and when."""

    shot: Shot
    status: int
    cost_micros: int
    at: float


def shots(seed: int, customers: Sequence[Customer], count: int) -> Iterator[Shot]:
    """The same for the same seed, but for who the customers are."""
    chance = random.Random(seed)
    for _ in range(count):
        yield shot(chance, chance.choice(customers))


def shot(chance: random.Random, customer: Customer) -> Shot:
    path = chance.choice(
        ("/v1/chat/completions",) * 6 + ("/chat/completions", "/v1/completions", "/v1/embeddings")
    )
    body: Json = {"model": chance.choice(("live-large", "live-large", "live-small"))}
    text = f"Hello {chance.choice(DEMANDS)} {chance.random()}"
    if path.endswith("embeddings"):
        return Shot(customer, path, {"json": {"model": "live-embed", "input": [text] * chance.randint(1, 5)}})
    if path.endswith("chat/completions"):
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["prompt"] = [text] * chance.randint(1, 4)
    body["stream"] = chance.random() < 0.3
    hung_up = body["stream"] and chance.random() < 0.3
    body["max_tokens"] = chance.choice(HUNG_UP_TOKENS if hung_up else (1, 20, 300, 1000, 4500))
    request: Json = {"json": body}
    if chance.random() < 0.3:
        body |= chance.choice(HOSTILE)
    elif chance.random() < 0.05:
        request["params"] = {"model": "live-large"}
    elif chance.random() < 0.05:
        request["headers"] = {"x-litellm-num-retries": "5"}
    return Shot(customer, path, request, hung_up)


@dataclass
class Storm:
    """Fires shots, so many at once; while the gate is shut it holds those back that have not begun."""

    site: Site
    at_once: int = 24
    hits: list[Hit] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    landed: threading.Condition = field(default_factory=threading.Condition)

    def fire(self, shots: Sequence[Shot], *meanwhile: tuple[float, Callable[[], None]]) -> None:
        """``meanwhile``: what is done once a part of all has landed."""
        self.gate.set()
        with ThreadPoolExecutor(self.at_once) as pool:
            futures = [pool.submit(self.send, one) for one in shots]
            for part, do in meanwhile:
                self.wait_for(round(part * len(shots)))
                self.gate.clear()
                try:
                    do()
                finally:  # or those that wait would wait for good
                    self.gate.set()
            for future in futures:
                future.result()

    def wait_for(self, count: int) -> None:
        with self.landed:
            self.landed.wait_for(lambda: len(self.hits) >= count)

    def send(self, shot: Shot) -> None:
        self.gate.wait()
        hit = self.hit(shot)
        with self.landed:
            self.hits.append(hit)
            self.landed.notify_all()

    def hit(self, shot: Shot) -> Hit:
        headers = {"authorization": f"Bearer {shot.customer.key}", **shot.request.get("headers", {})}
        request: dict[str, Any] = {**shot.request, "headers": headers}
        url = self.site.litellm_url + shot.path
        try:
            with self.site.http.stream("POST", url, **request) as answer:
                for _ in answer.iter_raw():
                    if shot.hung_up:
                        break
                cost = float(answer.headers.get("x-litellm-response-cost") or 0)
                return Hit(shot, answer.status_code, round(cost * 1_000_000), monotonic())
        except httpx.TransportError:
            return Hit(shot, 0, 0, monotonic())
