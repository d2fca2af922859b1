"""The caller's keys."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from webhook.routes.status import LiteLLMState, describe_litellm
from webhook.services import NO_NUL, CallerHere, InAccount, ServicesHere

MaxBudget = Annotated[int, Field(ge=0, le=2_147_483_647, description="US cents per budget period.")]
Limit = Annotated[int, Field(ge=1, le=2_147_483_647)]
Duration = Annotated[
    Literal["1h", "1d", "7d", "30d", "lifetime"], Field(description="How often the cap begins anew.")
]
Model = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
Models = Annotated[
    list[Model],
    Field(min_length=1, max_length=100, description='The only models that it may use; `["*"]`: all allowed.'),
]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_NUL)]


def _check_time(told: str) -> str:
    """A time with its offset, or the database's word for never."""
    if told == "infinity":
        return told
    time = datetime.fromisoformat(told)
    if time.tzinfo is None:
        raise ValueError("the time needs its offset from UTC, such as Z")
    return time.isoformat()


Expiry = Annotated[
    str,
    AfterValidator(_check_time),
    Field(description="From then on LiteLLM refuses the key: a time with its offset, or `infinity`, never."),
]


class NewKey(BaseModel):
    """Without ``max_budget`` the key's cap is the wallet."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: Name = "Key"
    max_budget: MaxBudget | None = None
    budget_duration: Duration | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    models: Models | None = None
    expires_at: Expiry | None = None
    account_id: InAccount = None


class KeyChange(BaseModel):
    """What is given is changed. ``cap: wallet`` makes the cap follow the wallet again.

    ``budget_duration: lifetime``, ``models: ["*"]`` and ``expires_at: infinity`` take a choice back.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    name: Name | None = None
    max_budget: MaxBudget | None = None
    budget_duration: Duration | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    models: Models | None = None
    expires_at: Expiry | None = None
    cap: Literal["wallet", "fixed"] | None = None
    blocked: bool | None = None


class Rotation(BaseModel):
    """How long the old string works beside the new one: up to a week, an hour unless told."""

    model_config = ConfigDict(strict=True, extra="forbid")
    overlap_seconds: Annotated[int, Field(ge=0, le=604_800)] = 3600


# Without a body the usual is meant.
USUAL_KEY, NO_CHANGE, USUAL_ROTATION = NewKey(), KeyChange(), Rotation()


class Key(BaseModel):
    """A ``virtual_keys`` row by its column names.

    ``budget_duration`` null: for life; ``models`` null: all that are allowed; ``expires_at`` null: never. One
    in the past: LiteLLM refuses the key, whatever its ``state``, until it is set to another time.
    """

    model_config = ConfigDict(extra="allow")
    id: UUID
    account_id: UUID
    name: str
    litellm_key_id: str | None
    state: str
    max_budget: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: list[str] | None
    expires_at: str | None
    sync_status: str
    last_synced_at: str | None
    last_error: str | None
    next_attempt_at: str | None


class Period(BaseModel):
    """What a key has spent of its cap and when that begins anew, as LiteLLM last showed it; null: unknown."""

    spent_cents: int | None = None
    resets_at: str | None = None


class ListedKey(Key):
    period: Period


After = Annotated[UUID | None, Query(description="The `next` of the page before.")]
PageSize = Annotated[int, Query(alias="limit", ge=1, le=1000, description="Keys on a page.")]
MOST_KEYS = 1000


class Limits(BaseModel):
    """``key_…``: of a new key; ``most_…``: the highest that one may be set to; the rest bounds an account.

    Null: nothing does.
    """

    model_config = ConfigDict(extra="allow")
    key_rpm_limit: int
    key_tpm_limit: int
    key_budget_duration: str
    most_rpm_limit: int | None
    most_tpm_limit: int | None
    most_max_budget: int | None
    allowed_models: list[str] | None
    account_rpm_limit: int | None
    account_tpm_limit: int | None
    keys_per_account: int


class Keys(BaseModel):
    keys: list[ListedKey]
    limits: Limits
    litellm: LiteLLMState
    next: UUID | None = Field(default=None, description="Where the next page begins; null: this is the last.")


async def list_keys(
    caller: CallerHere, services: ServicesHere, after: After = None, page_size: PageSize = MOST_KEYS
) -> Keys:
    """The caller's active and blocked keys, newest first, and whether LiteLLM answers."""
    store = services.store_of(caller)
    page, periods, limits, litellm = await asyncio.gather(
        store.list_keys(str(after) if after else None, page_size),
        store.read_key_periods(),
        store.read_limits(),
        describe_litellm(services),
    )
    keys = [ListedKey(**row, period=Period(**periods.get(row["id"], {}))) for row in page.rows]
    return Keys(keys=keys, limits=Limits(**limits), litellm=litellm, next=page.next("id"))


async def create_key(
    caller: CallerHere, services: ServicesHere, body: Annotated[NewKey, Body()] = USUAL_KEY
) -> Key:
    """Create a key. It works once ``sync_status`` is ``synced``, usually within a second."""
    services.need_litellm()
    row = await services.store_of(caller).create_key(body.model_dump(mode="json", exclude_none=True))
    services.push_soon(row["account_id"])
    return Key(**row)


async def change_key(
    key_id: UUID, caller: CallerHere, services: ServicesHere, body: Annotated[KeyChange, Body()] = NO_CHANGE
) -> Key:
    """Change what is given. The key counts as changed once ``sync_status`` is ``synced`` again."""
    store = services.store_of(caller)
    changes = body.model_dump(exclude_none=True, exclude={"blocked"})
    row: dict[str, Any] = {}
    if changes or body.blocked is None:
        row = await store.update_key(str(key_id), changes)
    if body.blocked is not None:
        row = await (store.block_key if body.blocked else store.unblock_key)(str(key_id))
    services.push_soon(row["account_id"])
    return Key(**row)


async def rotate_key(
    key_id: UUID,
    caller: CallerHere,
    services: ServicesHere,
    body: Annotated[Rotation, Body()] = USUAL_ROTATION,
) -> Key:
    """Give a key a new string. The old one works on for the overlap; switch once this one is synced."""
    services.need_litellm()
    row = await services.store_of(caller).rotate_key(str(key_id), body.overlap_seconds)
    services.push_soon(row["account_id"])
    return Key(**row)


async def revoke_key(key_id: UUID, caller: CallerHere, services: ServicesHere) -> Key:
    """Stop a key for good."""
    row = await services.store_of(caller).revoke_key(str(key_id))
    services.push_soon(row["account_id"])
    return Key(**row)
