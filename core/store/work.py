"""What is due, who looks for it, and chores: what recurs."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.work import Look, Turn
from core.store.calls import Functions


class WorkStore(Functions):
    """One look for all that is due; claims of chores."""

    async def look_for_work(self, worker: str, kinds: Sequence[str], wait_seconds: float) -> Look:
        """Ask which of these kinds of work are due. The one that looks is kept waiting for them."""
        row = await self._call("look_for_work", worker=worker, kinds=list(kinds), wait_seconds=wait_seconds)
        return Look(tuple(row["due"]), row["looks"], row["again_in_seconds"])

    async def claim_chore(self, name: str, lease_seconds: float) -> Turn | None:
        """For the one worker whose turn it is; None for all others. Due again after the lease."""
        row = await self._call("claim_chore", name=name, lease_seconds=lease_seconds)
        if not row:
            return None
        mark = (row["state"] or {}).get("mark")
        asked_at = datetime.fromisoformat(row["asked_at"])
        return Turn(name, row["token"], datetime.fromisoformat(mark) if mark else None, asked_at)

    async def finish_chore(self, turn: Turn, mark: datetime | None = None) -> bool:
        """Say that it is done, up to that mark; it never goes back. False: another worker has it now."""
        reached = max((one for one in (turn.mark, mark) if one is not None), default=None)
        state = {"mark": reached.isoformat()} if reached else None
        return bool(await self._call("finish_chore", name=turn.chore, token=turn.token, state=state))
