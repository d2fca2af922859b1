"""Keyfund's guard: the prepaid wallet holds on every call that a key of Keyfund's makes through LiteLLM.

Load it into LiteLLM with ``litellm_settings.callbacks: ["keyfund_guard.guard"]``, this file beside the
configuration (docs/guard.md). It imports LiteLLM and the standard library only, and asks nothing but
LiteLLM's own memory or Redis. It acts on keys that carry Keyfund's mark in their metadata, and leaves all
others alone.

LiteLLM reserves money before a call from some fields of some bodies, and hands the rest to the provider. The
guard runs after that (``async_pre_call_hook``), and for each call of a marked key it

1. closes every kind of call that is not open for the key (403);
2. lets a written list of fields, headers and query parameters through, bounds their values, and refuses
   the rest with a 400 that names the field: a list of what is forbidden can never be complete;
3. bounds the calls that an account has in flight (429);
4. works out the most that the call can cost, and raises LiteLLM's reservation to it where LiteLLM reserved
   less, or refuses with LiteLLM's own ``budget_exceeded``.

LiteLLM settles the reservation as it settles its own: exactly after success, back to zero after failure.
What fails inside the guard refuses the call. Facts about LiteLLM were read in its source, 1.106.2 to 1.108.7.
"""

import asyncio
import json
import os
import re
import struct
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import litellm
from litellm._logging import verbose_proxy_logger
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException

VERSION = "1.0.0"
MARK = "keyfund"  # in a key's metadata: the installation that it belongs to
OURS = "keyfund_guard"  # in a key's metadata: what the guard is told about the key
LEASE_SECONDS = 60  # after the death of a LiteLLM worker, what it held is given back so much later
RENEW_SECONDS = 15
LOOKS_SECONDS = (0.05, 0.5, 3)  # after a call: LiteLLM settles it a moment later, and each place costs time
REMEMBER_SECONDS = 300  # a counter is kept so long after its last call: LiteLLM writes spend far sooner
COUNTER_SECONDS = 600  # how long LiteLLM's memory keeps a counter, from when it was made, however it is used
MOST_COUNTERS = 100_000  # LiteLLM keeps 200, and forgets what is reserved in the others
RATES_SECONDS = 10
HAIR = 1e-9  # dollars; sums of floats differ by less

Json = Any
Check = Callable[[Json], bool]

# ------------------------------------------------------------------------------------------------ refusals


def refuse(status: int, code: str, text: str, field: str | None = None) -> ProxyException:
    """An error in the provider's shape, told apart by its ``type``.

    Without ``status_code`` some routes of LiteLLM answer 500.
    """
    error = ProxyException(f"Keyfund guard {VERSION}: {text}", type=code, param=field, code=status)
    error.status_code = status
    return error


def refuse_field(name: str, why: str = "it is not on the list of this route") -> ProxyException:
    return refuse(400, "field_not_allowed", f"`{name}` is not allowed: {why}.", field=name)


def refuse_model(name: str, why: str) -> ProxyException:
    return refuse(
        400,
        "model_not_bounded",
        f"the model `{name}` cannot be used with a prepaid key: {why}.",
        field="model",
    )


def refuse_money(owner: str, owner_id: str, spent: float, budget: float, cost: float) -> ProxyException:
    """As LiteLLM words it, so that clients need not tell the two apart."""
    text = (
        f"Budget has been exceeded! {owner}={owner_id} Current cost: {spent}, "
        f"Estimated request cost: {cost}, Max budget: {budget}"
    )
    return refuse(litellm.budget_exceeded_status_code, "budget_exceeded", text)


# -------------------------------------------------------------------------------- what may be in a request


def is_text(value: Json) -> bool:
    return isinstance(value, str)


def is_flag(value: Json) -> bool:
    return isinstance(value, bool)


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def is_count(most: int, least: int = 1) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_one_of(*values: Json) -> Check:
    return lambda value: any(value == one and type(value) is type(one) for one in values)


def is_object(value: Json) -> bool:
    return isinstance(value, dict)


def is_list(value: Json) -> bool:
    return isinstance(value, list)


def is_list_of_objects(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def is_text_or_object(value: Json) -> bool:
    return isinstance(value, str | dict)


def is_text_or_texts(value: Json) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    )


def is_prompt(value: Json) -> bool:
    """Text, tokens, or a list of either."""
    if isinstance(value, list) and value and all(isinstance(entry, list) for entry in value):
        return all(_are_tokens(entry) for entry in value)
    return is_text_or_texts(value) or _are_tokens(value)


def _are_tokens(value: Json) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, int) and not isinstance(one, bool) for one in value
    )


def is_text_or_items(value: Json) -> bool:
    return isinstance(value, str) or is_list_of_objects(value)


def has_only(*names: str) -> Check:
    return lambda value: isinstance(value, dict) and value.keys() <= set(names)


def are_function_tools(value: Json) -> bool:
    """Tools that the caller runs. What the provider runs is billed by units that nobody can bound."""
    return is_list_of_objects(value) and all(tool.get("type") == "function" for tool in value)


def is_anything(_: Json) -> bool:
    return True


