"""POST /images/generations, /images/edits, /images/variations: every picture is billed."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import answer, field
from dev.provider.asking import body_of, call_of, keyed, model_of
from dev.provider.demand import Demand
from dev.provider.form import form_of
from dev.provider.refusal import JsonObject, invalid
from dev.provider.shape import EDITS, IMAGES

MOST_PICTURES: Final = 10
PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel, as PNG, in base64."""


@keyed
async def create(request: Request) -> Response:
    """Draw `n` pictures."""
    body = await body_of(request)
    IMAGES.check(body)
    return await _draw(request, body)


@keyed
async def edit(request: Request) -> Response:
    """Draw `n` pictures after one that is sent."""
    form = await form_of(request)
    form.file("image")
    EDITS.check(form.fields)
    return await _draw(request, form.fields)


@keyed
async def vary(request: Request) -> Response:
    """Draw `n` pictures that are like the one sent."""
    form = await form_of(request)
    form.file("image")
    return await _draw(request, form.fields)


async def _draw(request: Request, body: JsonObject) -> Response:
    call, model = call_of(request), model_of(request, body, "image_generation")
    pictures = field.integer(body, "n", 1, MOST_PICTURES) or 1
    if field.flag(body, "stream"):
        raise invalid("stream", "this model does not stream pictures")
    demand = Demand.of(str(body.get("prompt", "")))
    await demand.meet()
    call.charge(
        model.name, pictures * (model.price.output_micros_per_image or 0), n=pictures, images=pictures
    )
    drawn = {"created": int(time.time()), "data": [{"b64_json": PICTURE}] * pictures}
    return answer.whole(call, demand, drawn)
