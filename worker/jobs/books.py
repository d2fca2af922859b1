"""The nightly job: book all usage, compare everything, keep the report."""

from dataclasses import dataclass
from datetime import timedelta

from core.errors import KeyfundError
from core.flows.reconcile import Reconciler
from core.logs import get_logger
from core.store import ServiceStore

log = get_logger()
LEASE_SECONDS = 3600
WINDOW = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Once a night, by one worker. What could not be compared is tried again within the hour."""

    store: ServiceStore
    reconciler: Reconciler

    async def run_once(self) -> int:
        turn = await self.store.claim_chore("reconcile", LEASE_SECONDS)
        if turn is None:
            return 0
        try:
            report = await self.reconciler.reconcile(WINDOW)
        except KeyfundError as error:
            log.error("books.not_reconciled", error=str(error))
            return 0
        await self.store.record_reconciliation(report)
        for check, tally in report.tallies.items():
            if tally.skipped is not None:
                log.warning("books.not_compared", check=check, reason=tally.skipped)
        for one in report.differences:
            log.error(
                "books.differ", check=one.check, subject=one.subject, found=one.found, expected=one.expected
            )
        if report.is_complete:
            await self.store.finish_chore(turn)
            log.info("books.reconciled", differences=report.total)
        return 0
