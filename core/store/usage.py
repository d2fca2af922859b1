"""What the service key may do about usage: keep what LiteLLM told, and share out whose days to read."""

from collections.abc import Sequence
from datetime import date, datetime

from core.domain.usage import KeySpend, ToRoll, UsedDay
from core.store.calls import Functions


class UsageStore(Functions):
    """The daily rollup, and what keys spent of their caps. A report, never money."""

    async def record_usage(
        self,
        user_id: str,
        start: date,
        end: date,
        days: Sequence[UsedDay],
        asked_at: datetime,
        booked_micros: int | None = None,
    ) -> bool:
        """Keep what LiteLLM told of these days; returns whether anything of it was new.

        ``booked_micros``: ends a claim.

        Raises:
            RefusedError: the answer is about another account's keys.
        """
        rows = [
            {
                "day": one.day.isoformat(),
                "model": one.model,
                "key_hash": one.key_hash,
                "requests": one.figures.requests,
                "prompt_tokens": one.figures.prompt_tokens,
                "completion_tokens": one.figures.completion_tokens,
                "spend_micros": one.figures.spend_micros,
            }
            for one in days
        ]
        window = {"from": start.isoformat(), "until": end.isoformat()}
        changed = await self._call(
            "record_usage",
            account_id=user_id,
            days=rows,
            asked_at=asked_at.isoformat(),
            booked_micros=booked_micros,
            **window,
        )
        return bool(changed)

    async def claim_rollups(self, limit: int, lease_seconds: int) -> list[ToRoll]:
        """Lease accounts that have spent since their days were last read."""
        rows = await self._call("claim_rollups", limit=limit, lease_seconds=lease_seconds)
        return [
            ToRoll(row["user_id"], date.fromisoformat(row["since"]), row["booked_micros"]) for row in rows
        ]

    async def record_key_spend(self, keys: Sequence[KeySpend]) -> int:
        """Keep what keys were seen to have spent of their caps; returns of how many it was new."""
        rows = [
            {
                "key_hash": one.key_hash,
                "spend_micros": one.spend_micros,
                "resets_at": one.resets_at.isoformat() if one.resets_at else None,
            }
            for one in keys
        ]
        return int(await self._call("record_key_spend", keys=rows))
