"""What the provider's models cost and how much they generate: the one place where prices stand.

Prices are whole micro-dollars per unit, so that a bill has no fractions. A price's name is LiteLLM's name for
it with `micros` for `cost`; `dev/litellm/config.yaml` repeats the prices, and a test compares the two.
"""

from dataclasses import dataclass, field, replace
from typing import Final

LONG_TOKENS: Final = 200_000
"""Above so many tokens of input, a model with prices for it charges all of a call by those."""

TIERS: Final = {"default": (1, 1), "auto": (1, 1), "flex": (1, 2), "priority": (2, 1)}
"""The service tiers and what they multiply a token's price by, as numerator and denominator."""

SEARCH_MICROS: Final = 25_000
"""What each use of a hosted tool, such as web search, costs beside the tokens."""


@dataclass(frozen=True)
class Price:
    """Micro-dollars per unit; None where the unit costs nothing or what plain tokens cost."""

    input_micros_per_token: int = 0
    output_micros_per_token: int = 0
    input_micros_per_token_above_200k_tokens: int | None = None
    output_micros_per_token_above_200k_tokens: int | None = None
    cache_read_input_token_micros: int | None = None
    cache_creation_input_token_micros: int | None = None
    input_micros_per_audio_token: int | None = None
    output_micros_per_reasoning_token: int | None = None
    input_micros_per_token_flex: int | None = None
    output_micros_per_token_flex: int | None = None
    input_micros_per_token_priority: int | None = None
    output_micros_per_token_priority: int | None = None
    input_micros_per_character: int | None = None
    input_micros_per_second: int | None = None
    input_micros_per_query: int | None = None
    output_micros_per_image: int | None = None


@dataclass(frozen=True)
class Model:
    """One model: what it is for, what it costs, how much it reads and generates at most (in tokens)."""

    mode: str
    price: Price
    input_tokens: int = 1_000_000
    output_tokens: int = 4_500
    name: str = field(default="")


SMALL: Final = Price(input_micros_per_token=10, output_micros_per_token=20)
LARGE: Final = Price(input_micros_per_token=1_000, output_micros_per_token=2_000)

_MODELS: Final = {
    "live-small": Model("chat", SMALL),
    "live-large": Model("chat", LARGE),
    "live-free": Model("chat", Price()),
    "live-azure": Model("chat", SMALL),
    "live-unbounded": Model("chat", SMALL, output_tokens=400_000),
    "live-long": Model(
        "chat",
        replace(
            SMALL,
            input_micros_per_token_above_200k_tokens=1_000,
            output_micros_per_token_above_200k_tokens=2_000,
        ),
    ),
    "live-cached": Model(
        "chat",
        replace(SMALL, cache_read_input_token_micros=1, cache_creation_input_token_micros=100),
    ),
    "live-audio": Model("chat", replace(SMALL, input_micros_per_audio_token=500)),
    "live-reason": Model("chat", replace(SMALL, output_micros_per_reasoning_token=60)),
    "live-tiered": Model(
        "chat",
        replace(
            SMALL,
            input_micros_per_token_flex=5,
            output_micros_per_token_flex=10,
            input_micros_per_token_priority=20,
            output_micros_per_token_priority=40,
        ),
    ),
    "gpt-4o-mini": Model("chat", SMALL),
    "live-claude": Model("chat", SMALL),
    "live-params": Model("chat", SMALL),
    "live-complete": Model("completion", SMALL),
    "live-embed": Model("embedding", Price(input_micros_per_token=10)),
    "live-image": Model("image_generation", Price(output_micros_per_image=3_000_000)),
    "live-zero-image": Model("image_generation", Price(output_micros_per_image=3_000_000)),
    "tts-1-hd": Model("audio_speech", Price(input_micros_per_character=30)),
    "tts-1": Model("audio_speech", Price(input_micros_per_character=1_000)),
    "live-transcribe": Model("audio_transcription", Price(input_micros_per_second=1_000_000)),
    "live-rerank": Model("rerank", Price(input_micros_per_query=500_000)),
    "live-moderate": Model("moderation", Price()),
}

MODELS: Final = {name: replace(model, name=name) for name, model in _MODELS.items()}
"""The models by the name that the provider knows them by, which is not always LiteLLM's public name."""
