"""Background work that belongs to the sandbox and ends with it."""

import asyncio
import logging
from collections.abc import Coroutine

_log = logging.getLogger(__name__)


class Errands:
    """Runs coroutines in the background; none is lost to garbage collection, no failure is silent."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, errand: Coroutine[None, None, None]) -> None:
        """Begin an errand on the running loop."""
        task = asyncio.create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("paystack_sandbox.errand_failed", exc_info=error)

    async def aclose(self) -> None:
        """Stop whatever still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
