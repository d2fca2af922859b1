"""What a comparison with LiteLLM reads, page by page and counted, and how it makes an account due."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from core.domain.drift import DriftReport, DriftSlice, DriftStep, HeldKey, read_report
from core.domain.keys import KeyState, WantedKey
from core.refusals import refused
from core.store.calls import Functions, Json
from core.store.pushes import read_time
from core.store.routes import read_fences

KEYS_PER_PAGE = 500


@dataclass(frozen=True, slots=True)
class OpenDrift:
    """When a comparison began, in the database's time, our mark, and what it has to see until its end."""

    at: datetime
    installation_id: str
    keys: int


class DriftStore(Functions):
    """Keys in the order of their hashes."""

    async def open_drift(self) -> OpenDrift:
        row = await self._call("open_drift")
        return OpenDrift(datetime.fromisoformat(row["at"]), row["installation_id"], row["keys"])

    async def walk_drift(self, opened: OpenDrift) -> AsyncIterator[HeldKey]:
        """All keys that LiteLLM may know of, ascending by hash.

        Raises:
            RefusedError: fewer came than there are; the others would be taken for extras.
        """
        after, seen = None, 0
        while held := await self.read_drift(after, KEYS_PER_PAGE, opened.at):
            for one in held:
                yield one
            after, seen = held[-1].wanted.key_hash, seen + len(held)
        if seen < opened.keys:
            raise refused("drift_incomplete", seen, opened.keys)

    async def read_drift(self, after: str | None, limit: int, before: datetime) -> list[HeldKey]:
        """The next so many keys after that hash, of those that were made before."""
        rows = await self._call("read_drift", after=after, limit=limit, before=before.isoformat())
        return [_held(row) for row in rows]

    async def claim_drift_slice(self, lease_seconds: int) -> DriftSlice | None:
        """Lease the next slice of keys to compare; None: it is not due, or another worker has it."""
        row = await self._call("claim_drift_slice", lease_seconds=lease_seconds)
        if not row:
            return None
        at = datetime.fromisoformat(row["at"])
        report = read_report(row["report"]) if row["report"] else DriftReport(at)
        return DriftSlice(row["token"], row["page"], row["after"], at, row["installation_id"], report)

    async def finish_drift_slice(self, one: DriftSlice, step: DriftStep, pause_seconds: float) -> bool:
        """Say where the next slice begins, and after how long. False: another worker has this one now."""
        return bool(
            await self._call(
                "finish_drift_slice",
                token=one.token,
                page=step.page,
                after=step.after,
                report=one.report.as_json(),
                ends_round=step.ends_round,
                pause_seconds=pause_seconds,
            )
        )

    async def read_drift_key(self, key_hash: str) -> HeldKey | None:
        """One key, as it is now; None: it is none of ours."""
        row = await self._call("read_drift_key", key_hash=key_hash)
        return _held(row) if row else None

    async def mend_drift(self, held: HeldKey) -> bool:
        """Make the account due, so that a push compares and mends all of it.

        False: it changed since it was read, or something about it is on its way.
        """
        return bool(
            await self._call(
                "mend_drift",
                account_id=held.wanted.user_id,
                revision=held.account_revision,
                key_hash=held.wanted.key_hash,
            )
        )

    async def record_drift(self, report: DriftReport) -> None:
        """Keep what was found for administrators."""
        await self._call(
            "record_drift",
            began_at=report.began_at.isoformat(),
            complete=report.is_complete,
            differences=report.total,
            report=report.as_json(),
        )


def _held(row: Json) -> HeldKey:
    wanted = WantedKey(
        id=row["id"],
        user_id=row["user_id"],
        installation_id=row["installation_id"],
        key=None,  # nobody needs the string here
        key_hash=row["key_hash"],
        name="",
        state=KeyState(row["state"]),
        budget_cents=row["budget_cents"],
        budget_duration=row["budget_duration"],
        rpm_limit=row["rpm_limit"],
        tpm_limit=row["tpm_limit"],
        revision=row["revision"],
        confirmed=row["confirmed"],
        maybe_created=True,
        fences=read_fences(row["fences"]),
        suspended=row["suspended"],
        of_key=row["of_key"],
        models=tuple(row["models"]),
        expires_at=read_time(row["expires_at"]),
    )
    return HeldKey(
        wanted=wanted,
        settled=row["settled"],
        parked=row["parked"],
        account_revision=row["account_revision"],
        resting=row["resting"],
        leads=row["leads"],
        budget_micros=row["budget_micros"],
        seen_micros=row["seen_micros"],
        rpm_limit=row["account_rpm_limit"],
        tpm_limit=row["account_tpm_limit"],
    )
