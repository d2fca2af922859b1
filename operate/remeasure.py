"""``python -m operate remeasure``: payments from before fees were known are measured anew, once told to."""

import sys
from collections.abc import AsyncIterator, Sequence

from core.assembly import assemble
from core.errors import KeyfundError
from core.flows.settle import Settler
from core.settings import Settings
from core.store import ServiceStore
from core.store.payments import Measured

PAGE = 500
DONE, UNMEASURED, INCOMPLETE = 0, 1, 2


async def remeasure(settings: Settings, references: Sequence[str], *, really: bool) -> int:
    """Say what refunds and disputes withhold of each payment, and with ``really`` book it.

    Without references: of all that were measured before. Returns the exit status.
    """
    async with assemble(settings) as parts:
        if parts.settler is None:
            print("keyfund: Paystack is not configured.", file=sys.stderr)
            return INCOMPLETE
        try:
            return await carry_out(parts.settler, choose(parts.store, references), really=really)
        except KeyfundError as error:
            print(f"keyfund: not finished: {error.message} It is safe to repeat.", file=sys.stderr)
            return INCOMPLETE


async def choose(store: ServiceStore, references: Sequence[str]) -> AsyncIterator[str]:
    for reference in references:
        yield reference
    after: str | None = None
    while not references:
        page = await store.list_unmeasured(after, PAGE)
        for reference in page:
            yield reference
        if not page:
            return
        after = page[-1]


async def carry_out(settler: Settler, references: AsyncIterator[str], *, really: bool) -> int:
    moved = same = failed = 0
    async for reference in references:
        measured = await settler.show_reversals(reference)
        print(describe(reference, measured), flush=True)
        if measured is not None and really:
            await settler.settle_reversals(reference)
        failed += measured is None
        moved += measured is not None and measured.change != 0
        same += measured is not None and measured.change == 0
    end = "" if really else " Nothing was changed; --yes does it."
    print(f"{moved} payments change, {same} stay, {failed} cannot be measured.{end}")
    return UNMEASURED if failed else DONE


def describe(reference: str, measured: Measured | None) -> str:
    """A line for a person."""
    if measured is None:
        return f"{reference}: never paid, or no order of ours"
    after = measured.before + measured.change
    fee = f"the buyer bore a fee of {(measured.borne_fee or 0) / 100:,.2f}"
    if measured.change == 0:
        return f"{reference}: {after} credits stay withheld; {fee}"
    return f"{reference}: {measured.before} credits are withheld, {after} are due; {fee}"
