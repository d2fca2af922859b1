"""Supabase with the service key: one method, one SQL function. Dicts end here; values go on."""

import httpx
from supabase import AsyncClientOptions, acreate_client

from core.http import make_client
from core.settings import Settings
from core.store.adoption import AdoptionStore
from core.store.books import BookStore
from core.store.calls import Json
from core.store.drift import DriftStore
from core.store.payments import PaymentStore
from core.store.pushes import PushStore
from core.store.routes import RouteStore
from core.store.usage import UsageStore
from core.store.work import WorkStore


class ServiceStore(
    WorkStore, PushStore, PaymentStore, BookStore, DriftStore, AdoptionStore, UsageStore, RouteStore
):
    """What the service and the worker may do with the service key.

    All methods raise TransientError or RefusedError; all are safe to repeat.
    """

    async def check_installation(self, credit_value_cents: int) -> None:
        """Refuse to start with another credit value than the database counts in."""
        await self._call("check_installation", credit_value_cents=credit_value_cents)

    async def heal_accounts(self, limit: int) -> Json:
        return dict(await self._call("heal_accounts", limit=limit))

    async def forget_keys(self, limit: int) -> int:
        """Remove rows of keys that LiteLLM has not had for long; returns how many."""
        return int(await self._call("forget_keys", limit=limit))

    async def list_missing_triggers(self) -> list[str]:
        """Which of our triggers on Supabase's users are lost or switched off."""
        return list(await self._call("list_missing_triggers"))

    async def read_limits(self) -> Json:
        """What a new key may do a minute, and what bounds everybody."""
        return dict(await self._call("read_limits"))

    async def read_status(self) -> Json:
        return dict(await self._call("read_status"))


async def open_store(settings: Settings, client: httpx.AsyncClient) -> ServiceStore:
    """Connect with the service key. Never signs anyone in: the client would then act as that person."""
    options = AsyncClientOptions(
        schema=settings.supabase_schema,
        httpx_client=client,
        auto_refresh_token=False,
        persist_session=False,
        postgrest_client_retry=False,
    )
    key = settings.supabase_service_role_key.get_secret_value()
    return ServiceStore(await acreate_client(settings.supabase_url, key, options=options))


def make_supabase_client() -> httpx.AsyncClient:
    return make_client(timeout_seconds=15, connections=40)
