"""/responses: create, fetch, cancel and delete; counting is free."""

import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, desk_of, keyed, model_of
from dev.provider.cache import read
from dev.provider.demand import Demand
from dev.provider.desk import Desk
from dev.provider.limit import choices_of, tokens_of
from dev.provider.price import TIERS, Model
from dev.provider.prompt import Prompt, parts_of
from dev.provider.refusal import JsonObject, invalid, missing, unknown, wrong_type
from dev.provider.shape import RESPONSES
from dev.provider.tokens import MESSAGE_TOKENS, pieces, words
from dev.provider.usage import Usage
from dev.provider.work import Work, reasoning_tokens, searches, tools_tokens


@keyed
async def create(request: Request) -> Response:
    """Answer an input; with `background` the answer is there to fetch, and billed all the same."""
    body, call, desk = await body_of(request), call_of(request), desk_of(request)
    work = work_of(body, model_of(request, body, "chat"), desk)
    call.asked |= work.asked()
    await work.demand.meet()
    told = response(work, body, f"resp_{call.id}")
    if body.get("store") is not False:
        desk.responses[told["id"]] = told
    if work.stream:
        return answer.streamed(call, work.demand, events(work, told), lambda n: work.bill_output(call, n))
    work.bill(call)
    if field.flag(body, "background"):
        return JSONResponse(_begun(told, "queued"))
    return answer.whole(call, work.demand, told)


@keyed
async def count_input(request: Request) -> Response:
    """POST /responses/input_tokens: what an input would count for."""
    body = await body_of(request)
    RESPONSES.check(body)
    model = model_of(request, body, "chat")
    tokens = prompt_of(body, desk_of(request)).tokens + tools_tokens(body)
    call_of(request).charge(model.name, 0, input_tokens=tokens)
    return JSONResponse({"object": "response.input_tokens", "input_tokens": tokens})


@keyed
async def fetch(request: Request) -> Response:
    """GET /responses/{id}: the finished answer, at no further cost."""
    return JSONResponse(_stored(request))


@keyed
async def cancel(request: Request) -> Response:
    """POST /responses/{id}/cancel: what was done until then is billed, and here that is all."""
    told = _stored(request)
    told["status"] = "cancelled"
    return JSONResponse(told)


@keyed
async def delete(request: Request) -> Response:
    """DELETE /responses/{id}."""
    told = _stored(request)
    del desk_of(request).responses[told["id"]]
    return JSONResponse({"id": told["id"], "object": "response", "deleted": True})


@keyed
async def input_items(request: Request) -> Response:
    """GET /responses/{id}/input_items: not kept."""
    _stored(request)
    return JSONResponse({"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False})


def _stored(request: Request) -> JsonObject:
    name = request.path_params["id"]
    if name not in desk_of(request).responses:
        raise unknown("response", name)
    return desk_of(request).responses[name]


def work_of(body: JsonObject, model: Model, desk: Desk) -> Work:
    """What a body asks of a model."""
    RESPONSES.check(body)
    prompt = prompt_of(body, desk)
    tokens, choices = tokens_of(body, model), choices_of(body)
    input_tokens = prompt.tokens + tools_tokens(body)
    if input_tokens > model.input_tokens:
        raise invalid("input", f"at most {model.input_tokens} tokens, got {input_tokens}")
    usage = Usage(
        input_tokens=input_tokens,
        audio_tokens=prompt.audio_tokens,
        output_tokens=tokens * choices,
        reasoning_tokens=reasoning_tokens(body, "reasoning.effort", model, tokens) * choices,
        searches=searches(body),
    )
    return Work(
        model=model,
        demand=Demand.of(prompt.text),
        usage=read(desk.prompts, model, prompt.text, usage),
        tokens=tokens,
        choices=choices,
        tier=field.one_of(body, "service_tier", TIERS) or "default",
        stream=field.flag(body, "stream"),
        counted=prompt.counted,
    )


def prompt_of(body: JsonObject, desk: Desk) -> Prompt:
    """The input with the instructions and, where the body goes on from an answer, all that led to that."""
    items = _items(body.get("input"))
    earlier = _earlier_tokens(body, desk)
    if not items and not earlier:
        raise missing("input")
    if body.get("prompt") or body.get("conversation"):
        raise unknown("prompt or conversation", str(body.get("prompt") or body["conversation"]))
    parts = [part for item in items for part in _parts(item)] + [{"text": body.get("instructions") or ""}]
    return Prompt.weighed(parts, MESSAGE_TOKENS * (len(items) + 1) + earlier)


def _earlier_tokens(body: JsonObject, desk: Desk) -> int:
    name = field.text(body, "previous_response_id")
    if not name:
        return 0
    if name not in desk.responses:
        raise unknown("response", name)
    return int(desk.responses[name]["usage"]["total_tokens"])


def _items(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise wrong_type("input", "a string or an array of objects")
    return given


def _parts(item: JsonObject) -> Iterator[JsonObject]:
    yield {"text": str(item.get("role", ""))}
    yield from parts_of(item.get("content"))
    for name in ("arguments", "output"):
        if item.get(name):
            yield {"text": str(item[name])}


def response(work: Work, body: JsonObject, name: str) -> JsonObject:
    """The whole answer; one that the model's or the body's limit ended is incomplete."""
    now = int(time.time())
    message = {
        "id": name.replace("resp_", "msg_"),
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [_text(words(work.visible_tokens * work.choices))],
    }
    return {
        "id": name,
        "object": "response",
        "created_at": now,
        "completed_at": now,
        "status": "completed",
        "background": field.flag(body, "background"),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": work.model.name,
        "output": [message],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "service_tier": work.tier,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": "auto",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "usage": work.usage.responses(),
    }


def _begun(told: JsonObject, status: str) -> JsonObject:
    """The same answer before it is there."""
    begun = {name: value for name, value in told.items() if name != "usage"}
    return begun | {"status": status, "output": [], "completed_at": None}


def _text(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def events(work: Work, told: JsonObject) -> Iterator[answer.Event]:
    """The same as a stream: begun, written piece by piece, completed."""
    begun = _begun(told, "in_progress")
    (message,) = told["output"]
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    steps: list[tuple[int, JsonObject]] = [
        (0, {"type": "response.created", "response": begun}),
        (0, {"type": "response.output_item.added", "output_index": 0, "item": message | {"content": []}}),
        (0, {"type": "response.content_part.added", **place, "part": _text("")}),
    ]
    for tokens, text in pieces(work.tokens * work.choices, work.visible_tokens * work.choices):
        steps.append((tokens, {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}))
    (part,) = message["content"]
    steps += [
        (0, {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}),
        (0, {"type": "response.content_part.done", **place, "part": part}),
        (0, {"type": "response.output_item.done", "output_index": 0, "item": message}),
        (0, {"type": "response.completed", "response": told}),
    ]
    for number, (tokens, step) in enumerate(steps):
        yield tokens, answer.data(step | {"sequence_number": number}, step["type"])
