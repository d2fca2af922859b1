"""POST /chat/completions, as OpenAI's and as Azure's deployments have it."""

import json
import time
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, desk_of, keyed, model_of
from dev.provider.cache import read
from dev.provider.demand import Demand
from dev.provider.limit import choices_of, tokens_of
from dev.provider.price import TIERS, Model
from dev.provider.prompt import Prompt
from dev.provider.refusal import JsonObject, invalid
from dev.provider.shape import CHAT
from dev.provider.tokens import count, pieces, words
from dev.provider.usage import Usage
from dev.provider.work import Work, reasoning_tokens, searches, tools_tokens


@keyed
async def create(request: Request) -> Response:
    """Generate `n` choices of as many tokens as are allowed."""
    body, call = await body_of(request), call_of(request)
    work = work_of(body, model_of(request, body, "chat"), desk_of(request).prompts)
    call.asked |= work.asked()
    await work.demand.meet()
    if work.stream:
        usage = field.flag(body, "stream_options.include_usage")
        return answer.streamed(
            call, work.demand, chunks(work, call.id, usage), lambda n: work.bill_output(call, n)
        )
    work.bill(call)
    return answer.whole(call, work.demand, completion(work, call.id))


def work_of(body: JsonObject, model: Model, prompts: set[str]) -> Work:
    """What a body asks of a model; a body that makes no sense is refused."""
    CHAT.check(body)
    prompt = Prompt.of(field.required(field.items(body, "messages"), "messages"))
    tokens, choices = tokens_of(body, model), choices_of(body)
    predicted = count(json.dumps(field.at(body, "prediction.content"))) if field.at(body, "prediction") else 0
    input_tokens = prompt.tokens + tools_tokens(body)
    if input_tokens > model.input_tokens:
        raise invalid("messages", f"at most {model.input_tokens} tokens, got {input_tokens}")
    output_tokens = tokens * choices + predicted
    usage = Usage(
        input_tokens=input_tokens,
        audio_tokens=prompt.audio_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens(body, "reasoning_effort", model, tokens) * choices,
        rejected_tokens=predicted,
        searches=searches(body),
    )
    return Work(
        model=model,
        demand=Demand.of(prompt.text),
        usage=read(prompts, model, prompt.text, usage),
        tokens=tokens,
        choices=choices,
        tier=field.one_of(body, "service_tier", TIERS) or "default",
        stream=field.flag(body, "stream"),
        counted=prompt.counted,
    )


def completion(work: Work, name: str) -> JsonObject:
    """The whole answer."""
    text = words(work.visible_tokens)
    choices: list[JsonObject] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "length",
        }
        for index in range(work.choices)
    ]
    return _head(work, name, "chat.completion") | {"choices": choices, "usage": work.usage.chat()}


def chunks(work: Work, name: str, include_usage: bool) -> Iterator[answer.Event]:
    """The answer piece by piece, choice after choice, and its usage at the end where that is asked for."""
    head = _head(work, name, "chat.completion.chunk") | ({"usage": None} if include_usage else {})
    for index in range(work.choices):
        for tokens, text in pieces(work.tokens, work.visible_tokens):
            delta = {"role": "assistant", "content": text}
            yield tokens, answer.data(head | {"choices": [_delta(index, delta, None)]})
        yield 0, answer.data(head | {"choices": [_delta(index, {}, "length")]})
    if include_usage:
        yield 0, answer.data(head | {"choices": [], "usage": work.usage.chat()})
    yield work.usage.rejected_tokens, "data: [DONE]\n\n"


def _delta(index: int, delta: JsonObject, finish_reason: str | None) -> JsonObject:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _head(work: Work, name: str, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{name}",
        "object": kind,
        "created": int(time.time()),
        "model": work.model.name,
        "service_tier": work.tier,
        "system_fingerprint": "fp_standin",
    }
