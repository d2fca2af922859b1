"""How many credits are left, and whether it is time to say so."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from webhook.services import AccountHere, CallerHere, ServicesHere


class Balance(BaseModel):
    """``notice`` is the last threshold that was reached since the last top-up; a top-up takes it away."""

    credits: int
    after_top_up: int | None = Field(description="The balance right after the last top-up; null: none yet.")
    left_percent: int | None = Field(description="Of that balance, rounded up.")
    notice: Literal[50, 20, 5] | None
    topped_up_at: datetime | None


async def read(caller: CallerHere, services: ServicesHere, account_id: AccountHere = None) -> Balance:
    """An account's credits. Usage is booked within half a minute, so they are that old at most."""
    return Balance(**await services.store_of(caller).read_balance(str(account_id) if account_id else None))
