"""What recurs: one worker does it, and again after some time."""

import asyncio
from dataclasses import dataclass

from core.store import ServiceStore
from worker.jobs.runner import Job


@dataclass(frozen=True, slots=True)
class Chore:
    """A job that whichever worker claims it does to its end, once in so many seconds."""

    store: ServiceStore
    name: str
    every_seconds: int
    job: Job
    stopping: asyncio.Event

    async def run_once(self) -> int:
        if await self.store.claim_chore(self.name, self.every_seconds) is None:
            return 0
        while not self.stopping.is_set() and await self.job.run_once():
            pass
        return 0
