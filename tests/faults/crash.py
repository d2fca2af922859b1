"""Killing between every two steps: the steps are those that a clean run of the real process takes."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tests.faults.processes import Actor, Kind
from tests.faults.proxy import Answer, Fault, Hook, Request, Seen
from tests.faults.scene import DEAD_LEASE_SECONDS, Scene
from tests.integration.world import Json, until
from tests.support import User

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")
# Ids of all sorts: UUIDs, hashes, our payment references.
NAMES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}|kf-[0-9a-f]{32}")


# What a worker's jobs do for whichever account it is: these belong to a case only where they mention it.
FOR_ANYBODY: set[tuple[str, str]] = {
    ("litellm", "GET /key/list"),
    ("litellm", "GET /user/daily/activity/aggregated"),
    ("paystack", "GET /transaction/verify/:id"),
    *(
        ("supabase", f"POST /rest/v1/rpc/{function}")
        for function in ("settle_usage", "record_key_spend", "record_usage", "get_payment", "observe_payment")
    ),
    *(
        ("supabase", f"POST /rest/v1/rpc/{function}")
        for function in (
            "claim_drift_slice",
            "read_drift",
            "finish_drift_slice",
            "read_routes",
            "record_warnings",
            "claim_chore",
            "finish_chore",
        )
    ),
}


LOOK = "POST /rest/v1/rpc/look_for_work"
FOR_ANYBODY.add(("supabase", LOOK))


@dataclass(frozen=True)
class Step:
    """The nth call of its kind that a process makes; kinds rather than one running number, because calls
    made side by side come in any order."""

    proxy: str
    route: str
    nth: int

    def __str__(self) -> str:
        return f"{self.proxy} {self.route} #{self.nth}"


@dataclass
class Case:
    """One account at the start of what is to be done for it."""

    user: User
    marks: list[str]
    expects: Callable[[], list[str]]
    event: bytes = b""
    answered: int | None = None
    keys: list[Json] = field(default_factory=list)


class Scenario(Protocol):
    """Something that one process does in several steps."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    def prepare(self, scene: Scene) -> Case:
        """An account with everything before the first step."""

    def release(self, scene: Scene, case: Case) -> None:
        """Make due what a worker is to find."""

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        """What sets a webhook off."""

    def is_done(self, scene: Scene, case: Case) -> bool:
        """Whether all of it has happened."""

    def repeat(self, scene: Scene, case: Case) -> None:
        """What the world does when nobody answered: Paystack delivers again, a buyer tries again."""


# --- finding the steps ------------------------------------------------------------------------------------


def route(request: Request) -> str:
    return f"{request.method} {NAMES.sub(':id', request.path)}"


def steps_of(seen: Sequence[Seen]) -> list[tuple[Step, Seen]]:
    """Every call with its place among those of its kind."""
    counted: Counter[tuple[str, str]] = Counter()
    found = []
    for one in seen:
        kind = (one.proxy, route(one.request))
        counted[kind] += 1
        found.append((Step(*kind, counted[kind]), one))
    return found


def belongs(one: Seen, case: Case, idle: set[tuple[str, str]]) -> bool:
    """Whether a call is made for the case, or just what the process does anyway."""
    if (one.proxy, route(one.request)) not in idle:
        return True
    return any(
        one.request.mentions(mark) or (one.answer is not None and one.answer.mentions(mark))
        for mark in case.marks
    )


def idle_kinds(scene: Scene, kind: Kind) -> set[tuple[str, str]]:
    """What a process does that has nothing to do; looked at once."""
    if kind not in scene.idle:
        scene.idle[kind] = watch_idle(scene, kind)
    return scene.idle[kind]


def watch_idle(scene: Scene, kind: Kind) -> set[tuple[str, str]]:
    scene.db.execute("update keyfund.gateways set last_ok_at = null, probe_at = null")
    with closing(scene.actor(kind)) as actor:
        actor.start_gated().open()
        quiet(actor, seconds=1.2)
        seen = {(one.proxy, route(one.request)) for one in actor.seen()}
    return seen | FOR_ANYBODY if kind == "worker" else seen


