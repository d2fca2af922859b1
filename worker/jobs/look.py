"""One look for all that is due: the only question that a worker with nothing to do asks."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.metrics import WORKER_LOOKS
from core.store import ServiceStore
from worker.jobs.runner import Job, Runner

IDLE_SECONDS = 4.0
BUSY_SECONDS = 0.25
REST_SECONDS = 1.0


@dataclass(slots=True)
class LookForWork:
    """Ask which kinds of work are due, and have their jobs begin.

    A kind is not asked for while its job runs, and the answer comes soon then, for what becomes due when the
    job has just ended. Nor is it asked for while it rests: it was due, its job found nothing, and it is due
    still, because another worker is just claiming it.
    """

    store: ServiceStore
    worker: str
    runner: Runner
    jobs: Mapping[str, Job]
    begin: Callable[[str], object]
    clock: Callable[[], float] = time.monotonic
    begun: set[str] = field(default_factory=set)
    resting: set[str] = field(default_factory=set)
    fruitless_until: dict[str, float] = field(default_factory=dict)

    async def run_once(self) -> int:
        """Look once, and wait until it is time to look again; returns 1 while there is a next time."""
        kinds = self.free_kinds()
        wait_seconds = IDLE_SECONDS if len(kinds) == len(self.jobs) else BUSY_SECONDS
        look = await self.runner.unless_stopping(self.store.look_for_work(self.worker, kinds, wait_seconds))
        if look is None:
            return 0
        WORKER_LOOKS.set(look.looks)
        for kind in look.due:
            self.take_up(kind)
        await self.runner.unless_stopping(asyncio.sleep(look.again_in_seconds))
        return 1

    def free_kinds(self) -> list[str]:
        self.resting = {kind for kind in self.resting if self.was_fruitless(kind)}
        return [kind for kind in self.jobs if kind not in self.begun | self.resting]

    def was_fruitless(self, kind: str) -> bool:
        return self.clock() < self.fruitless_until.get(kind, 0)

    def take_up(self, kind: str) -> None:
        if self.was_fruitless(kind):
            self.resting.add(kind)
        else:
            self.begun.add(kind)
            self.begin(kind)

    async def work(self, kind: str) -> None:
        """Run the job of a kind to where it finds nothing more."""
        found = 0
        try:
            found = await self.runner.run(kind, self.jobs[kind])
        finally:
            self.begun.discard(kind)
            if not found:
                self.fruitless_until[kind] = self.clock() + REST_SECONDS
