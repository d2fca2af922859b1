"""Supabase as the caller sees it: their token, so row-level security guards production too."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from postgrest import AsyncPostgrestClient, CountMethod

from core.errors import RefusedError
from core.refusals import refused
from core.settings import Settings
from core.store.calls import execute, send

Json = dict[str, Any]
KEY_NOT_FOUND = refused("key_not_found")
PAYMENT_NOT_FOUND = refused("payment_not_found")


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list, and whether it ends with them."""

    rows: list[Json]
    is_last: bool

    def next(self, column: str) -> Any:
        """Where the next page begins: after this page's last row, by this column of it; None: nowhere."""
        return None if self.is_last or not self.rows else self.rows[-1][column]


class CallerStore:
    """One person's own rows, through their own access token.

    All methods raise TransientError or RefusedError.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient, token: str) -> None:
        self._rest = AsyncPostgrestClient(
            f"{settings.supabase_url}/rest/v1",
            schema=settings.supabase_schema,
            headers={"apikey": settings.supabase_anon_key, "Authorization": f"Bearer {token}"},
            http_client=client,
            retry_enabled=False,
        )

    async def list_keys(self, after_key: str | None, limit: int) -> Page:
        """Keys, newest first, those after this one; the placeholder and revoked keys are left out.

        A rotated key has its former string, while that is alive, under ``former``.
        """
        page = await self._page(
            lambda: self._alive_keys().is_("successor_id", "null"),
            await self._last(after_key, self.get_key, KEY_NOT_FOUND),
            limit,
        )
        formers = await self._all(lambda: self._alive_keys().not_.is_("successor_id", "null").order("id"))
        by_key = {row["successor_id"]: row for row in formers}
        return Page([row | {"former": by_key.get(row["id"])} for row in page.rows], page.is_last)

    def _alive_keys(self) -> Any:
        query = self._rest.from_("virtual_keys").select("*", count=CountMethod.exact)
        return query.in_("state", ["active", "blocked"])

    async def rotate_key(self, key_id: str, overlap_seconds: int) -> Json:
        arguments = {"key_id": key_id, "overlap_seconds": overlap_seconds}
        return await self._key("rotate_virtual_key", arguments)

    async def list_packages(self) -> list[Json]:
        columns = "id,name,credits,amount,currency"
        return await self._all(
            lambda: (
                self._rest.from_("credit_packages")
                .select(columns, count=CountMethod.exact)
                .order("currency")
                .order("amount")
                .order("id")
            )
        )

    async def list_transactions(self, account_id: str, after_reference: str | None, limit: int) -> Page:
        """An account's transactions, newest first, those after this one."""
        rows = self._rest.from_("transactions")
        return await self._page(
            lambda: rows.select("*", count=CountMethod.exact).eq("account_id", account_id),
            await self._last(after_reference, self.get_transaction, PAYMENT_NOT_FOUND),
            limit,
        )

    async def get_transaction(self, reference: str) -> Json | None:
        """The payment with this reference, if it is the caller's."""
        rows = await execute(self._rest.from_("transactions").select("*").eq("reference", reference))
        return rows[0] if rows else None

    async def read_receipt(self, reference: str) -> Json | None:
        """The receipt of a payment, if it is the caller's and credited."""
        receipt: Json | None = await execute(self._rest.rpc("read_receipt", {"reference": reference}))
        return receipt

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

    async def read_balance(self, account_id: str | None = None) -> Json:
        """An account's credits, and how many are left of what there was after the last top-up."""
        asked: Any = {"account_id": account_id} if account_id else {}
        return dict(await execute(self._rest.rpc("read_balance", asked)))

    async def read_backlog(self) -> Json:
        """What of the caller's own is not finished."""
        return dict(await execute(self._rest.rpc("read_own_backlog", {})))

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

    async def _page(self, rows: Callable[[], Any], after: Json | None, limit: int) -> Page:
        """A page of rows by when they were made, newest first.

        PostgREST's own limit may make it shorter than was asked for: only its count says what is left.
        """
        query = rows().order("created_at", desc=True).order("id", desc=True).limit(limit)
        if after is not None:
            at, row_id = after["created_at"], after["id"]
            query = query.or_(f'created_at.lt."{at}",and(created_at.eq."{at}",id.lt.{row_id})')
        answer = await send(query)
        return Page(list(answer.data), answer.count <= len(answer.data))

    async def _all(self, rows: Callable[[], Any]) -> list[Json]:
        """All rows of a query with an order, however few PostgREST hands over at once."""
        found: list[Json] = []
        while True:
            answer = await send(rows().offset(len(found)))
            found += answer.data
            if not answer.data or len(found) >= answer.count:
                return found

    @staticmethod
    async def _last(
        name: str | None, look: Callable[[str], Awaitable[Json | None]], unknown: RefusedError
    ) -> Json | None:
        """The last row of the page before, by how it was named; None: there was none before."""
        if name is None:
            return None
        row = await look(name)
        if row is None:
            raise unknown
        return row

    async def _key(self, function: str, arguments: Json) -> Json:
        row = await execute(self._rest.rpc(function, arguments))
        # PostgREST gives a composite as one object; be ready for a list of one.
        return dict(row[0] if isinstance(row, list) else row)