TOKENS = is_count(10_000_000)
SAMPLING: dict[str, Check] = {
    "temperature": is_number,
    "top_p": is_number,
    "frequency_penalty": is_number,
    "presence_penalty": is_number,
    "seed": is_count(2**63, -(2**63)),
    "stop": is_text_or_texts,
    "logit_bias": is_object,
    "stream": is_flag,
    "stream_options": has_only("include_usage"),
    "user": is_text,
}
TOOLS: dict[str, Check] = {
    "tools": are_function_tools,
    "tool_choice": is_text_or_object,
    "parallel_tool_calls": is_flag,
    "prompt_cache_key": is_text,
    "safety_identifier": is_text,
}
FIELDS: dict[str, dict[str, Check]] = {
    "chat": {
        "model": is_text,
        "messages": is_list_of_objects,
        "max_tokens": TOKENS,
        "max_completion_tokens": TOKENS,
        "n": is_count(128),
        "logprobs": is_flag,
        "top_logprobs": is_count(20, 0),
        "response_format": is_object,
        "functions": is_list_of_objects,
        "function_call": is_text_or_object,
        "reasoning_effort": is_text,
        "verbosity": is_text,
        "modalities": is_one_of(["text"]),
        "store": is_one_of(False),
        **SAMPLING,
        **TOOLS,
    },
    "completions": {
        "model": is_text,
        "prompt": is_prompt,
        "max_tokens": TOKENS,
        "n": is_count(128),
        "best_of": is_count(128),
        "logprobs": is_count(5, 0),
        "echo": is_flag,
        "suffix": is_text,
        **SAMPLING,
    },
    "embeddings": {
        "model": is_text,
        "input": is_prompt,
        "encoding_format": is_one_of("float", "base64"),
        "dimensions": is_count(100_000),
        "user": is_text,
    },
    "responses": {
        "model": is_text,
        "input": is_text_or_items,
        "instructions": is_text,
        "max_output_tokens": TOKENS,
        "background": is_one_of(False),
        "include": is_text_or_texts,
        "reasoning": has_only("effort", "summary"),
        "store": is_flag,
        "stream": is_flag,
        "stream_options": has_only("include_obfuscation"),
        "temperature": is_number,
        "text": has_only("format", "verbosity"),
        "top_logprobs": is_count(20, 0),
        "top_p": is_number,
        "truncation": is_one_of("auto", "disabled"),
        "user": is_text,
        **TOOLS,
    },
    "images": {
        "model": is_text,
        "prompt": is_text,
        "n": is_count(10),
        "response_format": is_one_of("url", "b64_json"),
        "user": is_text,
    },
    "speech": {
        "model": is_text,
        "input": is_text,
        "voice": is_text,
        "response_format": is_text,
        "speed": is_number,
    },
    "transcriptions": {
        "model": is_text,
        "file": is_anything,
        "language": is_text,
        "prompt": is_text,
        "response_format": is_text,
        "temperature": is_anything,  # a form sends text
        "user": is_text,  # LiteLLM writes it
    },
    "rerank": {
        "model": is_text,
        "query": is_text,
        "documents": is_text_or_texts,
        "top_n": is_count(100_000),
        "return_documents": is_flag,
    },
    "moderations": {"model": is_text, "input": is_text_or_texts},
}
"""What may be in the body of each route; everything else is refused by its name."""

ROUTES = {
    "acompletion": "chat",
    "atext_completion": "completions",
    "aembedding": "embeddings",
    "aresponses": "responses",
    "aimage_generation": "images",
    "image_generation": "images",
    "aspeech": "speech",
    "speech": "speech",
    "atranscription": "transcriptions",
    "transcription": "transcriptions",
    "arerank": "rerank",
    "rerank": "rerank",
    "amoderation": "moderations",
    "moderation": "moderations",
}
"""LiteLLM's kinds of call, and the route that each belongs to. All others are closed."""

NEEDED = {
    "chat": "messages",
    "completions": "prompt",
    "embeddings": "input",
    "responses": "input",
    "images": "prompt",
}
ALWAYS_OPEN = frozenset({"chat", "completions", "embeddings"})
BUCKETS = ("metadata", "litellm_metadata")
WRITTEN_BY_LITELLM = frozenset({*BUCKETS, "litellm_call_id"})
"""Fields that LiteLLM writes into the copy of the body that it keeps. The two buckets are looked at apart."""
ADDED_TO_BUCKET = frozenset({"headers", "used_client_oauth_token", "requester_metadata"})
HEADERS = ("x-litellm-", "x-pass-", "anthropic-beta", "openai-", "x-goog-", "x-amz-", "helicone-", "langfuse")
"""Beginnings of headers that steer LiteLLM or the provider. Refused, but for what an operator adds."""
PARTS = frozenset(
    "text input_text output_text refusal message function function_call function_call_output reasoning "
    "summary_text reasoning_text json_schema json_object ephemeral".split()
)
MEDIA = frozenset("image_url input_image file input_file input_audio".split())
ELSEWHERE = ("file_id", "file_url", "id_of_file")
MOST_DEPTH = 30


def words(setting: str) -> frozenset[str]:
    """An operator's additions: a comma list in the environment of LiteLLM."""
    return frozenset(word.strip().lower() for word in os.environ.get(setting, "").split(",") if word.strip())


def check_fields(route: str, data: Mapping[str, Json], more: frozenset[str]) -> dict[str, Json]:
    """The caller's own fields, each allowed on this route and of a fit value; a null counts as left out."""
    body = (data.get("proxy_server_request") or {}).get("body")
    if not isinstance(body, dict):
        raise refuse(403, "route_closed", "this call cannot be examined.")
    check_hidden(data)
    known, asked = FIELDS[route], dict[str, Json]()
    for name, value in body.items():
        if name in WRITTEN_BY_LITELLM or f"{route}:{name}" in more:
            continue
        check = known.get(name)
        if check is None:
            raise refuse_field(name)
        if value is None:
            continue
        if not check(value):
            raise refuse_field(name, "its value is of another type or out of bounds")
        asked[name] = value
    if (needed := NEEDED.get(route)) and needed not in asked:
        raise refuse_field(needed, "it is missing")
    for bucket in BUCKETS:
        if bucket in body and f"{route}:{bucket}" not in more and _is_callers(data.get(bucket)):
            raise refuse_field(bucket)
    if route == "transcriptions":
        asked["file"] = data.get("file")  # the copy of the body has no files
    return asked


def check_hidden(data: Mapping[str, Json]) -> None:
    """LiteLLM leaves credentials out of its copy of the body, but hands them to the provider or a logger."""
    from litellm.proxy import litellm_pre_call_utils as pre_call

    sent = data["proxy_server_request"].get("credential_fields")
    if sent is None:
        sent = data.keys() & pre_call._TRANSPORT_ONLY_CREDENTIAL_KEYS
    for name in sorted({*sent, *(data.keys() & pre_call._CALLBACK_CREDENTIAL_KEYS)}):
        raise refuse_field(name)


def _is_callers(bucket: Json) -> bool:
    """Whether a caller wrote into the metadata by which LiteLLM steers, through tags for one.

    What a caller sent stands before what LiteLLM adds, and LiteLLM strips names like its own from it.
    """
    if not isinstance(bucket, dict):
        return True
    for name in bucket:
        if name.startswith("user_api_key_"):
            return False
        if name not in ADDED_TO_BUCKET:
            return True
    return True


