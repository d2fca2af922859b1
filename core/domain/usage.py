"""What was used by day, model and key; and what a call would use, estimated."""

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Figures:
    """Calls that were answered, their tokens, and what they cost."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    spend_micros: int = 0

    def __add__(self, other: Self) -> "Figures":
        return Figures(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.spend_micros + other.spend_micros,
        )

    def less(self, other: "Figures") -> "Figures":
        """What is left of these beside the others; never below 0."""
        return Figures(
            max(0, self.requests - other.requests),
            max(0, self.prompt_tokens - other.prompt_tokens),
            max(0, self.completion_tokens - other.completion_tokens),
            max(0, self.spend_micros - other.spend_micros),
        )


@dataclass(frozen=True, slots=True)
class UsedDay:
    """What one key used of one model on one day (UTC); ``key_hash`` empty: nobody tells which key."""

    day: date
    model: str
    key_hash: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class KeySpend:
    """What a key string has spent of its cap, when that begins anew, and when LiteLLM last changed it."""

    key_hash: str
    spend_micros: int
    resets_at: datetime | None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ToRoll:
    """An account whose days are ours to read from ``since`` on, because ``booked_micros`` is new."""

    user_id: str
    since: date
    booked_micros: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a call would cost. Either ``prompt`` or ``messages``; never kept, never logged."""

    user_id: str
    model: str
    prompt: str | None
    messages: tuple[dict[str, str], ...] | None
    completion_tokens: int
    told_micros: int | None = None
    """What the call's own response headers said that it cost."""

    @property
    def characters(self) -> int:
        texts = [self.prompt or "", *(one["content"] for one in self.messages or ())]
        return sum(len(text) for text in texts)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens and micro-dollars, and where each comes from."""

    prompt_tokens: int
    completion_tokens: int
    spend_micros: int
    tokens_from: Literal["litellm", "flat"]
    cost_from: Literal["litellm", "headers", "flat"]
    cached: bool = False

    @property
    def is_rough(self) -> bool:
        """Whether its cost is a guess: a flat rate knows nothing of the model and may be far too low."""
        return self.cost_from == "flat"


@dataclass(frozen=True, slots=True)
class FlatRate:
    """What is assumed where nobody can be asked."""

    characters_per_token: float
    micros_per_1000_tokens: int

    def tokens(self, characters: int) -> int:
        return math.ceil(characters / self.characters_per_token)

    def micros(self, tokens: int) -> int:
        return math.ceil(tokens * self.micros_per_1000_tokens / 1000)
