"""``python -m worker``: work until told to stop; SIGTERM finishes what is in hand."""

import argparse
import asyncio
import contextlib
import signal
import sys

from core.assembly import Assembly, assemble
from core.errors import RefusedError, SettingsError, TransientError
from core.logs import configure_logs, get_logger
from core.settings import Settings, read_settings
from worker.health import Pulse, serve_health
from worker.jobs.runner import Runner
from worker.schedule import build_scheduler

log = get_logger()

DESCRIPTION = "Pushes, credits and watches until it is told to stop; SIGTERM finishes what is in hand."


async def work(settings: Settings) -> int:
    """Run all jobs until a signal says stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with assemble(settings) as parts:
        if not await _may_start(parts, stop):
            return 2
        runner, pulse = Runner(), Pulse()
        scheduler = build_scheduler(parts, runner)
        scheduler.add_job(pulse.beat, "interval", seconds=5, id="pulse")
        health = None
        if settings.worker_metrics_port is not None:
            health = serve_health(settings.webhook_host, settings.worker_metrics_port, pulse)
        scheduler.start()
        log.info("worker.started", jobs=[job.id for job in scheduler.get_jobs()])
        await stop.wait()
        log.info("worker.stopping", in_hand=len(runner.running))
        scheduler.pause()
        await runner.stop(settings.lease_seconds)
        scheduler.shutdown(wait=False)
        if health is not None:
            health.shutdown()
    log.info("worker.stopped")
    return 0


async def _may_start(parts: Assembly, stop: asyncio.Event) -> bool:
    """Wait for the database, and ask it whether it counts credits as we do."""
    while not stop.is_set():
        try:
            await parts.store.check_installation(parts.settings.credit_value_cents)
        except TransientError:
            log.warning("worker.database_away")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=2)
        except RefusedError as error:
            log.error("worker.refused", error=str(error))
            return False
        else:
            return True
    return True


def main() -> int:
    argparse.ArgumentParser(prog="python -m worker", description=DESCRIPTION).parse_args()
    return run()


def run() -> int:
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"keyfund worker: {error.message}", file=sys.stderr)  # noqa: T201 (before there are logs)
        return 2
    configure_logs(settings.log_level, "worker")
    return asyncio.run(work(settings))


if __name__ == "__main__":
    sys.exit(main())
