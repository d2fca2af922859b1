"""``python -m operate replay``: stored events are due again, and the worker handles them."""

import sys

from core.assembly import assemble
from core.errors import KeyfundError
from core.settings import Settings
from core.store.payments import ChosenEvents


async def replay(settings: Settings, chosen: ChosenEvents) -> int:
    """Make the chosen events due, and say how many. Returns the exit status."""
    async with assemble(settings) as parts:
        try:
            count = await parts.store.replay_events(chosen)
        except KeyfundError as error:
            print(f"keyfund: {error.message}", file=sys.stderr)
            return 2
    print(f"{count} events are due again; the worker handles them.")
    return 0
