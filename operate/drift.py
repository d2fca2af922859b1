"""``python -m operate drift``: the comparison with LiteLLM, as a page of text or as JSON."""

import json
import sys

from core.assembly import assemble
from core.domain.drift import DriftReport, Kind
from core.errors import KeyfundError
from core.settings import Settings
from operate.reconcile import show_progress

NAMES = {
    Kind.MISSING: "missing in LiteLLM",
    Kind.DIFFERENT: "different there",
    Kind.ALIVE: "stopped here, alive there",
    Kind.ESCAPED: "outside the wallet",
    Kind.BACKWARDS: "spend went backwards",
    Kind.EXTRA: "our mark, but no key of ours",
}
DONE = {"": "", "due": "; its account is due", "blocked": "; blocked"}
AGREES, DIFFERS, INCOMPLETE = 0, 1, 2


async def drift(settings: Settings, *, mend: bool, as_json: bool) -> int:
    """Compare and print; with ``mend`` have it mended. Returns the exit status."""
    async with assemble(settings) as parts:
        if parts.drift_finder is None:
            print("keyfund: not compared: LiteLLM is not configured.", file=sys.stderr)
            return INCOMPLETE
        try:
            report = await parts.drift_finder.find(mend=mend, progress=show_progress)
            await parts.store.record_drift(report)
        except KeyfundError as error:
            print(f"keyfund: not compared: {error.message}", file=sys.stderr)
            return INCOMPLETE
    print(json.dumps(report.as_json(), indent=2) if as_json else render(report))
    if report.total:
        return DIFFERS
    return AGREES if report.is_complete else INCOMPLETE


def render(report: DriftReport) -> str:
    """The report for a person: what was compared, a line per kind, then each difference by name."""
    line = f"{report.compared:,} keys compared, {report.waiting:,} on their way"
    line += f"; {report.others:,} of others left alone"
    line += f"; {report.stopped:,} blocked with our mark, but none of ours" if report.stopped else ""
    lines = [line]
    if report.skipped is not None:
        lines.append(f"NOT COMPARED TO THE END: {report.skipped}")
    lines += [f"{NAMES[kind]:<32} {count:>7,}" for kind, count in report.counts.items()]
    if report.named:
        lines += ["", "What differs:"]
        lines += [
            f"  {one.kind.value}: {one.subject}: found {one.found}, expected {one.expected}{DONE[one.done]}"
            for one in report.named
        ]
        if (more := report.total - len(report.named)) > 0:
            lines.append(f"  and {more:,} more")
    return "\n".join(lines)
