"""The nightly job: compare all keys with LiteLLM, have mended what differs, block what nobody may use."""

from dataclasses import dataclass

from core.errors import KeyfundError
from core.flows.drift import DriftFinder
from core.logs import get_logger
from core.store import ServiceStore

log = get_logger()
LEASE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class FindDrift:
    """Once a night, by one worker. What could not be compared is tried again within the hour."""

    store: ServiceStore
    finder: DriftFinder

    async def run_once(self) -> int:
        if not await self.store.claim_chore("drift", LEASE_SECONDS):
            return 0
        try:
            report = await self.finder.find(mend=True)
        except KeyfundError as error:
            log.error("drift.not_compared", reason=str(error))
            return 0
        await self.store.record_drift(report)
        for one in report.named:
            log.error(
                "drift.found",
                kind=one.kind,
                subject=one.subject,
                found=one.found,
                expected=one.expected,
                done=one.done,
            )
        if report.skipped is not None:
            log.warning("drift.not_compared", reason=report.skipped)
            return 0
        await self.store.finish_chore("drift")
        log.info("drift.compared", keys=report.compared, differences=report.total)
        return 0
