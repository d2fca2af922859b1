"""A LiteLLM under test, stand-in or real, seen through the product's client and through plain HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import httpx

from core.domain.keys import KeyState, ObservedKey, ObservedUser, WantedKey
from core.domain.routes import PROOFLESS, Fences
from core.gateways.litellm import LiteLLM
from core.settings import Settings
from tests.conformance.standin import hash_of

Json = dict[str, Any]
FENCES = Fences(PROOFLESS, {}, key_max_parallel=10, account_max_parallel=20)


def settings_for(litellm_url: str, master_key: str) -> Settings:
    """Settings of nothing but a LiteLLM, and of nothing from the environment."""
    values = {
        "supabase_url": "http://supabase.test",
        "supabase_service_role_key": "service-role",
        "supabase_anon_key": "anonymous",
        "litellm_base_url": litellm_url,
        "litellm_master_key": master_key,
        "paystack_secret_key": "sk_test_00112233445566778899aabbccddeeff00112233",
        "paystack_base_url": "http://paystack.test",
        "litellm_cache_seconds": 0,
    }
    return Settings.model_validate(values)


def wanted(user_id: str, **more: Any) -> WantedKey:
    """A key as the database would want it."""
    key = f"sk-kf-{uuid4().hex}"
    made = WantedKey(
        id=str(uuid4()),
        user_id=user_id,
        installation_id="00000000-0000-4000-8000-000000000000",
        key=key,
        key_hash=hash_of(key),
        name="Key",
        state=KeyState.ACTIVE,
        budget_cents=10_000,
        budget_duration="30d",
        rpm_limit=100,
        tpm_limit=10_000,
        revision=1,
        confirmed=False,
        maybe_created=True,
        fences=FENCES,
    )
    return replace(made, **more)


def shown(key: WantedKey) -> ObservedKey:
    """The key as LiteLLM should show it, unused."""
    return ObservedKey(
        user_id=key.user_id,
        team_id=None,
        blocked=key.blocked,
        budget_cents=key.budget_cents,
        budget_duration=key.budget_duration,
        rpm_limit=key.rpm_limit,
        tpm_limit=key.tpm_limit,
        routes=key.fences.paths,
        max_parallel=key.fences.key_max_parallel,
        metadata=key.marks,
        models=key.models,
    )


@dataclass(frozen=True)
class Subject:
    """``lose_user`` takes a user's row away behind LiteLLM's back."""

    http: httpx.AsyncClient
    gateway: LiteLLM
    lose_user: Callable[[str], Awaitable[None]]
    user_id: str = field(default_factory=lambda: str(uuid4()))

    async def get(self, path: str, **params: object) -> httpx.Response:
        return await self.http.get(path, params={name: str(value) for name, value in params.items()})

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def ask(self, asker: WantedKey, path: str, /, **body: object) -> httpx.Response:
        """A request with somebody's own key."""
        return await self.http.post(path, json=body, headers={"authorization": f"Bearer {asker.key}"})

    async def call(self, key: WantedKey, model: str = "mock-costly") -> httpx.Response:
        message = {"role": "user", "content": "hi"}
        return await self.ask(key, "/v1/chat/completions", model=model, messages=[message], max_tokens=20)

    async def wallet(self, dollars: float) -> None:
        await self.gateway.write_wallet(self.user_id, round(dollars * 1_000_000))

    async def key(self, **more: Any) -> WantedKey:
        """A key of the subject's user, made."""
        key = wanted(self.user_id, **more)
        await self.gateway.create_key(key)
        return key

    async def unmarked_key(self) -> WantedKey:
        """A key that the guard lets pass: what LiteLLM does with it is LiteLLM's own."""
        key = await self.key()
        await self.post("/key/update", key=key.key_hash, metadata={})
        return key

    async def user(self) -> ObservedUser:
        user = await self.gateway.read_user(self.user_id)
        assert user is not None
        return user

    async def until_spent(self, micros: int) -> None:
        """The real one shows spend a few seconds after the call."""
        async with asyncio.timeout(30):
            while (await self.user()).spend_micros != micros:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.1)

    async def until_key_spent(self, key: WantedKey, micros: int) -> None:
        async with asyncio.timeout(30):
            while (await self.gateway.read_key(key.key_hash)).spend_micros != micros:  # type: ignore[union-attr]  # noqa: ASYNC110
                await asyncio.sleep(0.1)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """An answer's status and LiteLLM's own type of the error."""
    return answer.status_code, str(answer.json()["error"]["type"])
