"""Comparing all keys with LiteLLM, all the time and a little at a time; what differs is made due."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from core.domain.drift import DriftReport, DriftSlice, DriftStep, pause_seconds
from core.errors import KeyfundError
from core.flows.drift import tell
from core.flows.slices import TimedPages, compare_slice
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.metrics import DRIFT_CALL_SECONDS, DRIFT_KEYS
from core.store import ServiceStore

log = get_logger()
LEASE_SECONDS = 60
RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class CompareKeys:
    """One slice after the other, by one worker at a time, each followed by a rest.

    ``round_seconds``: how long all keys take together, or longer where LiteLLM's share of ``share_percent``
    of its time asks for it.
    """

    store: ServiceStore
    litellm: LiteLLM
    round_seconds: float
    share_percent: float
    rest: Callable[[float], Awaitable[None]]
    clock: Callable[[], float] = time.monotonic

    async def run_once(self) -> int:
        """Returns 1 where a slice was compared, 0 where it was another's turn or LiteLLM did not answer."""
        one = await self.store.claim_drift_slice(LEASE_SECONDS)
        if one is None:
            return 0
        timed = TimedPages(self.litellm, self.clock)
        part = replace(one, report=DriftReport(one.report.began_at))
        step = await self._compare(part, timed)
        DRIFT_CALL_SECONDS.inc(timed.seconds)
        one.report.call_seconds += timed.seconds
        if step is not None:
            one.report.add_all(part.report)
            DRIFT_KEYS.inc(part.report.compared)
        pause = self._pause(timed.seconds, step)
        await self.store.finish_drift_slice(one, step or DriftStep(one.page, one.after, 1), pause)
        if step is not None and step.ends_round:
            log.info("drift.compared", keys=one.report.compared, differences=one.report.total)
        await self.rest(pause)
        return int(step is not None)

    async def _compare(self, one: DriftSlice, timed: TimedPages) -> DriftStep | None:
        """None: it could not be compared to its end, and is compared again."""
        try:
            return await compare_slice(self.store, timed, one)
        except KeyfundError as error:
            log.warning("drift.not_compared", reason=str(error))
            return None
        finally:
            tell(one.report)

    def _pause(self, call_seconds: float, step: DriftStep | None) -> float:
        pages, round_seconds = (step.pages, self.round_seconds) if step else (1, RETRY_SECONDS)
        return pause_seconds(
            call_seconds, pages, round_seconds=round_seconds, share_percent=self.share_percent
        )
