"""The webhook service in this process, on a Supabase of canned answers."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import httpx
import jwt
import respx
from fastapi import FastAPI

from core.settings import Settings
from webhook.app import build_app
from webhook.examples import INSTALLATION

SUPABASE = "http://supabase.test"
REST = f"{SUPABASE}/rest/v1"
LITELLM = "http://litellm.test"
SECRET = "s" * 40
STATUS = {
    "breaker": "closed", "litellm_answers": True, "litellm_warnings": [], "litellm_last_ok_at": None,
    "accounts": 0, "keys": 0, "events": 0, "parked": 0, "oldest_seconds": 0, "worker_last_seen": None,
}  # fmt: skip


OWN = {"keys": 1, "events": 0, "parked": 0, "oldest_seconds": 7}


def make_settings(**other: object) -> Settings:
    return Settings.model_validate(
        {
            "supabase_url": SUPABASE,
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
            "supabase_jwt_secret": SECRET,
            "paystack_secret_key": "sk_test_a1",
            **other,
        }
    )


def token(user_id: str, **other: object) -> dict[str, str]:
    claims = {
        "sub": user_id,
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 86_400,
    }
    return {"authorization": f"Bearer {jwt.encode(claims | other, SECRET, algorithm='HS256')}"}


def listed(*rows: dict[str, Any]) -> httpx.Response:
    """A table's rows as PostgREST hands them over when they are to be counted."""
    return httpx.Response(200, json=list(rows), headers={"content-range": f"0-{len(rows)}/{len(rows)}"})


class Service:
    """The application; each call may come from another address."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        host: str = "10.0.0.1",
        **request: Any,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return await client.request(method, path, headers=headers or {}, **request)

    async def get(
        self, path: str, headers: dict[str, str] | None = None, host: str = "10.0.0.1"
    ) -> httpx.Response:
        return await self.call("GET", path, headers, host)


@contextmanager
def supabase() -> Iterator[respx.MockRouter]:
    """What every service asks for; more routes may be added."""
    with respx.mock(assert_all_called=False) as routes:
        routes.post(f"{REST}/rpc/check_installation").respond(json={})
        routes.post(f"{REST}/rpc/read_status").respond(json=STATUS)
        routes.post(f"{REST}/rpc/read_own_backlog").respond(json=OWN)
        routes.post(f"{REST}/rpc/is_administrator").respond(json=False)
        routes.post(f"{REST}/rpc/read_limits").respond(json=INSTALLATION)
        yield routes


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """The service, started; within `supabase`."""
    with mock.patch("core.http.Transport", return_value=None):  # httpx's own, which respx answers for
        app = build_app(settings)
        async with app.router.lifespan_context(app):
            yield Service(app)
