"""A process of ours as the world outside sees it: it makes calls, and at one of them it may come to grief."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
Act = Callable[[], Awaitable[T]]


class Crash(BaseException):
    """The process is dead: SIGKILL, power, the kernel's memory killer."""


class Mishap(StrEnum):
    """What happens at one outward call."""

    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"
    CRASH_LATE = "crash_late"  # and the request lands later
    LOSE_ANSWER = "lose_answer"
    LATE = "late"  # no answer, and the request lands later
    STALL = "stall"  # the answer takes its time, while the world goes on


@dataclass(frozen=True)
class Plan:
    """At which outward call, counted from 1, what happens; None: nothing ever."""

    mishap: Mishap | None = None
    at: int = 1


SMOOTH = Plan()


@dataclass
class Letter:
    """A request on its way: nobody waits for it any more, and it may yet land."""

    act: Act[Any]
    age_seconds: float = 0


@dataclass
class Process:
    """One run of a job or a request; ``slow`` says that so much time has passed that the caller gave up."""

    plan: Plan
    letters: list[Letter]
    calls: int = 0
    dead: bool = False
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    slow: bool = False

    async def live(self, work: Coroutine[Any, Any, T]) -> T | None:
        current.set(self)
        try:
            return await work
        except Crash:
            return None

    async def cross(self, act: Act[T], lost: Exception, *, may_be_late: bool) -> T:
        """Make an outward call; ``lost`` is what the caller gets instead of an answer that never comes."""
        if self.dead:
            raise Crash
        self.calls += 1
        if self.plan.mishap is None or self.calls != self.plan.at:
            return await act()
        return await self._suffer(self.plan.mishap, act, lost, may_be_late=may_be_late)

    async def _suffer(self, mishap: Mishap, act: Act[T], lost: Exception, *, may_be_late: bool) -> T:
        crashes = mishap in (Mishap.CRASH_BEFORE, Mishap.CRASH_AFTER, Mishap.CRASH_LATE)
        self.dead = crashes
        if mishap in (Mishap.LATE, Mishap.CRASH_LATE) and may_be_late:
            self.letters.append(Letter(act))
        elif mishap is not Mishap.CRASH_BEFORE:
            answer = await act()
            if mishap is Mishap.STALL:
                await self._stall(lost)
                return answer
        if crashes:
            raise Crash
        raise lost

    async def _stall(self, lost: Exception) -> None:
        self.stalled.set()
        await self.go_on.wait()
        if self.slow:
            raise lost


current: ContextVar[Process | None] = ContextVar("current", default=None)


async def cross(act: Act[T], lost: Exception, *, may_be_late: bool = False) -> T:
    """Make an outward call on behalf of the process that we are in, if in any."""
    process = current.get()
    if process is None:
        return await act()
    return await process.cross(act, lost, may_be_late=may_be_late)
