"""The calls that cannot be avoided, made by hand: no lease, no retry, no record of how it went."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

Json = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """A LiteLLM user with keys that Keyfund knows nothing of."""

    keys: tuple[str, ...]
    user_id: str = field(default_factory=lambda: str(uuid4()))

    @classmethod
    def with_keys(cls, keys: int) -> "Account":
        return cls(tuple(f"sk-bare-{secrets.token_hex(32)}" for _ in range(keys)))


@dataclass(frozen=True)
class Wire:
    """One session with the addresses and keys of a stack; an answer other than 2xx ends the benchmark."""

    env: Mapping[str, str]
    session: aiohttp.ClientSession

    async def litellm(self, method: str, path: str, key: str | None = None, **request: Any) -> Any:
        bearer = key or self.env["LITELLM_MASTER_KEY"]
        return await self._ask(method, f"{self.env['LITELLM_BASE_URL']}{path}", bearer, **request)

    async def paystack(self, method: str, path: str, **request: Any) -> Any:
        return await self._ask(
            method, f"{self.env['PAYSTACK_BASE_URL']}{path}", self.env["PAYSTACK_SECRET_KEY"], **request
        )

    async def rpc(self, function: str, **arguments: object) -> Any:
        """An SQL function through the REST layer."""
        key = self.env["SUPABASE_SERVICE_ROLE_KEY"]
        return await self._ask(
            "POST",
            f"{self.env['SUPABASE_URL']}/rest/v1/rpc/{function}",
            key,
            json={f"p_{name}": value for name, value in arguments.items()},
            headers={"apikey": key},
        )

    async def _ask(self, method: str, url: str, bearer: str, **request: Any) -> Any:
        headers = {"authorization": f"Bearer {bearer}", **request.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, **request) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{method} {url} answered {answer.status}: {(await answer.text())[:300]}")
            return await answer.json()

    # ------------------------------------------------------------------ pushes

    async def push_wallet(self, user_id: str, dollars: float) -> None:
        """Look (spend may have gone backwards), write, read back."""
        await self._read_user(user_id, may_be_missing=True)
        await self.write_wallet(user_id, dollars)
        shown = await self._read_user(user_id)
        assert shown["max_budget"] == dollars

    async def write_wallet(self, user_id: str, dollars: float) -> None:
        wallet = {"user_id": user_id, "max_budget": dollars, "budget_duration": None}
        await self.litellm("POST", "/user/update", json=wallet)

    async def _read_user(self, user_id: str, *, may_be_missing: bool = False) -> Json:
        url = f"{self.env['LITELLM_BASE_URL']}/v2/user/info"
        headers = {"authorization": f"Bearer {self.env['LITELLM_MASTER_KEY']}"}
        async with self.session.get(url, params={"user_id": user_id}, headers=headers) as answer:
            if answer.status == 404 and may_be_missing:
                return {}
            if answer.status != 200:
                raise RuntimeError(f"{url} answered {answer.status}: {(await answer.text())[:300]}")
            shown: Json = await answer.json()
            return shown

    async def generate(self, user_id: str, key: str, dollars: float) -> None:
        body = {"key": key, "user_id": user_id, "key_type": "llm_api", "metadata": {}, "blocked": False}
        await self.litellm("POST", "/key/generate", json=body | limits(dollars))

    async def create_key(self, user_id: str, key: str, dollars: float) -> None:
        """Make it and read it back."""
        await self.generate(user_id, key, dollars)
        await self.read_key(key)

    async def change_key(self, user_id: str, key: str, dollars: float) -> None:
        """Change it and read it back."""
        body = {"key": hashed(key), "user_id": user_id, "team_id": None, **limits(dollars)}
        del body["budget_duration"]  # given again it would begin a period anew
        await self.litellm("POST", "/key/update", json=body)
        shown = await self.read_key(key)
        assert shown["info"]["max_budget"] == dollars

    async def read_key(self, key: str) -> Any:
        return await self.litellm("GET", "/key/info", params={"key": hashed(key)})

    async def create(self, account: Account, at_once: asyncio.Semaphore, dollars: float = 10.0) -> None:
        await self.push_wallet(account.user_id, dollars)
        await self._with_keys(self.create_key, account, at_once, dollars)

    async def change(self, account: Account, at_once: asyncio.Semaphore, dollars: float) -> None:
        await self.push_wallet(account.user_id, dollars)
        await self._with_keys(self.change_key, account, at_once, dollars)

    async def _with_keys(self, do: Any, account: Account, at_once: asyncio.Semaphore, dollars: float) -> None:
        async def one(key: str) -> None:
            async with at_once:
                await do(account.user_id, key, dollars)

        await asyncio.gather(*(one(key) for key in account.keys))


@asynccontextmanager
async def wired(env: Mapping[str, str]) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession() as session:
        yield Wire(env, session)


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def limits(dollars: float) -> Json:
    """The same as Keyfund gives a key whose cap is the wallet."""
    return {
        "max_budget": dollars,
        "budget_duration": "30d",
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "models": [],
    }
