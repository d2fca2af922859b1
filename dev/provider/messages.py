"""POST /messages, as Anthropic has it; counting is free."""

from collections.abc import Iterator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, desk_of, keyed, model_of
from dev.provider.cache import read
from dev.provider.demand import Demand
from dev.provider.limit import choices_of, tokens_of
from dev.provider.price import Model
from dev.provider.prompt import Prompt, parts_of
from dev.provider.refusal import JsonObject, missing
from dev.provider.shape import COUNTING, MESSAGES
from dev.provider.tokens import pieces, words
from dev.provider.usage import Usage
from dev.provider.work import Work, searches, tools_tokens


@keyed
async def create(request: Request) -> Response:
    """Generate as many tokens as `max_tokens` allows, which must be given."""
    body, call = await body_of(request), call_of(request)
    if not request.headers.get("anthropic-version"):
        raise missing("anthropic-version")
    work = work_of(body, model_of(request, body, "chat"), desk_of(request).prompts)
    call.asked |= work.asked()
    await work.demand.meet()
    if work.stream:
        events = _events(work, call.id)
        return answer.streamed(call, work.demand, events, lambda n: work.bill_output(call, n))
    work.bill(call)
    return answer.whole(call, work.demand, _message(work, call.id))


@keyed
async def count_input(request: Request) -> Response:
    """POST /messages/count_tokens."""
    body = await body_of(request)
    COUNTING.check(body)
    model = model_of(request, body, "chat")
    tokens = prompt_of(body).tokens + tools_tokens(body)
    call_of(request).charge(model.name, 0, input_tokens=tokens)
    return JSONResponse({"input_tokens": tokens, "context_management": None})


def work_of(body: JsonObject, model: Model, prompts: set[str]) -> Work:
    """What a body asks of a model."""
    MESSAGES.check(body)
    field.one_of(body, "service_tier", ("auto", "standard_only"))
    prompt, tokens, choices = prompt_of(body), tokens_of(body, model), choices_of(body)
    usage = Usage(
        input_tokens=prompt.tokens + tools_tokens(body),
        output_tokens=tokens * choices,
        searches=searches(body),
    )
    marked = "cache_control" in str(body)
    return Work(
        model=model,
        demand=Demand.of(prompt.text),
        usage=read(prompts, model, prompt.text, usage) if marked else usage,
        tokens=tokens,
        choices=choices,
        stream=field.flag(body, "stream"),
        counted=prompt.counted,
    )


def prompt_of(body: JsonObject) -> Prompt:
    """The messages with the system's text."""
    prompt = Prompt.of(field.required(field.items(body, "messages"), "messages"))
    system = Prompt.weighed(list(parts_of(body.get("system"))))
    text = f"{system.text}\n{prompt.text}"
    return replace(prompt, text=text, text_tokens=prompt.text_tokens + system.text_tokens)


def _message(work: Work, name: str) -> JsonObject:
    return _head(work, name) | {
        "content": [{"type": "text", "text": words(work.tokens * work.choices), "citations": None}],
        "stop_reason": "max_tokens",
        "usage": _usage(work.usage),
    }


def _head(work: Work, name: str) -> JsonObject:
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": work.model.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "context_management": None,
    }


def _usage(usage: Usage) -> JsonObject:
    tools = {"web_search_requests": usage.searches, "web_fetch_requests": 0} if usage.searches else None
    return usage.messages() | {
        "cache_creation": None,
        "inference_geo": None,
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": tools,
        "service_tier": "standard",
    }


def _events(work: Work, name: str) -> Iterator[answer.Event]:
    """The same as a stream."""
    begun = _head(work, name) | {"usage": _usage(work.usage.generated(0))}
    block = {"type": "text", "text": "", "citations": None}
    steps: list[tuple[int, JsonObject]] = [
        (0, {"type": "message_start", "message": begun}),
        (0, {"type": "content_block_start", "index": 0, "content_block": block}),
    ]
    tokens_in_all = work.tokens * work.choices
    for tokens, text in pieces(tokens_in_all, tokens_in_all):
        delta = {"type": "text_delta", "text": text}
        steps.append((tokens, {"type": "content_block_delta", "index": 0, "delta": delta}))
    end = {"stop_reason": "max_tokens", "stop_sequence": None, "stop_details": None, "container": None}
    steps += [
        (0, {"type": "content_block_stop", "index": 0}),
        (0, {"type": "message_delta", "delta": end, "usage": _usage(work.usage)}),
        (0, {"type": "message_stop"}),
    ]
    for tokens, step in steps:
        yield tokens, answer.data(step, step["type"])