def check_request(data: Mapping[str, Json], headers: frozenset[str], query: frozenset[str]) -> None:
    """No header and no parameter of the address that steers LiteLLM."""
    request = data.get("proxy_server_request") or {}
    for name in request.get("headers") or {}:
        lower = name.lower()
        if lower.startswith(HEADERS) and lower not in headers:
            raise refuse_field(name, "this header is the operator's")
    for name, _ in parse_qsl(urlsplit(str(request.get("url") or "")).query, keep_blank_values=True):
        if name.lower() not in query:
            raise refuse_field(name, "this route takes no parameters in its address")


def check_model(
    asked: dict[str, Json], data: Mapping[str, Json], route: str, told: Mapping[str, Json]
) -> str:
    """The one model that LiteLLM will call: what the caller named, after aliases."""
    model = asked["model"] = data.get("model")
    if not isinstance(model, str) or not model or len(model) > 200 or "," in model:
        raise refuse_field("model", "it names one model")
    proved = (told.get("routes") or {}).get(route, ["*"] if route in ALWAYS_OPEN else [])
    if model not in proved and "*" not in proved:
        raise refuse(403, "route_closed", f"this route is not open for the model `{model}`.", field="model")
    return model


@dataclass
class Content:
    """What a request sends to the model: ``size`` in bytes without pictures, sound and files."""

    size: int = 0
    media: int = 0
    images: int = 0
    cached: bool = False


def measure(asked: Mapping[str, Json]) -> Content:
    """Count what goes in. No tokeniser makes more tokens of a text than it has bytes."""
    content = Content()
    for name in ("messages", "input"):
        for entry in _walk(asked.get(name), name):
            _examine(entry, name, content)
    content.size += len(json.dumps(asked, ensure_ascii=False, default=str).encode(errors="surrogatepass"))
    if "tools" in asked or "functions" in asked:
        content.size += 1024  # what a provider adds to a prompt to explain tools
    return content


def _walk(value: Json, name: str) -> Iterator[dict[str, Json]]:
    """Every object inside, however deep."""
    todo = [(value, 0)]
    while todo:
        one, depth = todo.pop()
        if depth > MOST_DEPTH:
            raise refuse_field(name, "it is nested too deeply")
        if isinstance(one, dict):
            yield one
            todo.extend((inner, depth + 1) for inner in one.values() if isinstance(inner, dict | list))
        elif isinstance(one, list):
            todo.extend((inner, depth + 1) for inner in one if isinstance(inner, dict | list))


def _examine(entry: Mapping[str, Json], name: str, content: Content) -> None:
    for elsewhere in ELSEWHERE:
        if elsewhere in entry:
            raise refuse_field(f"{name}.{elsewhere}", "send the content itself")
    kind = entry.get("type")
    if kind is not None and kind not in PARTS and kind not in MEDIA:
        raise refuse_field(f"{name}.type", "this kind of content cannot be bounded")
    if "cache_control" in entry:
        content.cached = True
    if kind in MEDIA:
        content.media += 1
        content.images += kind in ("image_url", "input_image")
        content.size -= _payload(entry)
        _check_address(entry, name)


def _payload(entry: Mapping[str, Json]) -> int:
    """Bytes of a picture, sound or file sent as text, which counts by the model's whole context instead."""
    inner = [entry, *(value for value in entry.values() if isinstance(value, dict))]
    return sum(
        len(text.encode(errors="surrogatepass"))
        for part in inner
        for text in part.values()
        if isinstance(text, str)
    )


def _check_address(entry: Mapping[str, Json], name: str) -> None:
    inner = entry.get("image_url")
    address = inner.get("url") if isinstance(inner, dict) else inner
    if isinstance(address, str) and not address.startswith(("data:", "https://", "http://")):
        raise refuse_field(f"{name}.image_url", "it is neither data nor a web address")


# ------------------------------------------------------------------------------------------------- prices

INPUT = re.compile(
    r"(?:input_cost_per_token|cache_creation_input_token_cost)(_above_1hr)?(?:_above_(\d+)k_tokens)?"
)
OUTPUT = re.compile(r"output_cost_per_(?:token|reasoning_token)(?:_above_(\d+)k_tokens)?")
MEDIA_INPUT = re.compile(r"input_cost_per_(?:audio|image|video)_token")
MEDIA_UNITS = re.compile(
    r"input_cost_per_(?:audio|video)_per_second.*|input_cost_per_pixel|input_cost_per_image_above.*"
)
TIERS = ("_flex", "_priority", "_balanced", "_ultrafast", "_decisions", "_batches")
SEARCHES = re.compile("search|perplexity")  # models that search the web unasked
NOT_ASKED_FOR = re.compile(
    r"cache_read_.*|explicit_cache_read.*|.*_dbu_.*|code_interpreter_.*|computer_use_.*|file_search_.*|vector_store_.*"
    r"|google_maps_.*|guardrail_.*|.*_cache_hit|cache_creation_input_audio_token_cost|output_cost_per_audio_token"
    r"|search_context_.*|input_cost_per_character.*_tokens"
)
"""Prices of what no allowed field can ask for, or that are below another price which is counted."""
MODES: dict[str, frozenset[str | None]] = {
    "chat": frozenset({"chat", "completion", "responses", None}),
    "completions": frozenset({"chat", "completion", "responses", None}),
    "responses": frozenset({"chat", "completion", "responses", None}),
    "embeddings": frozenset({"embedding", None}),
    "images": frozenset({"image_generation"}),
    "speech": frozenset({"audio_speech"}),
    "transcriptions": frozenset({"audio_transcription"}),
    "rerank": frozenset({"rerank"}),
    "moderations": frozenset({"moderation", None}),
}
UNITS: dict[str, tuple[str, ...]] = {
    "images": ("input_cost_per_image", "output_cost_per_image"),
    "speech": ("input_cost_per_character",),
    "transcriptions": ("input_cost_per_second", "output_cost_per_second"),
    "rerank": ("input_cost_per_query",),
}
"""The only units by which a route that generates no text may be priced."""


