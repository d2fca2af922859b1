"""Every job in one table, and the clock that looks for what there is to do."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from core.assembly import Assembly
from core.flows.watch import Watcher
from worker.jobs.books import Reconcile
from worker.jobs.chore import Chore
from worker.jobs.drift import CompareKeys
from worker.jobs.look import LookForWork
from worker.jobs.payments import HandleEvents, RedactEvents, SweepPaystack, VerifyOrders
from worker.jobs.runner import Job, Runner
from worker.jobs.sync import (
    CountShares,
    DeleteKeys,
    ProbeLiteLLM,
    PushAccounts,
    RollUpUsage,
    SettleUsage,
    WatchLiteLLM,
)
from worker.jobs.upkeep import ForgetKeys, HealAccounts, RetireKeys

LONGEST_REST_SECONDS = 1  # whoever rests for longer is told by the look when it goes on


def jobs(parts: Assembly, stopping: asyncio.Event) -> Iterator[tuple[str, Job]]:
    """What this worker does, by kind of work as the database names it. A job goes on while it finds work."""
    store, settings = parts.store, parts.settings
    at_once = settings.push_concurrency

    def chore(name: str, every_seconds: int, job: Job) -> tuple[str, Job]:
        return name, Chore(store, name, every_seconds, job, stopping)

    yield "reconcile", Reconcile(store, parts.reconciler)
    yield "retire_keys", RetireKeys(store, at_once=200)
    yield chore("heal_accounts", 60, HealAccounts(store, at_once=500))
    yield chore("redact_events", 3600, RedactEvents(store, at_once=500))
    yield chore("forget_keys", 3600, ForgetKeys(store, at_once=500))
    if parts.pusher is not None and parts.litellm is not None:
        yield "push_accounts", PushAccounts(store, parts.pusher, at_once, stopping)
        yield "probe_litellm", ProbeLiteLLM(store, parts.litellm)
        yield "count_shares", CountShares(store, parts.litellm, at_once=100)
        yield chore("watch_litellm", 60, WatchLiteLLM(store, Watcher(store, parts.litellm)))
        yield chore("delete_keys", 3600, DeleteKeys(store, parts.litellm, at_once=100))
        yield "settle_usage", SettleUsage(store, parts.litellm, 20, parts.drift_finder)
        yield "compare_keys", _compare_keys(parts, stopping)
    if parts.usage is not None:
        yield "roll_up_usage", RollUpUsage(store, parts.usage, at_once=4, lease_seconds=60)
    if parts.settler is not None and parts.paystack is not None:
        yield "handle_events", HandleEvents(store, parts.settler, at_once, settings.lease_seconds)
        yield "sweep_paystack", SweepPaystack(store, parts.settler, parts.paystack, every_seconds=900)
        yield "verify_orders", VerifyOrders(store, parts.settler, at_once)


def _compare_keys(parts: Assembly, stopping: asyncio.Event) -> Job:
    async def rest(seconds: float) -> None:
        if seconds <= LONGEST_REST_SECONDS:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)

    assert parts.litellm is not None  # noqa: S101 (where it is configured)
    settings = parts.settings
    return CompareKeys(
        parts.store,
        parts.litellm,
        round_seconds=settings.drift_round_seconds,
        share_percent=settings.drift_share_percent,
        rest=rest,
    )


def build_scheduler(parts: Assembly, runner: Runner) -> AsyncIOScheduler:
    """A clock that looks for work, and runs the job of each kind that is due, never one beside itself.

    The look goes on by itself; the clock begins it again a second after the database was away.
    """
    scheduler = AsyncIOScheduler(
        timezone="UTC", job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
    )
    worker = f"{socket.gethostname()}:{os.getpid()}"
    look = LookForWork(
        parts.store,
        worker,
        runner,
        dict(jobs(parts, runner.stopping)),
        begin=lambda kind: scheduler.add_job(look.work, args=[kind], id=kind, replace_existing=True),
    )
    scheduler.add_job(
        runner.run,
        IntervalTrigger(seconds=1, timezone="UTC"),
        args=["look", look],
        id="look",
        next_run_time=datetime.now(UTC),
    )
    return scheduler
