"""POST /images/generations: every picture is billed."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.price import Model
from dev.provider.refusal import JsonObject

MOST_PICTURES: Final = 10
PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel, as PNG, in base64."""


@keyed
async def create(request: Request) -> Response:
    """Draw `n` pictures."""
    body = await body_of(request)
    return await draw(request, body, model_of(request, body, "image_generation"))


async def draw(request: Request, body: JsonObject, model: Model) -> Response:
    """Draw what a body asks for, once its model is known."""
    call, demand = call_of(request), Demand.of(field.required(field.text(body, "prompt"), "prompt"))
    pictures = field.integer(body, "n", 1, MOST_PICTURES) or 1
    field.text(body, "size")
    field.text(body, "quality")
    await demand.meet()
    price_micros = model.price.output_micros_per_image or 0
    call.charge(model.name, pictures * price_micros, n=pictures, images=pictures)
    drawn = {"created": int(time.time()), "data": [{"b64_json": PICTURE}] * pictures}
    return answer.whole(call, demand, drawn)
