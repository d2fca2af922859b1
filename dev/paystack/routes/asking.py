"""What every route needs: the sandbox, the body, the key, and Paystack's envelope."""

import hmac
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.paystack.refusal import RefusedError, invalid, invalid_key, unknown
from dev.paystack.sandbox import Sandbox
from dev.paystack.wire import JsonObject

Endpoint = Callable[[Request], Awaitable[Response]]


def sandbox_of(request: Request) -> Sandbox:
    """The sandbox that this app serves."""
    return cast(Sandbox, request.app.state.sandbox)


def keyed(endpoint: Endpoint) -> Endpoint:
    """Let only calls with the merchant's secret key through."""

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        expected = f"Bearer {sandbox_of(request).outbox.secret_key}"
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise invalid_key()
        return await endpoint(request)

    return checked


async def body_of(request: Request) -> JsonObject:
    """The object in the body: JSON or, as Paystack takes it too, a form. None sent is an empty one."""
    raw = await request.body()
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode()))
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError:
        raise invalid("The body is not JSON") from None
    if not isinstance(body, dict):
        raise invalid("The body is not an object")
    return body


def answered(message: str, data: Any, **more: Any) -> Response:
    """Paystack's envelope around something that went well."""
    return JSONResponse({"status": True, "message": message, "data": data, **more})


async def refused(_request: Request, error: Exception) -> Response:
    """Paystack's envelope around a refusal."""
    refusal = cast(RefusedError, error)
    return JSONResponse(refusal.body, refusal.http_status)


def id_in(request: Request, thing: str) -> int:
    """The numeric id in the path; anything else names nothing."""
    text: str = request.path_params["id"]
    if not text.isascii() or not text.isdigit():
        raise unknown(thing)
    return int(text)
