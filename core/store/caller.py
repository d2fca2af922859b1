"""Supabase as the caller sees it: their token, so row-level security guards production too."""

from typing import Any

import httpx
from postgrest import AsyncPostgrestClient

from core.settings import Settings
from core.store.calls import execute

Json = dict[str, Any]


class CallerStore:
    """One person's own rows, through their own access token.

    All methods raise TransientError or RefusedError.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient, token: str) -> None:
        self._rest = AsyncPostgrestClient(
            f"{settings.supabase_url}/rest/v1",
            headers={"apikey": settings.supabase_anon_key, "Authorization": f"Bearer {token}"},
            http_client=client,
            retry_enabled=False,
        )

    async def list_keys(self) -> list[Json]:
        """Keys, newest first; the placeholder and revoked keys are left out.

        A rotated key has its former string, while that is alive, under ``former``.
        """
        query = self._rest.from_("virtual_keys").select("*")
        rows = await execute(query.in_("state", ["active", "blocked"]).order("created_at", desc=True))
        former = {row["successor_id"]: row for row in rows if row["successor_id"] is not None}
        return [row | {"former": former.get(row["id"])} for row in rows if row["successor_id"] is None]

    async def rotate_key(self, key_id: str, overlap_seconds: int) -> Json:
        arguments = {"key_id": key_id, "overlap_seconds": overlap_seconds}
        return await self._key("rotate_virtual_key", arguments)

    async def list_packages(self) -> list[Json]:
        query = self._rest.from_("credit_packages").select("id,name,credits,amount,currency")
        return list(await execute(query.order("currency").order("amount")))

    async def list_transactions(self, limit: int) -> list[Json]:
        """Transactions, newest first."""
        query = self._rest.from_("transactions").select("*").order("created_at", desc=True).limit(limit)
        return list(await execute(query))

    async def get_transaction(self, reference: str) -> Json | None:
        """The payment with this reference, if it is the caller's."""
        rows = await execute(self._rest.from_("transactions").select("*").eq("reference", reference))
        return rows[0] if rows else None

    async def get_email(self) -> str | None:
        """The caller's address, as their profile has it."""
        rows = await execute(self._rest.from_("profiles").select("email"))
        return rows[0]["email"] if rows else None

    async def create_key(self, limits: Json) -> Json:
        return await self._key("create_virtual_key", limits)

    async def update_key(self, key_id: str, changes: Json) -> Json:
        return await self._key("update_virtual_key", {"key_id": key_id, **changes})

    async def block_key(self, key_id: str) -> Json:
        return await self._key("block_virtual_key", {"key_id": key_id})

    async def unblock_key(self, key_id: str) -> Json:
        return await self._key("unblock_virtual_key", {"key_id": key_id})

    async def revoke_key(self, key_id: str) -> Json:
        return await self._key("revoke_virtual_key", {"key_id": key_id})

    async def resync_key(self, key_id: str) -> Json:
        return await self._key("resync_virtual_key", {"key_id": key_id})

    async def get_key(self, key_id: str) -> Json | None:
        """The key with this id, if it is the caller's."""
        rows = await execute(self._rest.from_("virtual_keys").select("*").eq("id", key_id))
        return rows[0] if rows else None

    async def read_key_periods(self) -> dict[str, Json]:
        """By key id, what is known of how much of its cap is spent and when that begins anew."""
        return dict(await execute(self._rest.rpc("read_key_periods", {})))

    async def read_limits(self) -> Json:
        """What a new key may do a minute, and what bounds everybody."""
        return dict(await execute(self._rest.rpc("read_limits", {})))

    async def read_balance(self) -> Json:
        """The caller's credits, and how many are left of what there was after the last top-up."""
        return dict(await execute(self._rest.rpc("read_balance", {})))

    async def read_usage(self, asked: Json) -> Json:
        """What is kept of the caller's usage; for administrators, of anybody's."""
        return dict(await execute(self._rest.rpc("read_usage", asked)))

    # ---------------------------------------------------------- administrators

    async def is_administrator(self) -> bool:
        """Whether the caller is listed as one now."""
        return await execute(self._rest.rpc("is_administrator", {})) is True

    async def read_payment(self, reference: str) -> Json:
        """All that is known of any payment."""
        return dict(await execute(self._rest.rpc("read_payment", {"reference": reference})))

    async def decide_review(self, reference: str, *, accept: bool, reason: str) -> None:
        """Credit or refuse a payment that did not fit its order."""
        arguments: Any = {"reference": reference, "accept": accept, "reason": reason}
        await execute(self._rest.rpc("decide_review", arguments))

    async def note_refund(self, reference: str, reason: str) -> None:
        """Write down that a refund is asked of Paystack."""
        arguments: Any = {"reference": reference, "reason": reason}
        await execute(self._rest.rpc("note_refund", arguments))

    async def resync_account(self, account_id: str) -> None:
        """Have an account's wallet and failed keys pushed again, parked or not."""
        await execute(self._rest.rpc("resync_account", {"account_id": account_id}))

    async def read_key(self, key_id: str) -> Json:
        """How anybody's key stands, without the key itself."""
        return dict(await execute(self._rest.rpc("read_key", {"key_id": key_id})))

    async def resync_any_key(self, key_id: str) -> Json:
        """Have anybody's key compared with LiteLLM again; the row without the key itself."""
        return dict(await execute(self._rest.rpc("resync_any_key", {"key_id": key_id})))

    async def list_failing_keys(self, after_key: str | None, limit: int) -> list[Json]:
        """Everybody's keys that failed, after this one, without the keys themselves."""
        arguments: Any = {"page_size": limit, **({"after_key": after_key} if after_key else {})}
        return list(await execute(self._rest.rpc("list_failing_keys", arguments)))

    async def resync_failed(self, resync_id: int | None) -> Json:
        """Make the next batch of all that failed due: of this resync; None: the one under way, or a new."""
        arguments: Any = {} if resync_id is None else {"resync_id": resync_id}
        return dict(await execute(self._rest.rpc("resync_failed", arguments)))

    async def read_resync(self) -> Json:
        """How far the last resync is."""
        return dict(await execute(self._rest.rpc("read_resync", {})))

    # -----------------------------------------------------------------------

    async def _key(self, function: str, arguments: Json) -> Json:
        row = await execute(self._rest.rpc(function, arguments))
        # PostgREST gives a composite as one object; be ready for a list of one.
        return dict(row[0] if isinstance(row, list) else row)
