"""Calls of somebody with a wallet of ten dollars, and what the guard must make of each."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any


def priced(name: str, *, mode: Json = None, most: Json = 4500, params: Json = None, **prices: Json) -> Json:
    """A model as LiteLLM's configuration has it. Prices in dollars by LiteLLM's names."""
    info = {"mode": mode, "max_output_tokens": most, "max_input_tokens": 8000, **prices}
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", "api_key": "none", **(params or {})},
        "model_info": {name: value for name, value in info.items() if value is not None},
    }


TOKENS: dict[str, Json] = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}
MODELS = [
    priced("large", **TOKENS),
    priced("moved", params=TOKENS),
    priced("small", input_cost_per_token=0.00001, output_cost_per_token=0.00002),
    priced("free", input_cost_per_token=0, output_cost_per_token=0),
    priced("unbounded", most=None, **TOKENS),
    priced("unpriced"),
    priced(
        "steps",
        input_cost_per_token=0.00001,
        input_cost_per_token_above_200k_tokens=0.0001,
        output_cost_per_token=0.00002,
        output_cost_per_token_above_200k_tokens=0.0002,
    ),
    priced("live", mode="realtime", **TOKENS),
    priced("thinker", **TOKENS, output_cost_per_reasoning_token=0.004),
    priced("timed", **TOKENS, output_cost_per_second=1),
    priced("drawn", input_cost_per_token=0, output_cost_per_token=0, output_cost_per_image=3),
    priced(
        "cached",
        **TOKENS,
        cache_creation_input_token_cost=0.01,
        cache_creation_input_token_cost_above_1hr=0.02,
    ),
    priced("seer", **TOKENS, input_cost_per_image=0.5),
    priced("listener", **TOKENS, input_cost_per_audio_per_second=1),
    priced("tiered", **TOKENS, input_cost_per_token_priority=0.1, output_cost_per_token_priority=0.2),
    priced(
        "hurried",
        params={"service_tier": "priority"},
        **TOKENS,
        input_cost_per_token_priority=0.1,
        output_cost_per_token_priority=0.2,
    ),
    priced("falls", input_cost_per_token=0.00001, output_cost_per_token=0.00002),
    priced("twin", input_cost_per_token=0.00001, output_cost_per_token=0.00002),
    priced("twin", **TOKENS),
    priced("embed", mode="embedding", most=None, input_cost_per_token=0.001, output_cost_per_token=0),
    priced("image", mode="image_generation", most=None, output_cost_per_image=3),
    priced("pixels", mode="image_generation", most=None, output_cost_per_pixel=0.000001),
    priced("voice", mode="audio_speech", most=None, input_cost_per_character=0.01),
    priced("ear", mode="audio_transcription", most=None, input_cost_per_second=1),
    priced("ranks", mode="rerank", most=None, input_cost_per_query=2),
]
FALLBACKS = [{"falls": ["large"]}]
OPENED = {
    "images": ["image", "pixels"],
    "speech": ["voice"],
    "transcriptions": ["ear"],
    "rerank": ["ranks"],
    "responses": ["*"],
}
MARK = {"keyfund": "here", "keyfund_guard": {"in_flight": 20, "routes": OPENED}}
HELLO = [{"role": "user", "content": "hello"}]


def wav(seconds: float, rate: int = 8000, declared: int | None = None) -> str:
    """A silent 16-bit WAV, hex; ``declared``: another byte rate than it has."""
    sound = bytes(int(seconds * rate) * 2)
    head = struct.pack("<HHIIHH", 1, 1, rate, declared or rate * 2, 2, 16)
    return (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", len(sound)) + sound).hex()


@dataclass(frozen=True)
class Case:
    """``held``: from and to how many dollars the guard has LiteLLM hold; None: nothing."""

    name: str
    call_type: str
    body: Mapping[str, Json]
    status: int = 200
    param: str | None = None
    type: str | None = None
    held: tuple[float, float] | None = None
    more: Mapping[str, Json] = field(default_factory=dict)

    @property
    def call(self) -> dict[str, Json]:
        return {"call_type": self.call_type, "body": self.body, "mark": MARK, **self.more}

    def holds(self, answer: Json) -> bool:
        """Whether this is what must come of it."""
        if (answer["status"], answer.get("param")) != (self.status, self.param):
            return False
        if self.status != 200:
            return bool(answer["type"] == self.type)
        held = answer["held"] or 0.0
        low, high = self.held or (0.0, 0.0)
        return bool(low <= held <= high)


def chat(name: str, *, model: str = "large", held: tuple[float, float] | None = None, **body: Json) -> Case:
    return Case(name, "acompletion", {"model": model, "messages": HELLO, **body}, held=held)


def refused(
    name: str, param: str, *, call_type: str = "acompletion", more: Json = None, **body: Json
) -> Case:
    """A field, header or parameter that is refused by its name."""
    start = {"model": "large", "messages": HELLO} if call_type == "acompletion" else {}
    return Case(name, call_type, {**start, **body}, 400, param, "field_not_allowed", more=more or {})


def unbounded(name: str, model: str, **body: Json) -> Case:
    """A model whose cost nobody can tell beforehand."""
    return Case(
        name, "acompletion", {"model": model, "messages": HELLO, **body}, 400, "model", "model_not_bounded"
    )


def broke(name: str, call_type: str = "acompletion", more: Json = None, **body: Json) -> Case:
    """A call that the wallet cannot pay."""
    start = {"model": "large", "messages": HELLO} if call_type == "acompletion" else {}
    return Case(name, call_type, {**start, **body}, 422, None, "budget_exceeded", more=more or {})


def closed(name: str, call_type: str, more: Json = None, param: str | None = None, **body: Json) -> Case:
    return Case(name, call_type, body, 403, param, "route_closed", more=more or {})


def part(**content: Json) -> Json:
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, content]}]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
PLAIN = {"keyfund": "here"}
NO_LOG: Json = {"no-log": True}
LONG = "x" * 210_000

CASES = [
    # ---- what a call can cost, in dollars: a byte of input counts as a token
    chat("one token is held as one", max_tokens=1, held=(0.002, 0.2)),
    chat("the newer limit counts, too", max_completion_tokens=1000, held=(2.0, 2.3)),
    chat("without a limit the model's ceiling is held", held=(9.0, 9.3)),
    chat("every choice is held", max_tokens=100, n=10, held=(2.0, 2.3)),
    chat("a null limit is none", max_tokens=None, held=(9.0, 9.3)),
    chat(
        "the longer prompt is held",
        max_tokens=1,
        messages=[{"role": "user", "content": "x" * 2000}],
        held=(2.0, 2.3),
    ),
    chat("tools are part of the prompt", max_tokens=1, tools=[TOOL], held=(1.0, 1.5)),
    chat(
        "so is a schema",
        max_tokens=1,
        response_format={"type": "json_schema", "x": "y" * 1000},
        held=(1.0, 1.3),
    ),
    chat(
        "characters of three bytes count as three",
        max_tokens=1,
        messages=[{"role": "user", "content": "語" * 1000}],
        held=(3.0, 3.3),
    ),
    chat("thinking is held at its price", model="thinker", max_tokens=1000, held=(4.0, 4.3)),
    chat("a short prompt is below the step", model="steps", max_tokens=100, held=(0.002, 0.005)),
    broke(
        "a long prompt is held at the step that it can reach",
        model="steps",
        max_tokens=1,
        messages=[{"role": "user", "content": LONG}],
    ),
    chat("a free model holds nothing", model="free", held=None),
    chat(
        "a picture holds the whole context",
        model="small",
        max_tokens=1,
        messages=part(**PICTURE),
        held=(0.08, 0.09),
    ),
    chat(
        "a picture at a price of its own holds that, too",
        model="seer",
        max_tokens=1,
        messages=part(**PICTURE),
        held=(8.5, 8.7),
    ),
    chat(
        "a cache that the provider writes unasked is held",
        model="cached",
        max_tokens=1,
        messages=[{"role": "user", "content": "x" * 400}],
        held=(4.0, 6.0),
    ),
    chat(
        "a cache for an hour is held where one is asked for",
        model="cached",
        max_tokens=1,
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "x" * 250, "cache_control": {"type": "ephemeral"}}],
            }
        ],
        held=(7.0, 9.99),
    ),
    chat(
        "a tier that the operator did not choose is not held", model="tiered", max_tokens=10, held=(0.02, 0.3)
    ),
    broke("one that the operator chose is", model="hurried", max_tokens=100),
    chat("a fallback's price is held", model="falls", max_tokens=1000, held=(2.0, 2.3)),
    chat("of two deployments the dearer is held", model="twin", max_tokens=1000, held=(2.0, 2.3)),
    Case(
        "each of a list of prompts is held",
        "atext_completion",
        {"model": "small", "prompt": ["a"] * 500, "max_tokens": 500},
        held=(5.0, 5.1),
    ),
    Case(
        "a prompt of tokens is one prompt",
        "atext_completion",
        {"model": "large", "prompt": [1, 2, 3], "max_tokens": 1000},
        held=(2.0, 2.3),
    ),
    Case(
        "best of many is held as many",
        "atext_completion",
        {"model": "large", "prompt": "a", "max_tokens": 100, "best_of": 10},
        held=(2.0, 2.3),
    ),
    Case(
        "each input of a list is held",
        "aembedding",
        {"model": "embed", "input": ["x" * 100] * 10},
        held=(1.0, 1.3),
    ),
    Case(
        "responses hold their limit",
        "aresponses",
        {"model": "large", "input": "hi", "max_output_tokens": 1000},
        held=(2.0, 2.3),
    ),
    Case(
        "responses without one hold the ceiling",
        "aresponses",
        {"model": "large", "input": "hi"},
        held=(9.0, 9.3),
    ),
    Case(
        "pictures hold their price",
        "aimage_generation",
        {"model": "image", "prompt": "a", "n": 2},
        held=(6.0, 6.0),
    ),
    broke("more pictures than the wallet pays", "aimage_generation", model="image", prompt="a", n=10),
    Case(
        "speech holds its characters",
        "aspeech",
        {"model": "voice", "input": "x" * 100, "voice": "a"},
        held=(1.0, 1.0),
    ),
    Case(
        "a recording holds its seconds",
        "transcription",
        {"model": "ear"},
        held=(6.0, 6.1),
        more={"file": wav(6)},
    ),
    Case(
        "a ranking holds its unit",
        "arerank",
        {"model": "ranks", "query": "a", "documents": ["b"]},
        held=(2.0, 2.0),
    ),
    Case(
        "more documents are more units",
        "arerank",
        {"model": "ranks", "query": "a", "documents": ["b"] * 300},
        held=(6.0, 6.0),
    ),
    # ---- fields
    refused("two limits at once", "max_tokens", max_completion_tokens=1, max_tokens=4500),
    refused("a limit beyond the model", "max_tokens", max_tokens=4501),
    refused("a negative limit", "max_tokens", max_tokens=-1),
    refused("a limit of nothing", "max_tokens", max_tokens=0),
    refused("half a token", "max_tokens", max_tokens=1.5),
    refused("text for a number", "max_tokens", max_tokens="4500"),
    refused("true for a number", "max_tokens", max_tokens=True),
    refused("a list for a number", "max_tokens", max_tokens=[4500]),
    refused("no choices", "n", n=0),
    refused("no messages", "messages", messages=None),
    refused("no prompt", "prompt", call_type="atext_completion", model="large", prompt=None),
    refused("choices as text", "n", n="10"),
    refused("many choices", "n", n=1000),
    refused("a body inside the body", "extra_body", extra_body={"max_tokens": 4500}),
    refused("an empty body inside the body", "extra_body", extra_body={}),
    refused("retries", "num_retries", num_retries=5),
    refused("a timeout", "timeout", timeout=0.2),
    refused("fallbacks", "fallbacks", fallbacks=["large"]),
    refused("a service tier", "service_tier", service_tier="priority"),
    refused("dropped parameters", "additional_drop_params", additional_drop_params=["max_tokens"]),
    refused("another deployment", "deployment_id", deployment_id="o1-pro"),
    refused("an invented field", "min_new_tokens", min_new_tokens=4500),
    refused("a field in capitals", "MAX_TOKENS", MAX_TOKENS=4500),
    refused("a key for the provider", "api_key", api_key="sk-x"),
    refused("headers for the provider", "headers", headers={"x": "y"}),
    refused("headers for one provider", "provider_specific_header", provider_specific_header={"a": "b"}),
    refused("a logger of one's own", "langfuse_host", langfuse_host="https://example.com"),
    refused("no log", "no-log", **NO_LOG),
    refused("a made-up answer", "mock_response", mock_response="x"),
    refused("metadata with tags", "metadata", metadata={"tags": ["x"]}),
    refused("plain metadata", "metadata", metadata={"a": "b"}),
    refused("metadata of the other kind", "litellm_metadata", litellm_metadata={"tags": ["x"]}),
    refused("a web search", "web_search_options", web_search_options={}),
    refused("a hosted tool", "tools", tools=[{"type": "web_search"}]),
    refused("spoken answers", "modalities", modalities=["text", "audio"]),
    refused("storing the answer", "store", store=True),
    refused("several models", "model", model="large,large"),
    refused("a list of models", "model", model=["large"]),
    refused("an empty model", "model", model=""),
    refused("messages that are no list", "messages", messages={"a": 1}),
    refused("somebody's file", "messages.file_id", messages=part(type="file", file={"file_id": "file-1"})),
    refused(
        "a kind of content nobody knows",
        "messages.type",
        messages=part(type="video_url", video_url={"url": "https://x"}),
    ),
    refused(
        "a picture from the machine's own disk",
        "messages.image_url",
        messages=part(type="image_url", image_url={"url": "file:///etc/passwd"}),
    ),
    refused(
        "content without an end",
        "messages",
        messages=[
            {"role": "user", "content": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["x"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}
        ],
    ),
    refused(
        "a later answer", "background", call_type="aresponses", model="large", input="a", background=True
    ),
    refused(
        "somebody's answer",
        "previous_response_id",
        call_type="aresponses",
        model="large",
        input="a",
        previous_response_id="r",
    ),
    refused(
        "somebody's item",
        "input.type",
        call_type="aresponses",
        model="large",
        input=[{"type": "item_reference", "id": "x"}],
    ),
    refused(
        "metadata of an answer",
        "metadata",
        call_type="aresponses",
        model="large",
        input="a",
        metadata={"a": "b"},
    ),
    refused(
        "steering metadata of an answer",
        "litellm_metadata",
        call_type="aresponses",
        model="large",
        input="a",
        litellm_metadata={"tags": ["x"]},
    ),
    refused(
        "a dearer size", "size", call_type="aimage_generation", model="image", prompt="a", size="4096x4096"
    ),
    refused(
        "sound that is no WAV",
        "file",
        call_type="transcription",
        more={"file": b"ID3 something".hex()},
        model="ear",
    ),
    refused(
        "a WAV that lies about its rate",
        "file",
        call_type="transcription",
        more={"file": wav(6, declared=10**9)},
        model="ear",
    ),
    refused("another model in the address", "model", more={"query": "?model=small"}),
    refused("any parameter in the address", "a", more={"query": "?a=1"}),
    refused("retries in a header", "x-litellm-num-retries", more={"headers": {"x-litellm-num-retries": "5"}}),
    refused("a header in capitals", "X-LiteLLM-Timeout", more={"headers": {"X-LiteLLM-Timeout": "0.3"}}),
    refused(
        "a provider's feature in a header",
        "anthropic-beta",
        more={"headers": {"anthropic-beta": "context-1m"}},
    ),
    # ---- models
    unbounded("a model without a ceiling", "unbounded", max_tokens=1),
    unbounded("a model without a price", "unpriced"),
    chat("prices may stand beside the model's parameters", model="moved", max_tokens=1000, held=(2.0, 2.3)),
    Case(
        "but not for responses, where LiteLLM forgets them",
        "aresponses",
        {"model": "moved", "input": "a"},
        400,
        "model",
        "model_not_bounded",
    ),
    unbounded("a model charged by the second", "timed", max_tokens=1),
    unbounded("a model without token prices that draws", "drawn", max_tokens=1),
    unbounded("a model that there is not", "nowhere", max_tokens=1),
    unbounded("a model for other calls", "live", max_tokens=1),
    unbounded(
        "sound at a price by the second",
        "listener",
        messages=part(type="input_audio", input_audio={"data": "AAAA", "format": "wav"}),
    ),
    Case(
        "pictures charged by the pixel",
        "aimage_generation",
        {"model": "pixels", "prompt": "a"},
        400,
        "model",
        "model_not_bounded",
    ),
    # ---- routes
    closed("batches", "acreate_batch"),
    closed("files", "acreate_file"),
    closed("listing files", "alist_fine_tuning_jobs"),
    closed("an answer by its id", "aget_responses"),
    closed("answers over a socket", "_aresponses_websocket"),
    closed("realtime", "_arealtime"),
    closed("Anthropic's messages", "anthropic_messages"),
    closed("pass-through", "pass_through_endpoint", model="small", messages=HELLO, max_tokens=1),
    closed("Google's shape", "agenerate_content"),
    closed("a kind of call that nobody knows", "anything_new"),
    closed(
        "pictures where they are not opened", "aimage_generation", {"mark": PLAIN}, model="image", prompt="a"
    ),
    closed("a model that was not proved", "aspeech", param="model", model="ear", input="a", voice="b"),
    # ---- money
    broke("more than is left", max_tokens=4500, more={"wallet": 9.0}),
    broke("an empty wallet", max_tokens=1, more={"wallet": 0.0}),
    broke("a wallet that is not there", max_tokens=1, more={"wallet": None}),
    broke("a cap below the wallet", max_tokens=1000, more={"cap": 1.0}),
    Case("somebody else's key is left alone", "acreate_batch", {"anything": 1}, held=None, more={"mark": {}}),
]