@dataclass(frozen=True)
class Deployment:
    """What one deployment of a model charges: dollars by LiteLLM's names, its zeros left out."""

    name: str
    mode: str | None
    prices: Mapping[str, float]
    most_output: int | None
    most_input: int | None
    factor: float = 1.0
    has_price: bool = True
    is_forgotten: bool = False  # LiteLLM loses prices that stand in `litellm_params` between routes


def read_deployment(name: str, entry: Mapping[str, Json], router: Json) -> Deployment:
    """What LiteLLM knows of a deployment's prices; what its operator wrote overrides LiteLLM's own list."""
    params = dict(entry.get("litellm_params") or {})
    own = dict(entry.get("model_info") or {})
    backend = str(params.get("model") or "")
    backend = name if "*" in backend else backend
    listed = router.get_deployment_model_info(str(own.get("id")), backend) or {}
    info = {
        **listed,
        **_only_set(own),
        **{key: value for key, value in _only_set(params).items() if "cost" in key},
    }
    tier = str(params.get("service_tier") or "")
    prices = dict(_prices(info, tier))
    uplift = max([1.0, *(float(v) for k, v in info.items() if "uplift_multiplier" in k and v)])
    return Deployment(
        name=name,
        mode=info.get("mode"),
        prices={unit: price for unit, price in prices.items() if price > 0},
        most_output=_whole(info.get("max_output_tokens")),
        most_input=_whole(info.get("max_input_tokens")),
        factor=uplift * (1 + _margin()),
        has_price=bool(prices),
        is_forgotten=any("cost" in unit for unit in _only_set(params)),
    )


def read_deployments(model: str, router: Json) -> tuple[list[Deployment], list[Deployment]]:
    """The deployments of a model, and those of the models that its operator has LiteLLM fall back to."""
    served = _read_group(model, router)
    if not served:
        raise refuse_model(model, "LiteLLM has no such model")
    seen, todo = {model}, [model]
    while todo:
        for other in _fallbacks(todo.pop(), router):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return served, [one for other in sorted(seen - {model}) for one in _read_group(other, router)]


def _read_group(model: str, router: Json) -> list[Deployment]:
    return [read_deployment(model, entry, router) for entry in router.get_model_list(model_name=model) or ()]


def _fallbacks(model: str, router: Json) -> Iterator[str]:
    for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        for entry in getattr(router, kind, None) or ():
            for name, others in entry.items():
                if name in (model, "*"):
                    yield from (other for other in others if isinstance(other, str))


def _only_set(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def _whole(value: Json) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _prices(info: Mapping[str, Json], tier: str) -> Iterator[tuple[str, float]]:
    """Each price by its unit. A price of a service tier counts where the operator chose that tier."""
    for name, value in info.items():
        if "cost" not in name or isinstance(value, dict | list | bool) or value is None:
            continue
        suffix = next((suffix for suffix in TIERS if name.endswith(suffix)), "")
        if not suffix or (tier and suffix == f"_{tier}"):
            yield name.removesuffix(suffix), float(value)
    for step in info.get("tiered_pricing") or ():
        for name, value in step.items():
            if "cost" in name and isinstance(value, int | float):
                yield f"{name}_above_0k_tokens", float(value)
    if info.get("search_context_cost_per_query") and SEARCHES.search(
        f"{info.get('key')} {info.get('litellm_provider')}"
    ):
        yield "search", 1.0


def _margin() -> float:
    """What an operator adds to every cost in LiteLLM, as a fraction."""
    margins = (litellm.cost_margin_config or {}).values() if hasattr(litellm, "cost_margin_config") else ()
    return max(
        (float(m.get("percentage") or 0) if isinstance(m, dict) else float(m) for m in margins), default=0.0
    )


# -------------------------------------------------------------------------------------------------- bounds


def bound(route: str, asked: Mapping[str, Json], deployment: Deployment) -> float:
    """The most that this call can cost on this deployment, in dollars.

    Raises:
        ProxyException: nobody can tell beforehand.
    """
    if deployment.mode not in MODES[route]:
        raise refuse_model(deployment.name, f"it is for `{deployment.mode}`, not for this route")
    if not deployment.has_price:
        raise refuse_model(deployment.name, "it has no price")
    if route == "responses" and deployment.is_forgotten:
        raise refuse_model(
            deployment.name, "its prices stand in `litellm_params`; this route needs them in `model_info`"
        )
    if route in UNITS:
        cost = _bound_units(route, asked, deployment)
    else:
        cost = _bound_tokens(route, asked, deployment)
    return cost * deployment.factor


def _bound_units(route: str, asked: Mapping[str, Json], deployment: Deployment) -> float:
    for unit in deployment.prices:
        if unit not in UNITS[route] and not NOT_ASKED_FOR.fullmatch(unit):
            raise refuse_model(deployment.name, f"its price by `{unit}` cannot be bounded")
    return _amount(route, asked) * sum(deployment.prices.get(unit, 0.0) for unit in UNITS[route])


def _amount(route: str, asked: Mapping[str, Json]) -> float:
    match route:
        case "images":
            return float(asked.get("n", 1))
        case "speech":
            return float(len(asked.get("input", "")))
        case "transcriptions":
            return seconds_of(asked.get("file"))
        case _:
            return float(search_units(asked))


def _bound_tokens(route: str, asked: Mapping[str, Json], deployment: Deployment) -> float:
    content = measure(asked)
    tokens = content.size
    if content.media:
        if deployment.most_input is None:
            raise refuse_model(
                deployment.name, "without `max_input_tokens` pictures and files cannot be bounded"
            )
        tokens = max(tokens, deployment.most_input)
    input_rate, output_rate, fixed = 0.0, 0.0, 0.0
    for unit, price in deployment.prices.items():
        if match := INPUT.fullmatch(unit):
            if match.group(1) and not content.cached:
                continue  # a provider may write to its cache unasked, but not for an hour
            if _reaches(tokens, match.group(2)):
                input_rate = max(input_rate, price)
        elif match := OUTPUT.fullmatch(unit):
            if _reaches(tokens, match.group(1)):
                output_rate = max(output_rate, price)
        elif MEDIA_INPUT.fullmatch(unit):
            input_rate = max(input_rate, price) if content.media else input_rate
        elif unit == "input_cost_per_image":
            fixed += price * (content.images if route != "embeddings" else _entries(asked.get("input")))
        elif unit in ("input_cost_per_request", "input_cost_per_query"):
            fixed += price * _entries(asked.get("input") if route == "embeddings" else None)
        elif unit == "input_cost_per_character":
            input_rate = max(input_rate, price)
        elif MEDIA_UNITS.fullmatch(unit):
            if content.media or route == "embeddings":
                raise refuse_model(deployment.name, f"its price by `{unit}` cannot be bounded")
        elif not NOT_ASKED_FOR.fullmatch(unit):
            raise refuse_model(deployment.name, f"its price by `{unit}` cannot be bounded")
    return tokens * input_rate + fixed + output_rate * _most_output(route, asked, deployment)


def _reaches(tokens: int, thousands: str | None) -> bool:
    return thousands is None or tokens > int(thousands) * 1000


def _entries(value: Json) -> int:
    return len(value) if isinstance(value, list) and value and not isinstance(value[0], int) else 1


LIMITS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
}


