"""Liveness and readiness."""

from typing import Literal

from pydantic import BaseModel

from webhook.services import ServicesHere


class Health(BaseModel):
    status: Literal["ok"] = "ok"


async def live() -> Health:
    """The process answers."""
    return Health()


async def ready(services: ServicesHere) -> Health:
    """Supabase answers. LiteLLM or Paystack away must not take the webhook out of rotation."""
    await services.parts.store.check_installation(services.parts.settings.credit_value_cents)
    return Health()
