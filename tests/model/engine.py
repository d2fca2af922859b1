"""The event loop that a test owns, and the processes of ours that run on it, one step at a time."""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from tests.model.process import SMOOTH, Letter, Plan, Process

T = TypeVar("T")

TURNS = 300
"""How often the loop turns, at most, until nothing moves any more beside a stalled call."""

LETTER_SECONDS = 25
"""How late a request may still land. The product reads again 30 s after an unknown outcome."""

PATIENCE_SECONDS = 12
"""How long the product waits for an answer."""


@dataclass
class Stalled:
    """``timed``: it holds a time that would be wrong if time were moved."""

    process: Process
    task: "asyncio.Task[Any]"
    timed: bool
    seconds: float = 0


@dataclass
class Engine:
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    letters: list[Letter] = field(default_factory=list)
    stalled: list[Stalled] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, T], plan: Plan = SMOOTH, *, timed: bool = False) -> T | None:
        """Run a process to its end, its death, or until it stalls; None in the latter two."""
        process = Process(plan, self.letters)
        task = self.loop.create_task(process.live(work))
        self.loop.run_until_complete(_until_still(task, process))
        if task.done():
            return task.result()
        self.stalled.append(Stalled(process, task, timed))
        return None

    def resume(self, one: Stalled) -> None:
        """Let a stalled call have its answer, or its caller give up on it."""
        self.stalled.remove(one)
        one.process.slow = one.seconds > PATIENCE_SECONDS
        one.process.go_on.set()
        self.loop.run_until_complete(one.task)

    def land(self, letter: Letter) -> None:
        """Let a late request reach its goal. Its answer interests nobody."""
        self.letters.remove(letter)
        with contextlib.suppress(httpx.HTTPError):
            self.loop.run_until_complete(_waited(letter))

    def let_pass(self, seconds: float) -> None:
        """What is too old by then is lost; what holds a time goes on first."""
        for one in [one for one in self.stalled if one.timed]:
            self.resume(one)
        for waiting in self.stalled:
            waiting.seconds += seconds
        for letter in list(self.letters):
            letter.age_seconds += seconds
            if letter.age_seconds > LETTER_SECONDS:
                self.letters.remove(letter)

    def close(self) -> None:
        for one in list(self.stalled):
            one.task.cancel()
        with contextlib.suppress(BaseException):
            self.loop.run_until_complete(asyncio.gather(*(one.task for one in self.stalled)))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


async def _until_still(task: "asyncio.Task[Any]", process: Process) -> None:
    stalled = asyncio.create_task(process.stalled.wait())
    await asyncio.wait({task, stalled}, return_when=asyncio.FIRST_COMPLETED)
    stalled.cancel()
    for _ in range(TURNS):
        if task.done():
            return
        await asyncio.sleep(0)


async def _waited(letter: Letter) -> None:
    await letter.act()
