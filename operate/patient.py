"""A LiteLLM user of the doctor's own, with two keys: examined, and removed afterwards."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from core.domain.routes import Fences

Json = dict[str, Any]
MARK = "keyfund-doctor"  # an installation of nobody's: no comparison of keys takes these for its own


class AdmissionError(Exception):
    """LiteLLM refused to make the keys."""

    def __init__(self, status: int) -> None:
        super().__init__(f"LiteLLM answered {status} to /key/generate.")
        self.status = status


@dataclass(frozen=True, slots=True)
class Patient:
    """Talks to LiteLLM as an operator would, and as the holder of one of the two keys."""

    client: httpx.AsyncClient
    base_url: str
    master_key: str
    user_id: str
    keys: tuple[str, str]
    fences: Fences
    others: list[str] = field(default_factory=list)
    """Keys that single examinations had made, removed with the two."""

    async def manage(self, method: str, path: str, **request: Any) -> httpx.Response:
        return await self.ask(self.master_key, method, path, **request)

    async def call(self, key: str, model: str, **extra: Any) -> httpx.Response:
        """A model call of a few tokens."""
        return await self.ask(key, "POST", "/v1/chat/completions", json=chat(model, **extra))

    async def probe(self, key: str, model: str) -> httpx.Response:
        """Free of charge. A connection of its own each time, so that another worker may answer."""
        return await self.ask(
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

    async def make_key(self, **other: Any) -> str:
        """One more key of the patient's, as Keyfund makes them but for what is given.

        Raises:
            AdmissionError: LiteLLM refused.
        """
        key = f"sk-kf-doctor-{uuid4().hex}"
        self.others.append(key)
        await self.generate(key, **other)
        return key

    async def generate(self, key: str, **other: Any) -> None:
        body = {
            "key": key,
            "user_id": self.user_id,
            "allowed_routes": list(self.fences.paths),
            "max_parallel_requests": self.fences.key_max_parallel,
            "metadata": {"keyfund": MARK, "keyfund_guard": self.fences.told_guard},
            **other,
        }
        answer = await self.manage("POST", "/key/generate", json=body)
        if not answer.is_success:
            raise AdmissionError(answer.status_code)

    async def ask(self, key: str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
        return await self.client.request(method, f"{self.base_url}{path}", headers=headers, **request)


@asynccontextmanager
async def admit(
    client: httpx.AsyncClient, base_url: str, master_key: str, fences: Fences, wallet_dollars: float = 1.0
) -> AsyncIterator[Patient]:
    """Make the user and its keys as Keyfund makes them; remove all of it at the end, whatever happened."""
    keys = (f"sk-kf-doctor-{uuid4().hex}", f"sk-kf-doctor-{uuid4().hex}")
    patient = Patient(client, base_url, master_key, f"keyfund-doctor-{uuid4()}", keys, fences)
    try:
        await patient.set_budget(wallet_dollars)
        for key in keys:
            await patient.generate(key, max_budget=5 * wallet_dollars)
        yield patient
    finally:
        await patient.manage("POST", "/key/delete", json={"keys": [*keys, *patient.others]})
        await patient.manage("POST", "/user/delete", json={"user_ids": [patient.user_id]})


def chat(model: str, **extra: Any) -> Json:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Say ok."}],
        "max_tokens": 5,
        **extra,
    }


def refused_by(answer: httpx.Response) -> str | None:
    """Which budget refused: "User", "Key", or None when it was not a budget."""
    error = error_of(answer)
    if error.get("type") != "budget_exceeded":
        return None
    return "User" if "User=" in str(error.get("message")) else "Key"


def error_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The error of an answer in the provider's shape; empty where it has none."""
    try:
        error = answer.json().get("error")
    except (ValueError, AttributeError):
        return {}
    return error if isinstance(error, Mapping) else {}


def fences_of(routes: Sequence[str], proved: Mapping[str, tuple[str, ...]]) -> Fences:
    """Fences for a LiteLLM whose settings nobody read: the defaults of an installation."""
    return Fences(tuple(routes), proved, key_max_parallel=10, account_max_parallel=20)
