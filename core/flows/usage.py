"""Reading accounts' days from LiteLLM, and keeping them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from core.gateways.litellm import LiteLLM
from core.store import ServiceStore


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The days are kept as LiteLLM had them at ``as_of``; ``changed``: some of it was new."""

    as_of: datetime
    changed: bool


@dataclass(frozen=True, slots=True)
class UsageReader:
    """Always asks for one account by its id: without one LiteLLM would tell of everybody."""

    store: ServiceStore
    litellm: LiteLLM

    async def refresh(
        self, user_id: str, start: date, end: date, booked_micros: int | None = None
    ) -> Refreshed:
        """Read these days (inclusive, UTC) and keep what is new of them.

        Raises:
            TransientError: LiteLLM or the database cannot be asked.
            RefusedError: LiteLLM's answer is about somebody else.
        """
        asked_at = datetime.now(UTC)
        days = await self.litellm.read_days(user_id, start, end)
        changed = await self.store.record_usage(user_id, start, end, days, asked_at, booked_micros)
        return Refreshed(asked_at, changed)


def tomorrow() -> date:
    """The last day that anybody's today can be; days that have not begun are empty."""
    return datetime.now(UTC).date() + timedelta(days=1)
