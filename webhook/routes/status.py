"""Whether everything is well: what a frontend shows, what an operator looks at first."""

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, Field

from webhook.services import CallerHere, Services, ServicesHere


class LiteLLMState(BaseModel):
    """``base_url`` is where keys are used."""

    status: Literal["connected", "unreachable", "not_configured"]
    base_url: str | None


class LiteLLMStatus(BaseModel):
    """``warnings``: what endangers wallets, for administrators alone; a worker looks once a minute."""

    configured: bool
    connected: bool
    breaker: Literal["closed", "open", "half-open"]
    last_ok_at: str | None
    warnings: list[str]


class Backlog(BaseModel):
    """``parked``: accounts of which LiteLLM refused something for good, left out of ``oldest_seconds``."""

    keys: int
    events: int
    parked: int
    oldest_seconds: int


class Worker(BaseModel):
    last_seen: str | None


class PaystackStatus(BaseModel):
    configured: bool


class SupabaseStatus(BaseModel):
    """``missing_triggers``: ours on auth.users that are lost, for administrators alone.

    Until they are back the worker's sweep follows users, within a minute.
    """

    missing_triggers: list[str]


class Status(BaseModel):
    litellm: LiteLLMStatus
    supabase: SupabaseStatus
    paystack: PaystackStatus
    backlog: Backlog
    backlog_of: Literal["account", "everybody"] = Field(
        description="Whose it is: the caller's own, or everybody's, which administrators are told."
    )
    worker: Worker


async def read(caller: CallerHere, services: ServicesHere) -> Status:
    """What is configured, whether LiteLLM answers, what is behind, and when a worker was last heard of."""
    store = services.store_of(caller)
    status, own, is_administrator = await asyncio.gather(
        services.parts.store.read_status(), store.read_backlog(), store.is_administrator()
    )
    return Status(
        litellm=LiteLLMStatus(
            configured=services.parts.litellm is not None,
            connected=_connected(services, status),
            breaker=status["breaker"],
            last_ok_at=status["litellm_last_ok_at"],
            # Nobody else is told of a fence that is missing.
            warnings=status["litellm_warnings"] if is_administrator else [],
        ),
        supabase=SupabaseStatus(
            missing_triggers=await services.parts.store.list_missing_triggers() if is_administrator else []
        ),
        paystack=PaystackStatus(configured=services.parts.paystack is not None),
        backlog=_backlog(status if is_administrator else own),
        backlog_of="everybody" if is_administrator else "account",
        worker=Worker(last_seen=status["worker_last_seen"]),
    )


def _backlog(counts: dict[str, Any]) -> Backlog:
    return Backlog(**{name: counts[name] for name in Backlog.model_fields})


async def describe_litellm(services: Services) -> LiteLLMState:
    base_url = services.parts.settings.litellm_base_url
    if services.parts.litellm is None:
        return LiteLLMState(status="not_configured", base_url=None)
    connected = _connected(services, await services.parts.store.read_status())
    return LiteLLMState(status="connected" if connected else "unreachable", base_url=base_url)


def _connected(services: Services, status: dict[str, Any]) -> bool:
    return services.parts.litellm is not None and bool(status["litellm_answers"])
