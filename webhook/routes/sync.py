"""How keys stand with LiteLLM, and having one looked at again: one's own, for administrators anybody's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from core.refusals import refused
from core.store import CallerStore, Page
from webhook.routes.admin import check_administrator
from webhook.routes.keys import MOST_KEYS, After, Key
from webhook.routes.status import LiteLLMState, describe_litellm
from webhook.services import CallerHere, ServicesHere

WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.1

MOST_FAILING = 200
FEW = 50

Everyone = Annotated[
    bool, Query(alias="all", description="For administrators: the keys of everybody that failed.")
]
PageSize = Annotated[
    int | None,
    Query(alias="limit", ge=1, le=MOST_FAILING, description="Keys on a page; 50 with all unless told."),
]


class KeySync(BaseModel):
    id: UUID
    account_id: UUID
    user_id: UUID
    name: str
    state: str
    sync_status: str
    last_synced_at: str | None
    last_error: str | None
    next_attempt_at: str | None


class SyncState(BaseModel):
    keys: list[KeySync]
    litellm: LiteLLMState
    next: UUID | None = Field(default=None, description="Where the next page begins; null: this is the last.")


class SyncRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key_id: UUID = Field(alias="keyId")
    action: Literal["create", "update"] = "update"


class OthersKey(KeySync):
    """Somebody else's key as an administrator sees it: the key itself is its owner's."""

    blocked_by: str | None
    cap: str | None
    max_budget: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: list[str] | None
    expires_at: str | None


class Synced(BaseModel):
    key: Key | OthersKey


async def list_sync(
    caller: CallerHere,
    services: ServicesHere,
    everyone: Everyone = False,
    after: After = None,
    page_size: PageSize = None,
) -> SyncState:
    """How each of the caller's keys stands. With ``all``, for administrators: everybody's that failed."""
    store = services.store_of(caller)
    if everyone:
        page = await _failing(store, str(after) if after else None, page_size or FEW)
    else:
        page = await store.list_keys(str(after) if after else None, page_size or MOST_KEYS)
    keys = [KeySync(**row) for row in page.rows]
    return SyncState(keys=keys, litellm=await describe_litellm(services), next=page.next("id"))


async def _failing(store: CallerStore, after: str | None, size: int) -> Page:
    """One more than is shown is asked for, where that is possible, to see whether there is a next page."""
    await check_administrator(store)
    rows = await store.list_failing_keys(after, size + 1 if size < MOST_FAILING else size)
    return Page(rows[:size], is_last=len(rows) <= size and len(rows) < MOST_FAILING)


async def sync_key(body: SyncRequest, caller: CallerHere, services: ServicesHere) -> Synced:
    """Push a key now and answer with how it stands a moment later, whether LiteLLM is there or not."""
    services.need_litellm()
    store, key_id = services.store_of(caller), str(body.key_id)
    row = await store.get_key(key_id)
    if row is None and await store.is_administrator():
        row = await store.resync_any_key(key_id)
        services.push_soon(row["account_id"])
        return Synced(key=OthersKey(**await _settled(lambda: store.read_key(key_id))))
    if row is not None and row["state"] == "placeholder" and body.action == "create":
        row = await store.create_key({})
    else:
        row = await store.resync_key(key_id)
    services.push_soon(row["account_id"])
    return Synced(key=Key(**await _settled(lambda: _own_key(store, row["id"]))))


async def _own_key(store: CallerStore, key_id: str) -> dict[str, Any]:
    row = await store.get_key(key_id)
    if row is None:
        raise refused("key_not_found")
    return row


async def _settled(look: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """The row once it is no longer pending, whoever pushes it, or as it is when the wait is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        row = await look()
        if row["sync_status"] != "pending" or time.monotonic() > deadline:
            return row
        await asyncio.sleep(LOOK_SECONDS)