def _most_output(route: str, asked: Mapping[str, Json], deployment: Deployment) -> int:
    """Tokens that may be generated in all: the limit, for each choice of each prompt."""
    if route not in LIMITS:
        return 0
    limit = next((asked[name] for name in LIMITS[route] if name in asked), None) or ceiling(deployment)
    return int(limit * max(asked.get("n", 1), asked.get("best_of", 1)) * _entries(asked.get("prompt")))


def ceiling(deployment: Deployment) -> int:
    if not deployment.most_output:
        raise refuse_model(
            deployment.name, "it has no `max_output_tokens`, so nobody knows what an answer may cost"
        )
    return deployment.most_output


def limit_output(route: str, asked: Mapping[str, Json], served: list[Deployment]) -> tuple[str, int] | None:
    """The limit that the call must carry, so that the provider holds it; None: this route generates no text.

    Raises:
        ProxyException: two limits at once, of which LiteLLM reads one and the provider the other, or one
            that is beyond the model, which LiteLLM would not reserve.
    """
    if route not in LIMITS:
        return None
    given = [name for name in LIMITS[route] if name in asked]
    if len(given) > 1:
        raise refuse_field(given[1], f"send it or `{given[0]}`, not both")
    most = min(ceiling(deployment) for deployment in served)
    name = given[0] if given else LIMITS[route][-1]
    if asked.get(name, most) > most:
        raise refuse_field(name, f"this model answers with {most} tokens at most")
    return name, asked.get(name, most)


