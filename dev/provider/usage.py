"""What one call used, in tokens, and what that costs: for the answer's `usage` and for the bill alike."""

from dataclasses import asdict, dataclass, replace
from typing import Self

from dev.provider.price import LONG_TOKENS, SEARCH_MICROS, TIERS, Model, Price
from dev.provider.refusal import JsonObject


@dataclass(frozen=True)
class Usage:
    """Tokens of a call. Cached, written and audio tokens are among the input, reasoning among the output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    audio_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    rejected_tokens: int = 0
    searches: int = 0

    def generated(self, output_tokens: int) -> Self:
        """The same with another output: what a stream has come to."""
        reasoning = min(self.reasoning_tokens, output_tokens)
        return replace(self, output_tokens=output_tokens, reasoning_tokens=reasoning)

    def told(self) -> dict[str, int]:
        """What of it is not zero, for the bill."""
        return {name: count for name, count in asdict(self).items() if count}

    def chat(self) -> JsonObject:
        """As `usage` of chat, completions and embeddings."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": self._input_details() | {"audio_tokens": self.audio_tokens},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": self.rejected_tokens,
            },
        }

    def responses(self) -> JsonObject:
        """As `usage` of responses."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "cache_write_tokens": self.written_tokens,
            },
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    def messages(self) -> JsonObject:
        """As `usage` of messages, whose `input_tokens` leave cached and written ones out."""
        return {
            "input_tokens": self.input_tokens - self.cached_tokens - self.written_tokens,
            "cache_creation_input_tokens": self.written_tokens,
            "cache_read_input_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
        }

    def _input_details(self) -> JsonObject:
        written = {"cache_write_tokens": self.written_tokens} if self.written_tokens else {}
        return {"cached_tokens": self.cached_tokens, **written}


def cost_micros(model: Model, usage: Usage, tier: str = "default") -> int:
    """What a call costs: tokens by kind at the prices of its length, times the tier, plus hosted tools."""
    price = model.price
    above, below = TIERS[tier]
    long = usage.input_tokens > LONG_TOKENS
    tokens = _input_micros(price, usage, long) + _output_micros(price, usage, long)
    return tokens * above // below + usage.searches * SEARCH_MICROS


def _input_micros(price: Price, usage: Usage, long: bool) -> int:
    each = _first(
        price.input_micros_per_token_above_200k_tokens if long else None, price.input_micros_per_token
    )
    plain = usage.input_tokens - usage.cached_tokens - usage.written_tokens - usage.audio_tokens
    return (
        plain * each
        + usage.cached_tokens * _first(price.cache_read_input_token_micros, each)
        + usage.written_tokens * _first(price.cache_creation_input_token_micros, each)
        + usage.audio_tokens * _first(price.input_micros_per_audio_token, each)
    )


def _output_micros(price: Price, usage: Usage, long: bool) -> int:
    each = _first(
        price.output_micros_per_token_above_200k_tokens if long else None, price.output_micros_per_token
    )
    reasoning = _first(price.output_micros_per_reasoning_token, each)
    return (usage.output_tokens - usage.reasoning_tokens) * each + usage.reasoning_tokens * reasoning


def _first(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price
