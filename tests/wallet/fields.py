"""What a request may carry beside what a route needs: fields, headers, parameters, each with odd values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.wallet.routes import Installed

Json = dict[str, Any]
Place = Literal["body", "header", "query"]

TOKENS = 4500
"""What a model generates at most, which is $9 of `live-large`: two such calls exceed a wallet."""

LARGE: Json = {"max_tokens": TOKENS, "max_completion_tokens": TOKENS, "n": 2, "model": "live-large"}
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of")
ODD = (LARGE, TOKENS, list(LIMITS[:3]), 0, -1, 0.5, str(TOKENS), [LARGE], None, True)
"""Nested, large, names of limits; zero, negative, fractional, text for a number, a list, null, true."""

TEXTS = ("live-large", "0.3", "5", "true", '{"max_tokens": 4500}', "\u00e9", "")
"""Values of headers and of parameters in the address."""

ESPECIALLY: Mapping[str, tuple[Any, ...]] = {
    "model": (
        "live-large,live-large,live-large",
        ["live-large", "live-large"],
        {"model": "live-large"},
        "openai/live-large",
        "live-unbounded",
        "LIVE-LARGE",
        "live-*",
        "*",
    ),
    "messages": (
        "text",
        [],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    ),
    "prompt": ([["a"] * 500], ["a"] * 500, [[1] * 500] * 20, [1, 2, 3]),
    "input": (["a"] * 500, [[1] * 500] * 20),
    "fallbacks": (["live-large"], [{"live-large": ["live-large"]}]),
    "tools": ([{"type": "web_search"}], [{"type": "code_interpreter", "container": {"type": "auto"}}]),
    "stream_options": ({"include_usage": False},),
    "metadata": ({"tags": ["x"], "user_api_key_user_id": "x"},),
    "deployment_id": ("o1-pro", "live-large"),
    "service_tier": ("priority", "flex"),
    "prediction": ({"type": "content", "content": "word " * 4500},),
    "cache": ({"no-store": True, "no-cache": True},),
    "modalities": (["text", "audio"],),
    "audio": ({"voice": "alloy", "format": "wav"},),
    "web_search_options": ({"search_context_size": "high"},),
    "response_format": ({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},),
    "mock_response": ("free",),
    "api_base": ("http://127.0.0.1:9",),
    "user": ("x" * 10_000,),
}
"""Values that mean something to one field alone."""

BY_HAND = (
    *LIMITS,
    *("stream", "extra_body", "extra_headers", "extra_query", "drop_params", "no-log", "user_config"),
    *("api_base", "base_url", "api_key", "model_info", "litellm_params", "deployment_id", "timeout"),
    *(
        "max_tokens_to_sample",
        "max_new_tokens",
        "min_new_tokens",
        "num_predict",
        "generationConfig",
        "num_ctx",
    ),
    *("inferenceConfig", "thinking", "reasoning", "budget_tokens", "candidateCount", "num_generations"),
    *("safety_settings", "provider", "plugins", "transforms", "route", "models", "options", "parameters"),
)
"""What LiteLLM or a provider takes without naming it where we look, and the token fields of other vendors."""

INVENTED = ("x", "maxTokens", "max_tokens ", "MAX_TOKENS", "max-tokens", "__class__", "$ref", "a.b", "é", "")

HEADERS = (
    *("openai-organization", "openai-project", "openai-beta", "anthropic-beta", "x-api-key", "api-key"),
    *(
        "x-goog-api-key",
        "helicone-auth",
        "x-pass-authorization",
        "langfuse_host",
        "x-openai-model",
        "x-stainless-timeout",
    ),
)
QUERY = (
    *("model", "max_tokens", "n", "deployment_id", "api-version", "api_version", "call_endpoint", "timeout"),
    *("user", "key", "api_key", "stream", "fallbacks", "extra_body", "tags", "litellm_params", "x"),
)


@dataclass(frozen=True)
class Addition:
    """One thing added to an honest request."""

    place: Place
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.place} {self.name!r}: {str(self.value)[:60]!r}"

    def request(self, body: Json) -> Json:
        """As keyword arguments."""
        if self.place == "body":
            return {"json": {**body, self.name: self.value}}
        if self.place == "header":
            return {"json": body, "headers": {self.name: self.value.encode()}}
        return {"json": body, "params": {self.name: self.value}}


Volley = list[Addition]
"""What is sent at once."""


def volleys(known: Installed, route: str, *, thorough: bool) -> Iterator[Volley]:
    """Everything that the field census tries on a route.

    What the provider documents, what clients are known to try, and all of the address are tried with every
    value, name by name. Of the hundreds of names that LiteLLM's source reads, ``thorough`` does the same;
    otherwise each gets a few values on chat and one elsewhere, ten names at once.
    """
    told = tuple(dict.fromkeys((*known.documented[route], *BY_HAND, *INVENTED)))
    yield from ([Addition("body", name, value) for value in values_of(name)] for name in told)
    yield from ([Addition("query", name, value) for value in TEXTS] for name in (*QUERY, *LIMITS))
    read = [name for name in known.fields if name not in told]
    headers = dict.fromkeys((*HEADERS, *known.headers))
    if thorough:
        yield from ([Addition("body", name, value) for value in values_of(name)] for name in read)
        yield from ([Addition("header", name, value) for value in TEXTS] for name in headers)
    else:
        few = 3 if route == "chat" else 1
        fields = [Addition("body", name, value) for name in read for value in values_of(name)[:few]]
        yield from batches(
            fields + [Addition("header", name, value) for name in headers for value in TEXTS[:few]]
        )


def values_of(name: str) -> tuple[Any, ...]:
    return (*ESPECIALLY.get(name, ()), *ODD)


def batches(additions: Sequence[Addition], size: int = 10) -> Iterator[Volley]:
    yield from (list(additions[start : start + size]) for start in range(0, len(additions), size))
