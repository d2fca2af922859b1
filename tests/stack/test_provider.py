"""Through the real LiteLLM: what the provider bills is what LiteLLM charges, to the micro-dollar."""

import base64
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.provider.client import chat, coded, wav
from tests.stack.proxy import Proxy
from tests.support import eventually

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
IMAGES = "/v1/images/generations"
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
SOUND = {"data": base64.b64encode(wav(2)).decode(), "format": "wav"}
FILE = {"filename": "a.pdf", "file_data": coded(bytes(40_000))}
LONG = "word " * 2_000
MESSAGES = [{"role": "user", "content": "hello"}]
COMPLETE = {"model": "live-complete", "prompt": ["hello", "you"], "max_tokens": 9}
PICTURE = {"image": ("a.png", b"x", "image/png")}


@dataclass(frozen=True)
class Asked:
    """A call of a model through LiteLLM."""

    name: str
    path: str
    body: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def send(self, proxy: Proxy, key: str) -> httpx.Response:
        sent = {"data": self.body, "files": self.files} if self.files else {"json": self.body}
        answer = proxy.ask("POST", self.path, key, **sent)
        assert answer.status_code == 200, answer.text
        return answer


def part(kind: str, content: Any) -> list[Any]:
    """A message of a text and something else."""
    return [{"type": "text", "text": "hello"}, {"type": kind, kind: content}]


CHARGED = [
    *(
        Asked(name, CHAT, chat(model=name))
        for name in (
            *("live-small", "live-large", "live-free", "live-azure", "live-claude", "live-unbounded"),
            *("live-long", "live-reason", "live-tiered", "live-listed", "live-params"),
        )
    ),
    Asked("chat without a limit", CHAT, chat(max_tokens=None)),
    Asked("chat with two limits", CHAT, chat(max_completion_tokens=1, max_tokens=100)),
    Asked("chat with choices", CHAT, chat(n=3)),
    Asked("chat streamed", CHAT, chat(stream=True)),
    Asked("chat streamed with usage", CHAT, chat(**USAGE)),
    Asked("azure streamed", CHAT, chat(model="live-azure", stream=True)),
    Asked("flex", CHAT, chat(model="live-tiered", service_tier="flex")),
    Asked("priority", CHAT, chat(model="live-tiered", service_tier="priority")),
    Asked("long context", CHAT, chat(model="live-long", text="word " * 201_000)),
    Asked("written to the cache", CHAT, chat(model="live-cached", text=LONG)),
    Asked("read from the cache", CHAT, chat(model="live-cached", text=LONG)),
    Asked("reasoning", CHAT, chat(model="live-reason", reasoning_effort="high", max_tokens=100)),
    Asked("sound", CHAT, chat(model="live-audio", text=part("input_audio", SOUND))),
    Asked("file", CHAT, chat(text=part("file", FILE))),
    Asked("picture", CHAT, chat(text=part("image_url", {"url": coded(b"x", "image/png")}))),
    Asked(
        "completions", COMPLETIONS, {"model": "live-complete", "prompt": ["hello", "you"], "max_tokens": 9}
    ),
    Asked(
        "completions of a chat model", COMPLETIONS, {"model": "live-small", "prompt": "you", "max_tokens": 9}
    ),
    Asked(
        *("completions streamed with usage", COMPLETIONS),
        COMPLETE | USAGE,
    ),
    Asked("embeddings", "/v1/embeddings", {"model": "live-embed", "input": ["hello", "you all"]}),
    Asked("responses", RESPONSES, {"model": "live-small", "input": "hello", "max_output_tokens": 20}),
    Asked("responses streamed", RESPONSES, {"model": "live-small", "input": "hello", "stream": True}),
    Asked("messages", "/v1/messages", {"model": "live-claude", "messages": MESSAGES, "max_tokens": 10}),
    Asked(
        *("messages streamed", "/v1/messages"),
        {"model": "live-claude", "messages": MESSAGES, "max_tokens": 10, "stream": True},
    ),
    Asked(
        *("messages of another vendor's model", "/v1/messages"),
        {"model": "live-small", "messages": MESSAGES, "max_tokens": 20},
    ),
    Asked("images", IMAGES, {"model": "live-image", "prompt": "a", "n": 2}),
    Asked(
        "images without a token price", "/v1/images/generations", {"model": "live-zero-image", "prompt": "a"}
    ),
    Asked("edited images", "/v1/images/edits", {"model": "live-image", "prompt": "a", "n": "2"}, PICTURE),
    Asked("speech", "/v1/audio/speech", {"model": "live-speech", "input": "hello", "voice": "alloy"}),
    Asked(
        *("transcription", "/v1/audio/transcriptions", {"model": "live-transcribe"}),
        {"file": ("a.wav", wav(2), "audio/wav")},
    ),
    Asked("rerank", "/v1/rerank", {"model": "live-rerank", "query": "a", "documents": ["a"] * 101}),
    Asked("moderations", "/v1/moderations", {"model": "live-moderate", "input": "hello"}),
]
UNDERCHARGED = [
    Asked("a tier without a price of its own", CHAT, chat(service_tier="priority")),
    Asked("a tier at the price of LiteLLM's list", CHAT, chat(model="live-listed", service_tier="priority")),
    Asked("a hosted tool", CHAT, chat(web_search_options={})),
    Asked(
        *("completions streamed without usage", COMPLETIONS),
        COMPLETE | {"stream": True},
    ),
    Asked(
        *("speech at the operator's own price", "/v1/audio/speech"),
        {"model": "live-speech-own", "input": "hello", "voice": "alloy"},
    ),
]
"""What LiteLLM 1.106.2 charges less for than the provider bills, with a key that no guard looks after."""


