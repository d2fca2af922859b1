"""How the provider counts tokens, and the text that it generates.

A word is a token for every sixteen characters that it has begun. LiteLLM counts plain English words alike,
and others higher: what it reserves for a prompt covers what the prompt is billed for.
"""

from collections.abc import Iterator
from typing import Final

WORD_CHARACTERS: Final = 16
MESSAGE_TOKENS: Final = 3
"""What a message counts for beside its role and text; once more for what begins the answer, as at LiteLLM."""


def count(text: str) -> int:
    """The tokens of a text."""
    return sum(-(-len(word) // WORD_CHARACTERS) for word in text.split())


def words(tokens: int) -> str:
    """A text of exactly so many tokens."""
    return " ".join(["word"] * tokens)


def pieces(tokens: int, visible_tokens: int, most: int = 20) -> Iterator[tuple[int, str]]:
    """The text of `visible_tokens` in at most so many pieces, each with its tokens; the rest comes first."""
    size = max(1, -(-visible_tokens // most))
    hidden = tokens - visible_tokens
    for start in range(0, visible_tokens, size):
        length = min(size, visible_tokens - start)
        yield hidden * (start == 0) + length, (" " if start else "") + words(length)
