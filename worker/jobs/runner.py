"""Running jobs to where they find nothing more to do."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from core.errors import TransientError
from core.logs import get_logger

log = get_logger()
T = TypeVar("T")


class Job(Protocol):
    """Something to do in bites: returns how much it found, 0 when there is nothing left for now."""

    async def run_once(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs to where they find nothing more to do, and knows which are running."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, name: str, job: Job) -> int:
        """Run a job batch after batch; returns how much it found.

        A database that is away is no reason to fall over.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs is in a task)
        self.running.add(task)
        found = 0
        try:
            while not self.stopping.is_set() and (bite := await job.run_once()):
                found += bite
        except TransientError as error:
            log.warning("job.postponed", job=name, error=str(error))
        finally:
            self.running.discard(task)
        return found

    async def unless_stopping(self, work: Awaitable[T]) -> T | None:
        """What the work returns; None once the worker stops, and the work is dropped."""
        doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            doing.cancel()
            stopping.cancel()

    async def stop(self, timeout_seconds: float) -> None:
        """Begin nothing new, and wait for what is in hand; its lease ends at about the same time."""
        self.stopping.set()
        if self.running:
            await asyncio.wait(self.running, timeout=timeout_seconds)
