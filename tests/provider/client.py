"""Somebody who asks the provider, and looks at its bill."""

import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from dev.provider import Desk, create_app

KEY = "sk-provider-test"
Json = Any
"""What the provider answered, not yet looked at."""


class Client:
    """Asks with the provider's key, unless told otherwise."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, path: str, body: Json = None, method: str = "POST", **more: Any) -> httpx.Response:
        sent = {"json": body} if body is not None else {}
        return await self.http.request(method, path, **sent, **more)

    async def chat(self, **more: Any) -> httpx.Response:
        return await self.ask("/v1/chat/completions", chat(**more))

    async def bill(self) -> Json:
        return (await self.http.get("/sandbox/bill")).json()

    async def billed(self) -> int:
        return int((await self.bill())["total_micros"])


@asynccontextmanager
async def client_of(desk: Desk) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {desk.key}", "anthropic-version": "2023-06-01"}
    transport = httpx.ASGITransport(create_app(desk))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://provider.example", headers=headers
    ) as http:
        yield Client(http)


def chat(text: Json = "hello", **more: Any) -> dict[str, Json]:
    """A request of chat whose prompt counts for eight tokens, unless it says more than hello."""
    return {"model": "live-small", "messages": [{"role": "user", "content": text}], "max_tokens": 10} | more


def wav(seconds: float, rate: int = 8_000) -> bytes:
    """So many seconds of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * int(rate * seconds)))
    return file.getvalue()


def coded(content: bytes, kind: str = "application/pdf") -> str:
    """The content as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def events(answer: httpx.Response) -> list[Json]:
    """What a stream brought."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]
