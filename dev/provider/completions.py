"""POST /completions: each prompt of a list is answered, and billed."""

import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.limit import choices_of, tokens_of
from dev.provider.price import Model
from dev.provider.refusal import JsonObject, invalid, wrong_type
from dev.provider.shape import COMPLETIONS
from dev.provider.tokens import count, pieces, words
from dev.provider.usage import Usage
from dev.provider.work import Work


@keyed
async def create(request: Request) -> Response:
    """Generate `n` choices (or `best_of`, of which `n` are shown) for each prompt."""
    body, call = await body_of(request), call_of(request)
    COMPLETIONS.check(body)
    model = model_of(request, body, "chat", "completion")
    prompts = prompts_of(body["prompt"])
    work = work_of(body, model, prompts)
    call.asked |= work.asked() | {"n": choices_of(body), "prompts": len(prompts)}
    await work.demand.meet()
    if work.stream:
        usage = field.flag(body, "stream_options.include_usage")
        return answer.streamed(
            call, work.demand, chunks(work, call.id, usage), lambda n: work.bill_output(call, n)
        )
    work.bill(call)
    return answer.whole(call, work.demand, completion(work, call.id))


def work_of(body: JsonObject, model: Model, prompts: list[Any]) -> Work:
    """What a body asks of a model."""
    tokens, choices = tokens_of(body, model), choices_of(body) * len(prompts)
    input_tokens = sum(tokens_of_prompt(prompt) for prompt in prompts)
    if input_tokens > model.input_tokens:
        raise invalid("prompt", f"at most {model.input_tokens} tokens, got {input_tokens}")
    return Work(
        model=model,
        demand=Demand.of("\n".join(prompt for prompt in prompts if isinstance(prompt, str))),
        usage=Usage(input_tokens=input_tokens, output_tokens=tokens * choices),
        tokens=tokens,
        choices=choices,
        stream=field.flag(body, "stream"),
    )


def prompts_of(prompt: Any, name: str = "prompt") -> list[Any]:
    """The prompts in a text, a list of texts, a list of token ids, or a list of such lists."""
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise wrong_type(name, "a string or an array that is not empty")
    if all(type(each) is int for each in prompt):
        return [prompt]
    if all(isinstance(each, str) for each in prompt) or all(_is_ids(each) for each in prompt):
        return prompt
    raise wrong_type(name, "an array of strings, of integers, or of arrays of integers")


def _is_ids(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(type(each) is int for each in prompt)


def tokens_of_prompt(prompt: str | list[int]) -> int:
    """The tokens of a text, or of a list that holds them."""
    return count(prompt) if isinstance(prompt, str) else len(prompt)


def completion(work: Work, name: str) -> JsonObject:
    """The whole answer."""
    choices = [_choice(index, words(work.tokens), "length") for index in range(work.choices)]
    return _head(work, name) | {"choices": choices, "usage": work.usage.chat()}


def chunks(work: Work, name: str, include_usage: bool) -> Iterator[answer.Event]:
    """The answer piece by piece, choice after choice, and its usage at the end where that is asked for."""
    for index in range(work.choices):
        for tokens, text in pieces(work.tokens, work.tokens):
            yield tokens, answer.data(_head(work, name) | {"choices": [_choice(index, text, None)]})
        yield 0, answer.data(_head(work, name) | {"choices": [_choice(index, "", "length")]})
    if include_usage:
        yield 0, answer.data(_head(work, name) | {"choices": [], "usage": work.usage.chat()})
    yield 0, "data: [DONE]\n\n"


def _choice(index: int, text: str, finish_reason: str | None) -> JsonObject:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _head(work: Work, name: str) -> JsonObject:
    return {
        "id": f"cmpl-{name}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": work.model.name,
    }
