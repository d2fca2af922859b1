"""Ways to get more than the wallet holds, or work for nothing, by plain calls of the open routes."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.wallet.audit import Attacked, Audit
from tests.wallet.by_hand import by_hand
from tests.wallet.customers import WALLET_MICROS
from tests.wallet.filling import Json, silence
from tests.wallet.site import Site

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
WORK = 4500
"""Output tokens of one call: $9 of `live-large`."""


@dataclass(frozen=True)
class Attack:
    """Requests sent with one key, so many at once.

    ``names`` is what a refusal must name, and then none may be answered; None where some are answered and
    paid for. ``overspends``: without the guard the bill exceeds ``most_micros``. ``opens`` are routes that an
    operator opened, with their models; ``limits`` are the key's.
    """

    what: str
    requests: Sequence[Json]
    path: str = CHAT
    names: str | None = None
    status: int = 400
    at_once: int = 20
    overspends: bool = True
    most_micros: int = WALLET_MICROS
    opens: Mapping[str, list[str]] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.what

    def on(self, site: Site) -> Attacked:
        """Attack with a new account's key."""
        customers = by_hand(site, self.opens, **self.limits)
        audit = Audit(site, customers, at_once=self.at_once, wallet_micros=self.most_micros)
        return audit.attack(self.path, self.requests)


def times(count: int, body: Json, **more: Any) -> list[Json]:
    return [{"json": body, **more}] * count


def chat(text: str = "Hi", *, model: str = "live-large", max_tokens: int = 1, **more: Any) -> Json:
    return {"model": model, "messages": said(text), "max_tokens": max_tokens, **more}


def said(content: object) -> list[Json]:
    return [{"role": "user", "content": content}]


def pictures(count: int, model: str, choices: int = 1) -> list[Json]:
    return times(count, {"model": model, "prompt": "x", "n": choices})


def prompts(count: int, words: int, model: str) -> list[Json]:
    """Long prompts, no two alike: the provider reads none from its cache."""
    return [{"json": chat(f"{uuid4()} " + "word " * words, model=model)} for _ in range(count)]


def sound(seconds: int) -> Json:
    data = b64encode(silence(seconds)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def pdf(size: int) -> Json:
    data = "data:application/pdf;base64," + b64encode(b"%PDF-1.4" + b"x" * size).decode()
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}


def faults(attack: Attack, attacked: Attacked) -> list[str]:
    """What went wrong although it must not: none where the wallet held and each refusal said why."""
    found = attacked.wrong
    if attack.names and attacked.statuses != {attack.status: len(attack.requests)}:
        found.append(f"not refused: {attacked.statuses}")
    elif attack.names and not all(attack.names in one.text for one in attacked.answers):
        found.append(f"a refusal does not name {attack.names}")
    return found


