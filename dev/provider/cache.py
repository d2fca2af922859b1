"""The prompt cache: a long prompt that came before is read from it, a new one is written to it."""

import hashlib
from dataclasses import replace
from typing import Final

from dev.provider.price import Model
from dev.provider.usage import Usage

LEAST_TOKENS: Final = 1_024
"""Shorter prompts are not cached, as at OpenAI."""


def read(prompts: set[str], model: Model, text: str, usage: Usage) -> Usage:
    """The usage with the prompt's text counted as read from the cache, or as written to it."""
    if model.price.cache_read_input_token_micros is None or usage.input_tokens < LEAST_TOKENS:
        return usage
    name = hashlib.sha256(f"{model.name}\n{text}".encode()).hexdigest()
    tokens = usage.input_tokens - usage.audio_tokens
    if name in prompts:
        return replace(usage, cached_tokens=tokens)
    prompts.add(name)
    return replace(usage, written_tokens=tokens)
