"""Nothing to do: transactions, and how soon something is noticed; the start; memory under a backlog."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from bench.load import fire
from bench.measure import Fact, Line, Row, Series
from bench.push import PUSHED
from bench.scene import Scene, staged
from dev.child import Child
from dev.stack import ROOT, free_port

WORKERS = {1: "≤70", 5: "≤140"}
SAMPLES = 20
CROWD = 100  # more than are handled beside the answers: the rest is the worker's
PARTS = ("webhook", "worker")
IMPORTS = {
    "webhook": "import fastapi, supabase, uvicorn",
    "worker": "import apscheduler.schedulers.asyncio, supabase",
}
HANDLED = "select not exists (select from keyfund.events where handled_at is null)"
CLAIMED = "select claimed_at is not null from keyfund.pushes where account_id = %s"
WAITED = """
    select extract(epoch from p.claimed_at - k.created_at)::float * 1000
    from keyfund.pushes p join public.virtual_keys k using (account_id)
    where account_id = %s and k.state <> 'placeholder'"""
COMMITS = "select xact_commit + xact_rollback from pg_stat_database where datname = 'keyfund'"


def measure(runs: int, scale: float) -> list[Row]:
    seconds = 20 * min(1, scale)
    with staged("idle") as scene:
        asyncio.run(scene.until(PUSHED, users=[]))
        rows = [*_idle(scene, min(3, runs), seconds), *_starts(scene, runs)]
        return [*rows, *asyncio.run(_backlog(scene, int(10_000 * min(1, scale))))]


# ------------------------------------------------------------------------ idle


def _idle(scene: Scene, runs: int, seconds: float) -> Iterator[Row]:
    for count, aim in WORKERS.items():
        with _workers(scene, count - 1):
            time.sleep(15)  # what a start asks for, and the first look at everything, is over
            commits = [_commits(scene, seconds) for _ in range(runs)]
            waits = asyncio.run(_waits(scene))
        workers = f"{count} worker{'s' * (count > 1)}"
        yield Fact(f"idle, {workers}", "transactions/min", Series.of(commits), aim)
        yield Fact(f"a key made in SQL until it is claimed, {workers}", "ms", Series.of(waits))


def _commits(scene: Scene, seconds: float) -> float:
    """Transactions a minute, those of the service and of all workers."""
    began, before = time.monotonic(), scene.value(COMMITS)
    time.sleep(seconds)
    # The connection that asks is of the same database: its first look is one of them.
    return float(scene.value(COMMITS) - before - 1) * 60 / (time.monotonic() - began)


async def _waits(scene: Scene) -> list[float]:
    """Milliseconds from the commit that makes a key until a worker claims it, at moments of no order."""
    waits = []
    for user in scene.sign_up(SAMPLES):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        scene.make_keys([user], 1)
        await scene.until(CLAIMED, user, pause=0.02)
        waits.append(float(scene.value(WAITED, user)))
        await scene.until(PUSHED, users=[user])
    return waits


@contextmanager
def _workers(scene: Scene, count: int) -> Iterator[None]:
    """So many workers beside the stack's own."""
    part = scene.stack.parts["worker"]
    with ExitStack() as stack:
        for number in range(count):
            more = part.__class__(
                **{**vars(part), "env": {**part.env, "WORKER_METRICS_PORT": str(free_port())}}
            )
            child = Child(more, ROOT / ".stack" / "bench" / f"worker-{number}.log", {})
            child.spawn()
            stack.callback(child.stop)
        yield


# ---------------------------------------------------------------------- starts


def _starts(scene: Scene, runs: int) -> Iterator[Row]:
    for name in PARTS:
        ours, bare = list[float](), list[float]()
        for _ in range(runs):
            scene.stack.stop_part(name)
            began = time.perf_counter()
            scene.stack.start_part(name)
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", IMPORTS[name]], check=True)
            bare.append(time.perf_counter() - began)
        yield Line(f"start of the {name}, to ready", "s", Series.of(ours), "its imports", Series.of(bare))


# --------------------------------------------------------------------- backlog


async def _backlog(scene: Scene, size: int) -> list[Row]:
    """Accounts with a key each, all due at once, and as many deliveries from a crowd of connections."""
    before = {name: _megabytes(scene, name) for name in PARTS}
    most = dict(before)
    scene.make_keys(scene.sign_up(size), 1)
    shots = [scene.delivery(scene.strange(f"kf-backlog{number}")) for number in range(size)]

    async def deliver() -> None:
        await fire(shots, CROWD)
        await scene.until(HANDLED)

    draining = asyncio.create_task(deliver())
    while not draining.done():
        most = {name: max(most[name], _megabytes(scene, name)) for name in PARTS}
        await asyncio.sleep(0.5)
    await draining
    return [
        Line(
            f"memory of the {name}, {size:,} accounts due and deliveries",
            "MB",
            Series.of([most[name]]),
            "idle",
            Series.of([before[name]]),
            "≤1.2",
        )
        for name in PARTS
    ]


def _megabytes(scene: Scene, name: str) -> float:
    pid = scene.stack.running(name).pid
    assert pid is not None
    return float(psutil.Process(pid).memory_info().rss) / 1_000_000
