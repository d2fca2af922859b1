"""POST /embeddings: every token of every input is billed."""

import base64
import struct
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.completions import prompts_of, tokens_of_prompt
from dev.provider.demand import Demand
from dev.provider.refusal import JsonObject, invalid
from dev.provider.shape import EMBEDDINGS
from dev.provider.usage import Usage, cost_micros

MOST_INPUTS: Final = 2_048
DIMENSIONS: Final = 8


@keyed
async def create(request: Request) -> Response:
    """Turn each input into a vector."""
    body, call = await body_of(request), call_of(request)
    EMBEDDINGS.check(body)
    model = model_of(request, body, "embedding")
    inputs = prompts_of(body["input"], "input")
    if len(inputs) > MOST_INPUTS:
        raise invalid("input", f"at most {MOST_INPUTS} inputs, got {len(inputs)}")
    coded = field.one_of(body, "encoding_format", ("float", "base64")) == "base64"
    size = field.integer(body, "dimensions", 1, 4_096) or DIMENSIONS
    usage = Usage(input_tokens=sum(tokens_of_prompt(each) for each in inputs))
    demand = Demand.of("\n".join(each for each in inputs if isinstance(each, str)))
    await demand.meet()
    call.charge(model.name, cost_micros(model, usage), inputs=len(inputs), usage=usage.told())
    vectors = [_vector(index, size, coded=coded) for index in range(len(inputs))]
    told = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return answer.whole(call, demand, {"object": "list", "data": vectors, "model": model.name, "usage": told})


def _vector(index: int, size: int, *, coded: bool) -> JsonObject:
    numbers = [1.0 / size] * size
    told = base64.b64encode(struct.pack(f"<{size}f", *numbers)).decode() if coded else numbers
    return {"object": "embedding", "index": index, "embedding": told}