def search_units(asked: Mapping[str, Json]) -> int:
    """Cohere's unit of rerank: a query over up to 100 documents, each of up to 500 tokens with the query."""
    documents = asked.get("documents")
    query = len(asked.get("query", "").encode())
    texts = [documents] if isinstance(documents, str) else documents or [""]
    chunks = sum(-(-(len(text.encode()) + query) // 500) or 1 for text in texts)
    return max(1, -(-chunks // 100))


def seconds_of(file: Json) -> float:
    """The length of a WAV, from its own header. Of other formats nobody knows it without decoding."""
    handle: Json = getattr(file, "file", file)
    if not hasattr(handle, "read"):
        raise refuse_field("file", "it is not a file")
    at = handle.tell()
    handle.seek(0)
    head = handle.read(4096)
    handle.seek(0, 2)
    size = handle.tell()
    handle.seek(at)
    found = re.search(rb"fmt .{4}(.{16})", head, re.DOTALL)
    if not head.startswith(b"RIFF") or found is None:
        raise refuse_field("file", "only WAV can be charged by its length")
    coding, channels, samples, bytes_a_second, block, bits = struct.unpack("<HHIIHH", found[1])
    if (
        coding != 1
        or bytes_a_second != samples * block
        or block != channels * bits // 8
        or not bytes_a_second
    ):
        raise refuse_field("file", "only uncompressed WAV can be charged by its length")
    return float(max(size / bytes_a_second, 1.0))


# ------------------------------------------------------------------------------------------------- money


@dataclass(frozen=True)
class Budget:
    """A sum that a call must fit in: the account's wallet, or a key's cap. Dollars."""

    owner: str  # User or Key, as LiteLLM's refusals say
    owner_id: str
    most: float
    counter: str  # LiteLLM's counter of what is spent and reserved
    source: str  # where LiteLLM finds what was spent when the counter is new


def budgets_of(key: Json) -> list[Budget]:
    """Raises ProxyException for an account without a wallet: LiteLLM would enforce nothing."""
    if not key.user_id or key.user_max_budget is None:
        raise refuse_money("User", str(key.user_id), 0.0, 0.0, 0.0)
    found = [
        Budget("User", key.user_id, float(key.user_max_budget), f"spend:user:{key.user_id}", key.user_id)
    ]
    if key.max_budget is not None:
        found.append(Budget("Key", key.token, float(key.max_budget), f"spend:key:{key.token}", key.token))
    return found


async def reserve(key: Json, data: dict[str, Json], cost: float) -> Json:
    """Have LiteLLM's counters hold ``cost`` dollars for this call, in all; returns its reservation.

    The difference is added before it is compared, so of two calls at once each sees the other.

    Raises:
        ProxyException: it does not fit; what was added is taken off again.
    """
    held = key.budget_reservation or _new_reservation()
    missing = _missing(held, key, cost)
    spent = await _add(held, missing)
    for (budget, dollars), now in zip(missing, spent, strict=True):
        if now > budget.most + HAIR:
            await _increment([(one.counter, -more) for one, more in missing])
            raise refuse_money(budget.owner, budget.owner_id, now - dollars, budget.most, cost)
    _write_down(held, missing, cost)
    _attach(held, key, data)
    return held


def _missing(held: dict[str, Json], key: Json, cost: float) -> list[tuple[Budget, float]]:
    """What each counter lacks until it holds the cost."""
    lacks = ((budget, cost - _held_for(held, budget)) for budget in budgets_of(key))
    return [(budget, dollars) for budget, dollars in lacks if dollars > 0]


def _write_down(held: dict[str, Json], missing: list[tuple[Budget, float]], cost: float) -> None:
    for budget, _ in missing:
        _entry_of(held, budget)["reserved_cost"] = cost
    held["reserved_cost"] = max(float(held["reserved_cost"]), cost)


async def _add(held: dict[str, Json], missing: list[tuple[Budget, float]]) -> list[float]:
    """Returns what each counter then shows. One that LiteLLM has not counted on for this call may be new."""
    from litellm.proxy import proxy_server

    counted = {entry["counter_key"] for entry in held["entries"]}
    for budget, _ in missing:
        if budget.counter not in counted:
            await proxy_server.ensure_spend_counter_initialized(budget.counter, budget.source)
    return await _increment([(budget.counter, dollars) for budget, dollars in missing])


async def _increment(changes: list[tuple[str, float]]) -> list[float]:
    """Change counters in one round trip."""
    from litellm.proxy import proxy_server
    from litellm.proxy.spend_tracking.spend_counter_batch import PendingSpendIncrement

    pending = tuple(PendingSpendIncrement(counter_key=name, increment=dollars) for name, dollars in changes)
    return [float(value) for value in await proxy_server.increment_spend_counters_pipeline(pending=pending)]


def _held_for(held: dict[str, Json], budget: Budget) -> float:
    entries = (entry for entry in held["entries"] if entry["counter_key"] == budget.counter)
    return float(next((entry["reserved_cost"] for entry in entries), 0.0))


def _new_reservation() -> dict[str, Json]:
    """As LiteLLM makes its own (``budget_reservation.reserve_budget_for_request``)."""
    return {
        "reserved_cost": 0.0,
        "entries": [],
        "finalized": False,
        "callback_bound": False,
        "input_cost": 0.0,
        "input_tokens": None,
    }


def _entry_of(held: dict[str, Json], budget: Budget) -> dict[str, Json]:
    entry: dict[str, Json]
    for entry in held["entries"]:
        if entry["counter_key"] == budget.counter:
            return entry
    entry = {
        "counter_key": budget.counter,
        "entity_type": budget.owner,
        "entity_id": budget.owner_id,
        "reserved_cost": 0.0,
        "applied_adjustment": 0.0,
    }
    held["entries"].append(entry)
    return entry


def _attach(held: dict[str, Json], key: Json, data: dict[str, Json]) -> None:
    """Put the reservation where LiteLLM looks for it: on the key (failure) and in the metadata (success)."""
    key.budget_reservation = held
    for bucket in BUCKETS:
        written = data.get(bucket)
        if isinstance(written, dict) and "user_api_key_auth" in written:
            written["user_api_key_auth"].budget_reservation = held
            written["user_api_key_budget_reservation"] = held


# --------------------------------------------------------------------------------------------- in flight


@dataclass
class Call:
    """A call that has been let through and is not over."""

    id: str
    user_id: str
    task: asyncio.Task[Any]
    held: dict[str, Json] | None = None
    refused: bool = False
    unanswered: bool = False  # Redis was asked for it, and may or may not have let it through

    @property
    def takes_place(self) -> bool:
        return not self.refused and not self.task.done()

    @property
    def is_over(self) -> bool:
        return self.task.done() and (self.held is None or self.held["finalized"] is True)


TAKEN, FULL, OVER, NEW, LEFT = range(5)
TAKE = f"""
local places, taken, mine, left = redis.call('hgetall', KEYS[1]), 0, false, {{}}
for i = 1, #places, 2 do
  local lease = cjson.decode(places[i + 1])
  if lease['until'] <= tonumber(ARGV[3]) then
    redis.call('hdel', KEYS[1], places[i])
    left[#left + 1] = places[i + 1]
  elseif places[i] == ARGV[1] then
    mine = true
  elseif lease['taken'] then
    taken = taken + 1
  end
end
if #left > 0 then return {{{LEFT}, left}} end
if taken >= tonumber(ARGV[4]) and not mine then return {{{FULL}}} end
for i = 2, #KEYS do
  local spent = redis.call('get', KEYS[i])
  if not spent and ARGV[7] == 'no' then return {{{NEW}}} end
  if (tonumber(spent or 0) + tonumber(ARGV[2 * i + 4])) > tonumber(ARGV[2 * i + 5]) then
    return {{{OVER}, i - 2, spent or '0'}}
  end
end
local shown = {{}}
for i = 2, #KEYS do
  shown[i - 1] = redis.call('incrbyfloat', KEYS[i], ARGV[2 * i + 4])
  redis.call('expire', KEYS[i], ARGV[6])
end
redis.call('hset', KEYS[1], ARGV[1], ARGV[2])
redis.call('expire', KEYS[1], ARGV[5])
return {{{TAKEN}, shown}}
"""
"""A place and the money for it, or neither, in one step of Redis.

KEYS: the account's places, then a counter for each budget. ARGV: the place, its lease, the time, the most
places, for how many seconds Redis keeps places and counters, whether all counters are known to be there, then
for each counter what to add and the most that it may show.

Places whose lease has ended are cleared away first, and handed to the one caller that found them, who gives
back what they held and asks again. So does a caller after it had LiteLLM count what was spent before.
"""


class Calls:
    """What is in flight, counted for each account: in memory, and in Redis where LiteLLM has one.

    A place is free when the request's task ends, whichever way it ends. In Redis each place has a lease, so
    that the places of a worker that died become free, and what they held is given back.
    """

    def __init__(self) -> None:
        self.mine: dict[asyncio.Task[Any], Call] = {}
        self.counters: dict[str, float] = {}  # when each counter was last used
        self.renewing: asyncio.Task[None] | None = None

    async def admit(self, key: Json, data: dict[str, Json], most: int, cost: float) -> None:
        """Take a place and hold the cost. Raises ProxyException when there is no place, or no money."""
        redis = _redis()
        if redis is not None and not _is_cluster():
            await self.take(redis, key, data, most, cost)
            return
        call = await self.enter(str(key.user_id), most)
        if cost > 0:
            self.hold(call, await reserve(key, data, cost))

    async def enter(self, user_id: str, most: int) -> Call:
        """Take a place; a request that has one keeps it. Raises ProxyException when all are taken."""
        call, is_new = self._begin(user_id)
        if not is_new:
            return call
        if await self._count(call) > most:
            call.refused = True
            raise refuse_place(most)
        return call

    def _begin(self, user_id: str) -> tuple[Call, bool]:
        """The request's call, and whether it is new."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call outside any task")
        if task in self.mine:
            return self.mine[task], False
        call = self.mine[task] = Call(uuid.uuid4().hex, user_id, task)
        task.add_done_callback(lambda _: self._leave(call))
        if self.renewing is None or self.renewing.done():
            self.renewing = asyncio.create_task(self._renew())
        return call, True

    async def take(self, redis: Json, key: Json, data: dict[str, Json], most: int, cost: float) -> None:
        """Take a place and hold the cost in one step. Raises ProxyException when either is not to be had."""
        held = key.budget_reservation or _new_reservation()
        missing = _missing(held, key, cost) if cost > 0 else []
        holds = {**_amounts(held), **{budget.counter: cost for budget, _ in missing}} if cost > 0 else {}
        call, is_new = self._begin(str(key.user_id))
        call.unanswered = is_new
        what, *told = await _ask(redis, call, _write_lease(taken=True, holds=holds), most, missing)
        call.unanswered = False
        if what != TAKEN:
            call.refused = True
            raise _refuse_taking(what, told, most, missing, cost)
        _note_counters(missing, told[0])
        if cost > 0:
            _write_down(held, missing, cost)
            _attach(held, key, data)
            self._keep(call, held)

    def hold(self, call: Call, held: dict[str, Json]) -> None:
        """Note what a call holds, so that it can be given back after the death of this worker."""
        self._keep(call, held)
        if _redis():
            _run(self._note(call))  # the call need not wait for it

    def _keep(self, call: Call, held: dict[str, Json]) -> None:
        call.held = held
        self.counters.update((entry["counter_key"], time.monotonic()) for entry in held["entries"])

    async def _count(self, call: Call) -> int:
        redis = _redis()
        if redis is None:
            return sum(1 for one in self.mine.values() if one.user_id == call.user_id and one.takes_place)
        pipeline = redis.pipeline(transaction=False)  # each takes its place before it counts
        pipeline.hset(_places(call), call.id, _lease(call))
        pipeline.expire(_places(call), LEASE_SECONDS * 60)
        pipeline.hgetall(_places(call))
        places = (await pipeline.execute())[2]
        return sum(
            [await self._is_taken(redis, call, place, json.loads(told)) for place, told in places.items()]
        )

    async def _is_taken(self, redis: Json, call: Call, place: Json, told: Json) -> bool:
        """Whether a place is taken now. That of a worker that died is cleared away, by one worker alone."""
        if told["until"] > time.time():
            return bool(told["taken"])
        if await redis.hdel(_places(call), place):
            await _give_back(told)
        return False

    def _leave(self, call: Call) -> None:
        """The request is over. LiteLLM settles its reservation, or we do where no callback took it over."""
        _run(self._settle(call))

    async def _settle(self, call: Call) -> None:
        if call.unanswered:
            await self._undo(call)
            return
        held = call.held
        if held is not None and not held["finalized"] and not held["callback_bound"]:
            await _release(held)
        await self._note(call)
        for seconds in LOOKS_SECONDS:
            if call.task not in self.mine:
                return
            await asyncio.sleep(seconds)
            if call.is_over:
                await self._note(call)

    async def _undo(self, call: Call) -> None:
        """Give back what a call holds whose answer was lost. Place and money came together, or neither did.

        Where Redis is away, or lets it through only now, this is done when the lease ends.
        """
        redis = _redis()
        self.mine.pop(call.task, None)
        lease = await redis.hget(_places(call), call.id)
        if lease is not None and await redis.hdel(_places(call), call.id):
            await _give_back(json.loads(lease))

    async def _note(self, call: Call) -> None:
        """Forget a call that is over, and renew the lease of one that is not."""
        redis = _redis()
        if call.unanswered:
            return
        if call.is_over:
            self.mine.pop(call.task, None)
            if redis:
                await redis.hdel(_places(call), call.id)
        elif redis:
            await redis.hset(_places(call), call.id, _lease(call))

    async def _renew(self) -> None:
        while self.mine or self.counters:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew_once()
            except Exception:  # the next round tries again; a lease outlasts three
                verbose_proxy_logger.exception("Keyfund guard: leases could not be renewed")

    async def renew_once(self) -> None:
        """Renew the leases of all calls in flight, and keep LiteLLM's counters of those who called lately."""
        for call in list(self.mine.values()):
            await self._note(call)
        await self._keep_counters()

    async def _keep_counters(self) -> None:
        """LiteLLM forgets a counter some time after it was made, and with it all that is reserved there."""
        from litellm.proxy import proxy_server

        now, busy = time.monotonic(), set[str]()
        for call in self.mine.values():
            busy.update(entry["counter_key"] for entry in (call.held or {}).get("entries", ()))
        for counter, used_at in list(self.counters.items()):
            if counter not in busy and now - used_at > REMEMBER_SECONDS:
                del self.counters[counter]
            elif _redis() is None:
                keep(proxy_server.spend_counter_cache.in_memory_cache, counter)
            elif counter in busy:
                await proxy_server.refresh_spend_counter_ttl(counter)


def keep(memory: Json, counter: str) -> None:
    """Have LiteLLM's memory keep a counter for longer. No ``await``: nothing comes between."""
    value = memory.get_cache(key=counter)
    if value is not None:
        memory.ttl_dict.pop(counter, None)
        memory.set_cache(counter, value, ttl=COUNTER_SECONDS)


def refuse_place(most: int) -> ProxyException:
    text = f"this account has {most} calls in flight, which is the most. Wait for one to end."
    return refuse(429, "too_many_in_flight", text)


async def _ask(
    redis: Json, call: Call, lease: str, most: int, missing: list[tuple[Budget, float]]
) -> list[Json]:
    """Redis's answer, once what dead workers left is given back and every counter is known."""
    from litellm.proxy import proxy_server

    cache = proxy_server.spend_counter_cache.redis_cache
    keys = [_places(call), *(cache.check_and_fix_namespace(budget.counter) for budget, _ in missing)]
    seconds = (LEASE_SECONDS * 60, cache.get_ttl())
    sums = [number for budget, dollars in missing for number in (dollars, budget.most + HAIR)]
    known = "no"
    while True:
        told: list[Json] = await redis.eval(
            TAKE, len(keys), *keys, call.id, lease, time.time(), most, *seconds, known, *sums
        )
        if told[0] == LEFT:
            for left in told[1]:
                await _give_back(json.loads(left))
        elif told[0] == NEW:
            for budget, _ in missing:
                await proxy_server.ensure_spend_counter_initialized(budget.counter, budget.source)
            known = "yes"
        else:
            return told


def _refuse_taking(
    what: int, told: list[Json], most: int, missing: list[tuple[Budget, float]], cost: float
) -> ProxyException:
    if what == FULL:
        return refuse_place(most)
    budget, _ = missing[told[0]]
    return refuse_money(budget.owner, budget.owner_id, float(told[1]), budget.most, cost)


def _note_counters(missing: list[tuple[Budget, float]], shown: list[Json]) -> None:
    """As LiteLLM notes counters that it changed: in its memory, and for what this request reads later."""
    from litellm.proxy import proxy_server
    from litellm.proxy.spend_tracking.spend_counter_batch import record_spend_counter_value

    for (budget, _), now in zip(missing, shown, strict=True):
        proxy_server.spend_counter_cache.in_memory_cache.set_cache(budget.counter, float(now))
        record_spend_counter_value(budget.counter, float(now))


async def _give_back(lease: Mapping[str, Json]) -> None:
    await _increment([(counter, -dollars) for counter, dollars in lease["held"].items()])


def _is_cluster() -> bool:
    """Whether the keys of one account are kept by several servers, so that no one step can change all."""
    from litellm.caching.redis_cluster_cache import RedisClusterCache
    from litellm.proxy import proxy_server

    return isinstance(proxy_server.spend_counter_cache.redis_cache, RedisClusterCache)


def _redis() -> Json:
    from litellm.proxy import proxy_server

    cache = proxy_server.spend_counter_cache.redis_cache
    return None if cache is None else cache.init_async_client()


def _places(call: Call) -> str:
    return f"keyfund:calls:{call.user_id}"


def _lease(call: Call) -> str:
    return _write_lease(taken=call.takes_place, holds=_amounts(call.held or {}))


def _amounts(held: Mapping[str, Json]) -> dict[str, float]:
    return {entry["counter_key"]: entry["reserved_cost"] for entry in held.get("entries", ())}


def _write_lease(*, taken: bool, holds: Mapping[str, float]) -> str:
    return json.dumps({"until": time.time() + LEASE_SECONDS, "taken": taken, "held": holds})


RUNNING: set[asyncio.Task[Any]] = set()


def _run(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    RUNNING.add(task)
    task.add_done_callback(RUNNING.discard)


async def _release(held: dict[str, Json]) -> None:
    from litellm.proxy.spend_tracking.budget_reservation import release_or_invalidate_budget_reservation

    await release_or_invalidate_budget_reservation(held)


# ------------------------------------------------------------------------------------------------- the guard


@dataclass(frozen=True)
class Additions:
    """What an operator lets through besides; ``in_flight`` is for keys that do not say how many."""

    fields: frozenset[str] = field(default_factory=lambda: words("KEYFUND_GUARD_FIELDS"))
    headers: frozenset[str] = field(default_factory=lambda: words("KEYFUND_GUARD_HEADERS"))
    query: frozenset[str] = field(default_factory=lambda: words("KEYFUND_GUARD_QUERY"))
    in_flight: int = field(default_factory=lambda: int(os.environ.get("KEYFUND_GUARD_IN_FLIGHT", "20")))


class KeyfundGuard(CustomLogger):
    """The callback. Loaded twice, only the first acts."""

    def __init__(self) -> None:
        super().__init__()
        self.version = VERSION
        self.additions = Additions()
        self.calls = Calls()
        self.rates: dict[str, tuple[float, list[Deployment], list[Deployment]]] = {}
        if getattr(litellm, "keyfund_guard", None) is None:
            litellm.keyfund_guard = self

    def __repr__(self) -> str:
        """What LiteLLM shows of its callbacks, by which Keyfund sees for nothing which guard is loaded."""
        return f"<Keyfund guard {VERSION}>"

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Json,
        cache: Json,  # noqa: ARG002 (LiteLLM's signature)
        data: dict[str, Json],
        call_type: str,
    ) -> None:
        """Let a call of a marked key through, with its cost reserved, or refuse it."""
        if litellm.keyfund_guard is not self or MARK not in (user_api_key_dict.metadata or {}):
            return
        try:
            await self._admit(user_api_key_dict, data, call_type)
        except ProxyException:
            raise
        except Exception as error:
            raise refuse(
                503, "guard_failed", f"it could not examine this call ({type(error).__name__})."
            ) from error

    async def _admit(self, key: Json, data: dict[str, Json], call_type: str) -> None:
        told = key.metadata.get(OURS) or {}
        route = open_route(call_type, told)
        check_request(data, self.additions.headers, self.additions.query)
        asked = check_fields(route, data, self.additions.fields)
        model = check_model(asked, data, route, told)
        served, fallbacks = self._deployments(model)
        if (limit := limit_output(route, asked, served)) is not None:
            name, most = limit
            asked[name] = data[name] = most
        if route == "completions" and asked.get("stream"):
            data["stream_options"] = {"include_usage": True}  # or LiteLLM charges nothing for it
        cost = max(bound(route, asked, deployment) for deployment in (*served, *fallbacks))
        await self.calls.admit(key, data, int(told.get("in_flight") or self.additions.in_flight), cost)

    def _deployments(self, model: str) -> tuple[list[Deployment], list[Deployment]]:
        """Who may serve a call of this model, and who may serve it in their place."""
        known = self.rates.get(model)
        if known is None or known[0] < time.monotonic():
            from litellm.proxy import proxy_server

            served, fallbacks = read_deployments(model, proxy_server.llm_router)
            proxy_server.spend_counter_cache.in_memory_cache.max_size_in_memory = MOST_COUNTERS
            known = self.rates[model] = (time.monotonic() + RATES_SECONDS, served, fallbacks)
        return known[1], known[2]


def open_route(call_type: str, told: Mapping[str, Json]) -> str:
    route = ROUTES.get(str(call_type))
    if route is None or not (route in ALWAYS_OPEN or route in (told.get("routes") or {})):
        raise refuse(403, "route_closed", "this route is not open to prepaid keys.")
    return route


guard = KeyfundGuard()
