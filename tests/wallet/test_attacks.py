"""Ways to get more than the wallet holds: each is refused or bounded with the guard, and works without it.

The attacks without the guard are the control: they show that the attack is one, and that the bill sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.world import until
from tests.wallet.audit import Account, Attacked, Audit
from tests.wallet.by_hand import by_hand
from tests.wallet.customers import WALLET_MICROS
from tests.wallet.filling import Json
from tests.wallet.site import Site

CHAT = "/v1/chat/completions"
LARGE: Json = {"model": "live-large", "messages": [{"role": "user", "content": "Hi"}]}
SMALL: Json = {**LARGE, "model": "live-small"}
WORK = 4500
"""Output tokens of one call, $9 of `live-large`."""


def silence(seconds: int) -> bytes:
    """A WAV of so many seconds, one byte a second."""
    head = b"RIFF" + (36 + seconds).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(number.to_bytes(size, "little") for number, size in ((1, 2), (1, 2), (1, 4), (1, 4), (1, 2), (8, 2)))
    return head + form + b"data" + seconds.to_bytes(4, "little") + b"\x80" * seconds


@dataclass(frozen=True)
class Attack:
    """Requests sent at once with one key. ``names`` is the field that a refusal must name: none may be answered
    then. ``overspends``: without the guard it costs more than the wallet. ``unpaid``: without it the provider
    does work that LiteLLM doesn't charge for what it cost."""

    what: str
    requests: Sequence[Json]
    path: str = CHAT
    names: str | None = None
    overspends: bool = True
    opens: dict[str, list[str]] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.what


def times(count: int, body: Json, **more: Any) -> list[Json]:
    return [{"json": body, **more}] * count


ATTACKS = (
    Attack("a limit inside extra_body", times(20, {**LARGE, "max_tokens": 1, "extra_body": {"max_tokens": WORK}}), names="extra_body"),
    Attack("two limits, the lower one first", times(10, {**LARGE, "max_completion_tokens": 1, "max_tokens": WORK})),
    Attack("more choices inside extra_body", times(10, {**LARGE, "max_tokens": 40, "extra_body": {"n": 100}}), names="extra_body"),
    Attack("the default rates of a key", times(10, {**LARGE, "max_tokens": 1, "extra_body": {"max_tokens": WORK}}), names="extra_body", limits={"rpm_limit": 100, "tpm_limit": 10_000}),
    Attack("ten pictures at once", times(1, {"model": "live-image", "prompt": "x", "n": 10}), path="/v1/images/generations", opens={"images": ["live-image"]}),
    Attack("ten times a picture", times(10, {"model": "live-image", "prompt": "x"}), path="/v1/images/generations", opens={"images": ["live-image"]}),
    Attack("six minutes of sound at once", [{"data": {"model": "live-transcribe"}, "files": {"file": ("a.wav", silence(6))}}] * 6, path="/v1/audio/transcriptions", opens={"transcriptions": ["live-transcribe"]}),
    Attack("speech above the cap of a key", times(100, {"model": "live-speech", "input": "x" * 120, "voice": "alloy"}), path="/v1/audio/speech", opens={"speech": ["live-speech"]}),
    Attack("a model in the address", times(10, {**SMALL, "max_tokens": WORK}, params={"model": "live-large"}), names="model"),
    Attack("a limit that LiteLLM is told to drop", times(10, {**LARGE, "max_tokens": 1, "additional_drop_params": ["max_tokens"]}), names="additional_drop_params"),
    Attack("a model without max_output_tokens", times(10, {**LARGE, "model": "live-unbounded", "max_tokens": 400_000}), names="live-unbounded"),
    Attack("a list of models", times(3, {**LARGE, "model": ",".join(["live-large"] * 30), "max_tokens": 1000}), names="model"),
    Attack("a prompt above the step of a price", times(3, {**LARGE, "model": "live-long", "messages": [{"role": "user", "content": "word " * 210_000}], "max_tokens": 1})),
    Attack("five hundred prompts", times(10, {"model": "live-large", "prompt": ["x"] * 500, "max_tokens": 10}), path="/v1/completions"),
    Attack("a price for the service tier", times(10, {**LARGE, "max_tokens": 1, "service_tier": "priority"}), names="service_tier", overspends=False),
    Attack("a hosted tool", times(10, {**LARGE, "max_tokens": 1, "tools": [{"type": "web_search"}]}), names="tools", overspends=False),
    Attack("another deployment", times(10, {**LARGE, "max_tokens": 1, "deployment_id": "o1-pro"}), names="deployment_id", overspends=False),
    Attack("a field that nobody knows", times(10, {**LARGE, "max_tokens": 1, "min_new_tokens": WORK}), names="min_new_tokens", overspends=False),
    Attack("retries and fallbacks", times(1, {**SMALL, "messages": [{"role": "user", "content": "[delay 1]"}], "timeout": 0.2, "num_retries": 5, "fallbacks": ["live-large", "live-small"]}), names="timeout", overspends=False),
    Attack("retries in headers", times(1, SMALL, headers={"x-litellm-timeout": "0.3", "x-litellm-num-retries": "5"}), names="x-litellm-timeout", overspends=False),
)


def audit_of(site: Site, attack: Attack) -> Audit:
    opens, limits = attack.opens, attack.limits
    return Audit(site, by_hand(site, opens, **limits), at_once=len(attack.requests))


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_with_the_guard_an_attack_is_refused_or_paid_for(site: Site, attack: Attack) -> None:
    audit = audit_of(site, attack)
    attacked = audit.attack(attack.path, attack.requests)
    assert attacked.wrong(attack.names or "") == []
    if attack.names:
        assert {one.status_code for one in attacked.answers} == {400}, attacked.answers[0].text
    paid_for(site, attacked.account)


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.overspends], ids=str)
def test_without_the_guard_the_attack_overspends(unguarded: Site, attack: Attack) -> None:
    attacked = audit_of(unguarded, attack).attack(attack.path, attack.requests)
    assert attacked.account.billed_micros > WALLET_MICROS, [one.text[:200] for one in attacked.answers]


def paid_for(site: Site, account: Account) -> None:
    until(lambda: site.user(account.customer.id)["spend_micros"] == account.billed_micros, seconds=20, what="spend = bill")
