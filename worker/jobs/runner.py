"""Running jobs to where they find nothing more to do."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import TransientError
from core.logs import get_logger

log = get_logger()


class Job(Protocol):
    """Something to do in bites: returns how much it found, 0 when there is nothing left for now."""

    async def run_once(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs to where they find nothing more to do, and knows which are running."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, name: str, job: Job) -> None:
        """Run a job batch after batch. A database that is away is no reason to fall over."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs is in a task)
        self.running.add(task)
        try:
            while not self.stopping.is_set() and await job.run_once():
                pass
        except TransientError as error:
            log.warning("job.postponed", job=name, error=str(error))
        finally:
            self.running.discard(task)

    async def stop(self, timeout_seconds: float) -> None:
        """Begin nothing new, and wait for what is in hand; its lease ends at about the same time."""
        self.stopping.set()
        if self.running:
            await asyncio.wait(self.running, timeout=timeout_seconds)
