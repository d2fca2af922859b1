"""Every job in one table."""

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
from worker.jobs.drift import CompareKeys
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
from worker.jobs.upkeep import Beat, ForgetKeys, HealAccounts, RetireKeys


def jobs(parts: Assembly, stopping: asyncio.Event) -> Iterator[tuple[str, float, Job]]:
    """Name, seconds between two looks, what to do. A job goes on while it finds work."""
    store, settings = parts.store, parts.settings
    at_once = settings.push_concurrency
    yield "beat", 10, Beat(store, f"{socket.gethostname()}:{os.getpid()}")
    yield "redact_events", 3600, RedactEvents(store, at_once=500)
    yield "reconcile", 60, Reconcile(store, parts.reconciler)
    yield "retire_keys", 5, RetireKeys(store, at_once=200)
    yield "heal_accounts", 60, HealAccounts(store, at_once=500)
    yield "forget_keys", 3600, ForgetKeys(store, at_once=500)
    if parts.pusher is not None and parts.litellm is not None:
        yield "push_accounts", 1, PushAccounts(store, parts.pusher, at_once, stopping)
        yield "probe_litellm", 3, ProbeLiteLLM(store, parts.litellm)
        yield "count_shares", 2, CountShares(store, parts.litellm, at_once=100)
        yield "watch_litellm", 10, WatchLiteLLM(store, Watcher(store, parts.litellm), every_seconds=60)
        yield "delete_keys", 3600, DeleteKeys(store, parts.litellm, at_once=100)
        yield "settle_usage", 5, SettleUsage(store, parts.litellm, 20, parts.drift_finder)
        yield "compare_keys", 5, _compare_keys(parts, stopping)
    if parts.usage is not None:
        yield "roll_up_usage", 10, RollUpUsage(store, parts.usage, at_once=4, lease_seconds=60)
    if parts.settler is not None and parts.paystack is not None:
        yield "handle_events", 1, HandleEvents(store, parts.settler, at_once, settings.lease_seconds)
        yield "sweep_paystack", 60, SweepPaystack(store, parts.settler, parts.paystack, every_seconds=900)
        yield "verify_orders", 30, VerifyOrders(store, parts.settler, at_once)


def _compare_keys(parts: Assembly, stopping: asyncio.Event) -> Job:
    async def rest(seconds: float) -> None:
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
    """A clock with all jobs; each runs once at the start, and never beside itself."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    for name, seconds, job in jobs(parts, runner.stopping):
        scheduler.add_job(
            runner.run,
            IntervalTrigger(seconds=seconds, timezone="UTC"),
            args=(name, job),
            id=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            next_run_time=datetime.now(UTC),
        )
    return scheduler