class Ledger:
    """The provider's bill for one call, beside what LiteLLM charged its user."""

    def __init__(self, proxy: Proxy, bill: str, asked: Asked) -> None:
        self.proxy = proxy
        self.user = proxy.wallet(1_000)
        self.key = proxy.key(self.user, max_budget=1_000)
        httpx.delete(bill)
        asked.send(proxy, self.key)
        self.billed_micros = int(httpx.get(bill).json()["total_micros"])

    def spent_micros(self) -> int:
        return round(self.proxy.spend(self.user) * 1_000_000)


@pytest.fixture(scope="module")
def bill(env: dict[str, str]) -> str:
    return f"{env['PROVIDER_BASE_URL']}/sandbox/bill"


@pytest.fixture(scope="module")
def charged(proxy: Proxy, bill: str) -> dict[str, Ledger]:
    """All calls made one after the other, so that their spend is written while the next are made."""
    return {asked.name: Ledger(proxy, bill, asked) for asked in CHARGED}


@pytest.fixture(scope="module")
def undercharged(proxy: Proxy, bill: str) -> dict[str, Ledger]:
    """The same, each followed by a call for a dollar, whose spend is written last."""
    made = {asked.name: Ledger(proxy, bill, asked) for asked in UNDERCHARGED}
    for ledger in made.values():
        assert proxy.call(ledger.key, "live-large", {"max_tokens": 496}).status_code == 200
    return made


@pytest.mark.parametrize("asked", CHARGED, ids=str)
def test_litellm_charges_what_the_provider_bills(charged: dict[str, Ledger], asked: Asked) -> None:
    ledger = charged[asked.name]
    billed = ledger.billed_micros
    assert eventually(lambda: ledger.spent_micros() == billed), (ledger.spent_micros(), billed)
    assert (billed > 0) is (asked.body["model"] not in ("live-free", "live-moderate"))


@pytest.mark.parametrize("asked", UNDERCHARGED, ids=str)
def test_the_bill_shows_what_litellm_charges_too_little_for(
    undercharged: dict[str, Ledger], asked: Asked
) -> None:
    ledger = undercharged[asked.name]
    assert eventually(lambda: ledger.spent_micros() >= 1_000_000)
    assert ledger.spent_micros() - 1_000_000 < ledger.billed_micros


def test_a_wallet_below_the_models_ceiling_is_refused_before_the_provider_works(
    proxy: Proxy, bill: str
) -> None:
    """The configuration has the prices and ceilings where LiteLLM reserves by them."""
    key = proxy.key(proxy.wallet(0.08))
    httpx.delete(bill)
    answer = proxy.call(key, "live-small", {"max_tokens": None})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "budget_exceeded")
    assert httpx.get(bill).json()["calls"] == []