HIDDEN = chat(extra_body={"max_tokens": WORK})
SPEECH = {"model": "live-speech", "input": "x" * 120, "voice": "alloy"}
ATTACKS = (
    # What LiteLLM's reservation doesn't see.
    Attack("a limit inside extra_body", times(20, HIDDEN), names="extra_body"),
    Attack(
        "the same with a key's default rates",
        times(20, HIDDEN),
        names="extra_body",
        limits={"rpm_limit": 100, "tpm_limit": 10_000},
    ),
    Attack(
        "two limits, the lower one first",
        times(10, chat(max_tokens=WORK, max_completion_tokens=1)),
        names="max_",
    ),
    Attack(
        "choices inside extra_body", times(10, chat(max_tokens=40, extra_body={"n": 100})), names="extra_body"
    ),
    Attack(
        "a limit that LiteLLM is to drop",
        times(10, chat(additional_drop_params=["max_tokens"])),
        names="additional_drop_params",
    ),
    Attack(
        "another model in the address",
        times(10, chat(model="live-small", max_tokens=WORK), params={"model": "live-large"}),
        names="model",
    ),
    Attack(
        "fifteen models in one name",
        times(3, chat(model=",".join(["live-large"] * 15), max_tokens=1000)),
        names="model",
    ),
    Attack(
        "a model without a ceiling",
        times(10, chat(model="live-unbounded", max_tokens=400_000)),
        names="live-unbounded",
    ),
    Attack(
        "five hundred prompts",
        times(10, {"model": "live-large", "prompt": ["x"] * 500, "max_tokens": 10}),
        COMPLETIONS,
    ),
    Attack("prompts above the step of a price", prompts(3, 210_000, "live-long")),
    Attack("prompts that are written to a cache", prompts(10, 20_000, "live-cached")),
    Attack(
        "sound in a prompt",
        times(10, chat(model="live-audio") | {"messages": said([sound(60)])}),
        overspends=False,
    ),
    Attack("a file in a prompt", times(10, chat() | {"messages": said([pdf(930_000)])})),
    # What LiteLLM reserves nothing for.
    Attack(
        "ten pictures in one call",
        pictures(1, "live-image", 10),
        "/v1/images/generations",
        opens={"images": ["live-image"]},
    ),
    Attack(
        "ten times a picture",
        pictures(10, "live-image"),
        "/v1/images/generations",
        opens={"images": ["live-image"]},
    ),
    Attack(
        "pictures of a model whose tokens are free",
        pictures(7, "live-zero-image"),
        "/v1/images/generations",
        opens={"images": ["live-zero-image"]},
    ),
    Attack(
        "six times six seconds of sound",
        [{"data": {"model": "live-transcribe"}, "files": {"file": ("a.wav", silence(6))}}] * 6,
        "/v1/audio/transcriptions",
        opens={"transcriptions": ["live-transcribe"]},
    ),
    Attack(
        "speech above a key's cap",
        times(10, SPEECH),
        "/v1/audio/speech",
        most_micros=10_000,
        opens={"speech": ["live-speech"]},
        limits={"max_budget": 0.01},
    ),
    Attack(
        "searches",
        times(30, {"model": "live-rerank", "query": "x", "documents": ["x"]}),
        "/v1/rerank",
        opens={"rerank": ["live-rerank"]},
    ),
    Attack(
        "answers in the background",
        times(20, {"model": "live-large", "input": "Hi", "max_output_tokens": WORK, "background": True}),
        "/v1/responses",
        names="background",
        at_once=1,
        opens={"responses": ["live-large"]},
    ),
    # What is the operator's to say.
    Attack(
        "a service tier", times(10, chat(service_tier="priority")), names="service_tier", overspends=False
    ),
    Attack(
        "a tool of the provider's",
        times(10, chat(tools=[{"type": "web_search"}])),
        names="tools",
        overspends=False,
    ),
    Attack(
        "another deployment", times(10, chat(deployment_id="o1-pro")), names="deployment_id", overspends=False
    ),
    Attack(
        "a field that nobody knows",
        times(10, chat(min_new_tokens=WORK)),
        names="min_new_tokens",
        overspends=False,
    ),
    Attack(
        "headers for the provider", times(10, chat(headers={"x-a": "b"})), names="headers", overspends=False
    ),
    Attack("a key for the provider", times(10, chat(api_key="sk-mine")), names="api_key", overspends=False),
    Attack(
        "retries and fallbacks",
        times(1, chat("[delay 1]", model="live-small", timeout=0.2, num_retries=5, fallbacks=["live-large"])),
        names="timeout",
        overspends=False,
    ),
    Attack(
        "retries in headers",
        times(
            1,
            chat("[delay 1]", model="live-small"),
            headers={"x-litellm-timeout": "0.3", "x-litellm-num-retries": "5"},
        ),
        names="x-litellm-timeout",
        overspends=False,
    ),
    Attack(
        "a price that LiteLLM does not charge",
        times(3, SPEECH | {"model": "live-speech-own"}),
        "/v1/audio/speech",
        names="live-speech-own",
        status=403,
        overspends=False,
        opens={"speech": ["live-speech"]},
    ),
    Attack(
        "a model that was not proved for its route",
        times(3, SPEECH),
        "/v1/audio/speech",
        names="route",
        status=403,
        overspends=False,
        opens={"speech": []},
    ),
)
