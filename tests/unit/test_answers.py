"""Errors have one shape and every answer its headers, a fault of our own too."""

import httpx
import pytest
from fastapi import FastAPI

from core.errors import RefusedError
from webhook.answers import HEADERS, install


def application() -> FastAPI:
    app = FastAPI()
    install(app)

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    @app.get("/refused")
    async def refused() -> None:
        raise RefusedError("no_such_thing", "There is no such thing.", status=404)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("sk-secret-0123456789")

    return app


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/fine", 200, None),
        ("/refused", 404, "no_such_thing"),
        ("/nowhere", 404, "not_found"),
        ("/broken", 500, "internal_error"),
    ],
)
async def test_every_answer_has_its_headers_and_every_error_its_shape(
    path: str, status: int, code: str | None
) -> None:
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert code is None or answer.json()["error"]["code"] == code
    assert "sk-secret" not in answer.text
