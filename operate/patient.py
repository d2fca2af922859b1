"""A LiteLLM user of the doctor's own, with two keys: examined, and removed afterwards."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Patient:
    """Talks to LiteLLM as an operator would, and as the holder of one of the two keys."""

    client: httpx.AsyncClient
    base_url: str
    master_key: str
    user_id: str
    keys: tuple[str, str]

    async def manage(self, method: str, path: str, **request: Any) -> httpx.Response:
        return await self._send(self.master_key, method, path, **request)

    async def call(self, key: str, model: str, **extra: Any) -> httpx.Response:
        """A model call of a few tokens."""
        messages = [{"role": "user", "content": "Say ok."}]
        body = {"model": model, "messages": messages, "max_tokens": 5, **extra}
        return await self._send(key, "POST", "/v1/chat/completions", json=body)

    async def probe(self, key: str, model: str) -> httpx.Response:
        """Free of charge. A connection of its own each time, so that another worker may answer."""
        return await self._send(
            key,
            "POST",
            "/utils/token_counter",
            json={"model": model, "prompt": "x"},
            headers={"connection": "close"},
        )

    async def set_budget(self, dollars: float) -> None:
        body = {"user_id": self.user_id, "max_budget": dollars, "budget_duration": None}
        (await self.manage("POST", "/user/update", json=body)).raise_for_status()

    async def read(self) -> Json:
        """LiteLLM's user row."""
        answer = await self.manage("GET", "/v2/user/info", params={"user_id": self.user_id})
        answer.raise_for_status()
        row: Json = answer.json()
        return row

    async def _send(self, key: str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
        return await self.client.request(method, f"{self.base_url}{path}", headers=headers, **request)


@asynccontextmanager
async def admit(client: httpx.AsyncClient, base_url: str, master_key: str) -> AsyncIterator[Patient]:
    """Make the user and its keys as Keyfund makes them; remove all of it at the end, whatever happened."""
    keys = (f"sk-kf-doctor-{uuid4().hex}", f"sk-kf-doctor-{uuid4().hex}")
    patient = Patient(client, base_url, master_key, f"keyfund-doctor-{uuid4()}", keys)
    try:
        await patient.set_budget(1.0)
        for key in keys:
            body = {"key": key, "user_id": patient.user_id, "key_type": "llm_api", "max_budget": 5.0}
            (await patient.manage("POST", "/key/generate", json=body)).raise_for_status()
        yield patient
    finally:
        await patient.manage("POST", "/key/delete", json={"keys": list(keys)})
        await patient.manage("POST", "/user/delete", json={"user_ids": [patient.user_id]})


def refused_by(answer: httpx.Response) -> str | None:
    """Which budget refused: "User", "Key", or None when it was not a budget."""
    try:
        error = answer.json().get("error")
    except (ValueError, AttributeError):
        return None
    if not isinstance(error, Mapping) or error.get("type") != "budget_exceeded":
        return None
    return "User" if "User=" in str(error.get("message")) else "Key"
