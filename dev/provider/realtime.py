"""/realtime: secrets that outlive the key they were made with, and calls made with them."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider.asking import body_of, call_of, desk_of, given_key, keyed
from dev.provider.refusal import JsonObject, unknown_key
from dev.provider.shape import SECRET

CALL_MICROS: Final = 1_000_000
"""What a call costs."""

SECRET_SECONDS: Final = 600


@keyed
async def create_secret(request: Request) -> Response:
    """POST /realtime/client_secrets: a secret for a browser."""
    body, desk = await body_of(request), desk_of(request)
    SECRET.check(body)
    secret = desk.name("ek")
    desk.secrets.add(secret)
    session = {"type": "realtime", "object": "realtime.session", "id": desk.name("sess")}
    session |= body.get("session") or {}
    expires_at = int(time.time()) + SECRET_SECONDS
    return JSONResponse({"value": secret, "expires_at": expires_at, "session": session})


@keyed
async def create_session(request: Request) -> Response:
    """POST /realtime/sessions: the same in its older form."""
    body, desk = await body_of(request), desk_of(request)
    secret = desk.name("ek")
    desk.secrets.add(secret)
    told: JsonObject = {"value": secret, "expires_at": int(time.time()) + SECRET_SECONDS}
    return JSONResponse(
        {"id": desk.name("sess"), "object": "realtime.session", **body, "client_secret": told}
    )


async def call(request: Request) -> Response:
    """POST /realtime/calls: taken with a secret or the key, and billed."""
    desk, key = desk_of(request), given_key(request)
    if key not in desk.secrets and key != desk.key:
        raise unknown_key()
    call_of(request).charge("realtime", CALL_MICROS, offer_bytes=len(await request.body()))
    headers = {"location": f"/v1/realtime/calls/{desk.name('rtc')}"}
    return Response("v=0\r\n", 201, headers, media_type="application/sdp")
