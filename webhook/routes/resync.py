"""Having everything that failed or is parked pushed again. How far that is, the database keeps."""

import time
from datetime import datetime

from pydantic import BaseModel, Field

from core.logs import get_logger
from webhook.routes.admin import AdministratorHere
from webhook.services import ServicesHere

log = get_logger()
WORK_SECONDS = 10.0


class Resync(BaseModel):
    """The last resync. What it made due, the worker pushes; what LiteLLM has not confirmed is outstanding."""

    id: int | None = Field(description="Null: there has been none.")
    started_at: datetime | None
    ended_at: datetime | None = Field(
        description="When all that had failed was due; null: start it again to go on where it stopped."
    )
    accounts: int = Field(description="Made due by it.")
    keys: int = Field(description="Made due by it.")
    outstanding_accounts: int
    outstanding_keys: int
    failing_accounts: int = Field(description="Those of the outstanding ones that have failed again.")


async def start(caller: AdministratorHere, services: ServicesHere) -> Resync:
    """Make all that failed or is parked due now, batch by batch; the worker pushes it."""
    services.need_litellm()
    store = services.store_of(caller)
    deadline = time.monotonic() + WORK_SECONDS
    told = await store.resync_failed(None)
    while told["ended_at"] is None and time.monotonic() < deadline:
        told = await store.resync_failed(told["id"])
    log.info("sync.all_again", accounts=told["accounts"], keys=told["keys"], by=caller.user_id)
    return Resync(**await store.read_resync())


async def read(caller: AdministratorHere, services: ServicesHere) -> Resync:
    """How much of the last resync is still outstanding."""
    return Resync(**await services.store_of(caller).read_resync())
