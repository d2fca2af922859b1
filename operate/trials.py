"""One call of each route that needs a proof: what is asked, and what it costs by the operator's prices."""

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from core.domain.models import Model

Json = Mapping[str, Any]
IMAGES = 2  # more than one, or a price that is not multiplied would go unnoticed
SECONDS = 2
SAMPLES = 8000  # a second
TEXT = "Keyfund asks how much this costs."
TOKENS = 16
MOST_INPUT_TOKENS = 200  # far more than TEXT has, with all that is put around it


@dataclass(frozen=True, slots=True)
class Trial:
    """``request`` is what httpx sends. ``dollars`` is the price by the answer, ``most_dollars`` before it."""

    mode: str | None
    path: str
    request: Callable[[str], dict[str, Any]]
    dollars: Callable[[Model, httpx.Response], float]
    most_dollars: Callable[[Model], float]
    whole: bool = False
    """Proved as a route, not for each model."""


def wav(seconds: int = SECONDS) -> bytes:
    """Silence: PCM, one channel of 16 bits."""
    data = bytes(2 * SAMPLES * seconds)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLES, 2 * SAMPLES, 2, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _units(model: Model, *units: str) -> float:
    return sum(model.prices.get(unit, 0.0) for unit in units)


def _fixed(
    mode: str, path: str, request: Callable[[str], dict[str, Any]], amount: float, *units: str
) -> Trial:
    """A route whose price is known before the call: an amount of a unit."""
    return Trial(
        mode,
        path,
        request,
        lambda model, _: amount * _units(model, *units),
        lambda model: amount * _units(model, *units),
    )


def _tokens(usage: Json, *names: str) -> float:
    return float(next((usage[name] for name in names if isinstance(usage.get(name), int)), 0))


def _by_tokens(model: Model, answer: httpx.Response) -> float:
    usage = answer.json().get("usage") or {}
    return _tokens(usage, "input_tokens", "prompt_tokens") * model.prices.get(
        "input_cost_per_token", 0.0
    ) + _tokens(usage, "output_tokens", "completion_tokens") * model.prices.get("output_cost_per_token", 0.0)


def _most_by_tokens(model: Model) -> float:
    return MOST_INPUT_TOKENS * model.input_price + TOKENS * model.output_price


def _json(**body: Any) -> Callable[[str], dict[str, Any]]:
    return lambda model: {"json": {"model": model, **body}}


TRIALS: Mapping[str, Trial] = {
    "images": _fixed(
        "image_generation",
        "/v1/images/generations",
        _json(prompt="A grey square.", n=IMAGES),
        IMAGES,
        "input_cost_per_image",
        "output_cost_per_image",
    ),
    "speech": _fixed(
        "audio_speech",
        "/v1/audio/speech",
        _json(input=TEXT, voice="alloy"),
        len(TEXT),
        "input_cost_per_character",
    ),
    "transcriptions": _fixed(
        "audio_transcription",
        "/v1/audio/transcriptions",
        lambda model: {
            "data": {"model": model},
            "files": {"file": ("keyfund.wav", io.BytesIO(wav()), "audio/wav")},
        },
        SECONDS,
        "input_cost_per_second",
        "output_cost_per_second",
    ),
    "rerank": _fixed(
        "rerank",
        "/v1/rerank",
        _json(query="Which is a colour?", documents=["grey", "seven"], top_n=1),
        1,
        "input_cost_per_query",
    ),
    "moderations": Trial("moderation", "/v1/moderations", _json(input=TEXT), _by_tokens, _most_by_tokens),
    "responses": Trial(
        "chat",
        "/v1/responses",
        _json(input=TEXT, max_output_tokens=TOKENS),
        _by_tokens,
        _most_by_tokens,
        whole=True,
    ),
    "messages": Trial(
        "chat",
        "/v1/messages",
        _json(messages=[{"role": "user", "content": TEXT}], max_tokens=TOKENS),
        _by_tokens,
        _most_by_tokens,
        whole=True,
    ),
}
"""By the route's name. Chat, completions and embeddings need no proof."""


def fits(trial: Trial, model: Model) -> bool:
    return model.generates if trial.mode == "chat" else model.mode == trial.mode
