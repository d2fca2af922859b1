"""What of the doctor's questions can be asked for nothing, all the time."""

import asyncio
from dataclasses import dataclass

from core.domain.models import describe_faults, find_faults
from core.domain.watch import describe_guard, describe_routes
from core.gateways.litellm import LiteLLM
from core.guard import shipped_version
from core.store import ServiceStore


@dataclass(frozen=True, slots=True)
class Watcher:
    """Reads what LiteLLM shows of itself. A key of fewer rights than the master key warns of less."""

    store: ServiceStore
    litellm: LiteLLM

    async def look(self) -> tuple[str, ...]:
        """A sentence for each thing that endangers wallets.

        Raises:
            KeyfundError: LiteLLM or the database does not answer; what was recorded before is kept.
        """
        callbacks, version, models, report = await asyncio.gather(
            self.litellm.read_callbacks(),
            self.litellm.read_version(),
            self.litellm.list_deployments(),
            self.store.read_routes(),
        )
        guard = None if callbacks is None else callbacks.guard_version
        texts = [
            *describe_faults(find_faults(models), guarded=guard is not None).values(),
            describe_routes(report, version, guard),
        ]
        if callbacks is not None:
            texts.insert(0, describe_guard(guard, shipped_version()))
        return tuple(text for text in texts if text)