def quiet(actor: Actor, seconds: float = 0.5) -> None:
    """Wait until it has made no new kind of call for a while and none is under way."""

    def still() -> bool:
        known = {(one.proxy, route(one.request)) for one in actor.seen()}
        time.sleep(seconds)
        calls = [one for one in actor.seen() if route(one.request) != LOOK]  # one look is always under way
        return {(one.proxy, route(one.request)) for one in calls} <= known and all(one.done for one in calls)

    until(still, seconds=30, what=f"{actor.name} is quiet")


def record(scene: Scene, scenario: Scenario) -> list[Step]:
    """The steps of a clean run, which has to come out right."""
    idle = idle_kinds(scene, scenario.kind)
    case = scenario.prepare(scene)
    with closing(scene.actor(scenario.kind, VICTIM)) as actor:
        actor.start_gated()
        scene.read_later()
        scenario.release(scene, case)
        actor.open()
        scenario.act(scene, actor, case)
        until(lambda: scenario.is_done(scene, case), seconds=30, what=f"{scenario.name} runs clean")
        quiet(actor)
        steps = [step for step, one in steps_of(actor.seen()) if belongs(one, case, idle)]
    assert case.expects() == []
    return steps


# --- killing ------------------------------------------------------------------------------------------------

VICTIM = {"LEASE_SECONDS": DEAD_LEASE_SECONDS, "PUSH_CONCURRENCY": "1", "LITELLM_TIMEOUT_SECONDS": "12"}


@dataclass(frozen=True)
class Point:
    """Just before a step is forwarded, or just after its effect but before its answer."""

    step: Step
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.step}"


@dataclass
class Ending:
    """What became of one point."""

    point: Point
    case: Case
    reached: bool


def points_of(steps: Sequence[Step], *, every: bool) -> list[Point]:
    """Both moments of every step; unless ``every``, without those about a read: having no effect, it leaves
    the world as it was just after the step before."""
    return [
        Point(step, moment)
        for step in steps
        for moment in MOMENTS
        if every or not step.route.startswith("GET ")
    ]


def kill_at(scene: Scene, scenario: Scenario, point: Point, case: Case, actor: Actor) -> Ending:
    """Let a gated process begin, kill it at the point, and let the world do what it does then."""
    with closing(actor):
        scene.read_later()
        scenario.release(scene, case)
        actor.open()
        scenario.act(scene, actor, case)
        until(
            lambda: actor.killed.is_set() or scenario.is_done(scene, case),
            seconds=30,
            what=f"{scenario.name}: {point}",
        )
        # The last steps come after their effect can be seen.
        ending = Ending(point, case, reached=actor.killed.wait(3))
    scenario.repeat(scene, case)
    scene.hold([case.user])
    return ending


def victim(scene: Scene, scenario: Scenario, point: Point) -> Actor:
    """A process that waits behind its gate and has a trap on its way."""
    actor = scene.actor(scenario.kind, VICTIM).start_gated()
    set_trap(actor, point)
    return actor


def set_trap(actor: Actor, point: Point) -> None:
    def kill(*_: Request | Answer) -> bool:
        actor.kill()
        return False

    trap(actor, point.step, Hook(before=kill) if point.moment == "before" else Hook(after=kill))


def trap(actor: Actor, step: Step, fault: Fault) -> None:
    """Have a fault befall the process at that step, counted from now on."""
    actor.proxies[step.proxy].on(
        "*", fault, times=1, skip=step.nth - 1, where=lambda request: route(request) == step.route
    )


def kill_at_all(scene: Scene, scenario: Scenario, points: Sequence[Point]) -> Iterator[Ending]:
    """One after the other, each with a process and an account of its own. The accounts are made before any
    process runs that could take them up; the processes are started beside each other."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        cases = list(pool.map(lambda _: scenario.prepare(scene), points))
        waiting: list[Future[Actor]] = []
        left = iter(points)
        for point, case in zip(points, cases, strict=True):
            while len(waiting) < 3 and (following := next(left, None)) is not None:
                waiting.append(pool.submit(victim, scene, scenario, following))
            yield kill_at(scene, scenario, point, case, waiting.pop(0).result())
