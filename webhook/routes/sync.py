"""How the caller's keys stand with LiteLLM, and having one looked at again."""

import asyncio
import time
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from core.errors import RefusedError
from core.store import CallerStore
from webhook.routes.keys import Key
from webhook.routes.status import LiteLLMState, describe_litellm
from webhook.services import CallerHere, ServicesHere

WAIT_SECONDS = 5.0
LOOK_SECONDS = 0.1


class KeySync(BaseModel):
    id: UUID
    name: str
    state: str
    sync_status: str
    last_synced_at: str | None
    last_error: str | None
    next_attempt_at: str | None


class SyncState(BaseModel):
    keys: list[KeySync]
    litellm: LiteLLMState


class SyncRequest(BaseModel):
    key_id: UUID = Field(alias="keyId")
    action: Literal["create", "update"] = "update"


class Synced(BaseModel):
    key: Key


async def list_sync(caller: CallerHere, services: ServicesHere) -> SyncState:
    rows = await services.store_of(caller).list_keys()
    return SyncState(keys=[KeySync(**row) for row in rows], litellm=await describe_litellm(services))


async def sync_key(body: SyncRequest, caller: CallerHere, services: ServicesHere) -> Synced:
    """Push a key now and answer with how it stands a moment later, whether LiteLLM is there or not."""
    services.need_litellm()
    store = services.store_of(caller)
    row = await store.get_key(str(body.key_id))
    if row is not None and row["state"] == "placeholder" and body.action == "create":
        row = await store.create_key({})
    else:
        row = await store.resync_key(str(body.key_id))
    services.push_soon(caller.user_id)
    return Synced(key=Key(**await _settled(store, row["id"])))


async def _settled(store: CallerStore, key_id: str) -> dict[str, Any]:
    """The row once it is no longer pending, whoever pushes it, or as it is when the wait is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        row = await store.get_key(key_id)
        if row is None:
            raise RefusedError("key_not_found", "There is no such key.", status=404)
        if row["sync_status"] != "pending" or time.monotonic() > deadline:
            return row
        await asyncio.sleep(LOOK_SECONDS)
