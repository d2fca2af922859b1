"""What every route needs: the desk, the call on the bill, the key, the body, the model."""

import hmac
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from dev.provider import field
from dev.provider.bill import Call
from dev.provider.desk import Desk
from dev.provider.price import MODELS, Model
from dev.provider.refusal import JsonObject, RefusedError, unknown_key, unknown_model

Endpoint = Callable[[Request], Awaitable[Response]]


def desk_of(request: Request) -> Desk:
    """The desk that this app serves."""
    return cast(Desk, request.app.state.desk)


def call_of(request: Request) -> Call:
    """This request's entry on the bill."""
    return cast(Call, request.scope["call"])


def keyed(endpoint: Endpoint) -> Endpoint:
    """Let only calls with the provider's key through, in the header of any of the vendors."""

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        if not hmac.compare_digest(given_key(request).encode(), desk_of(request).key.encode()):
            raise unknown_key()
        return await endpoint(request)

    return checked


def given_key(request: Request) -> str:
    """The key that a call came with, in the header that one of the vendors has for it."""
    headers = request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return bearer or headers.get("api-key") or headers.get("x-api-key") or ""


async def body_of(request: Request) -> JsonObject:
    """The JSON object in the body; the names of its fields go on the bill."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise RefusedError(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "The JSON body of your request must be an object.")
    call_of(request).asked["fields"] = sorted(body)
    return body


def model_of(request: Request, body: JsonObject, *modes: str) -> Model:
    """The model that a call names: in the path, as Azure's deployments are, or in the body."""
    name = request.path_params.get("deployment") or field.required(field.text(body, "model"), "model")
    call_of(request).model = name
    model = MODELS.get(name)
    if model is None or model.mode not in modes:
        raise unknown_model(name)
    return model
