"""``python -m operate reconcile``: the comparison, as a page of text or as JSON."""

import json
import sys
from datetime import timedelta

from core.assembly import assemble
from core.domain.books import Check, Report
from core.errors import KeyfundError
from core.settings import Settings

NAMES = {
    Check.PAYSTACK: ("Paystack = transactions", "payments"),
    Check.LEDGER: ("transactions = ledger", "payments"),
    Check.CREDITS: ("ledger = credits", "accounts"),
    Check.WALLET: ("wallet = LiteLLM's budget", "accounts"),
    Check.USAGE: ("usage booked = LiteLLM's spend", "accounts"),
}
AGREES, DIFFERS, INCOMPLETE = 0, 1, 2


async def reconcile(settings: Settings, days: int, *, as_json: bool) -> int:
    """Compare, print, and keep the report. Returns the exit status."""
    async with assemble(settings) as parts:
        try:
            report = await parts.reconciler.reconcile(timedelta(days=days), show_progress)
            await parts.store.record_reconciliation(report)
        except KeyfundError as error:
            print(f"keyfund: not reconciled: {error.message}", file=sys.stderr)
            return INCOMPLETE
    print(json.dumps(report.as_json(), indent=2) if as_json else render(report))
    if report.total:
        return DIFFERS
    return AGREES if report.is_complete else INCOMPLETE


def show_progress(text: str) -> None:
    """For whoever watches; a log needs none of it."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def render(report: Report) -> str:
    """The report for a person: a line per check, then each difference by name."""
    lines = []
    for check, tally in report.tallies.items():
        name, things = NAMES[check]
        if tally.skipped is not None or tally.absent:
            reason = "not configured" if tally.absent else f"NOT COMPARED: {tally.skipped}"
            lines.append(f"{name:<32} {reason}")
            continue
        line = f"{name:<32} {tally.differences:>7,} differences in {tally.compared:,} {things}"
        line += f", {tally.waiting:,} on their way" if tally.waiting else ""
        line += f"; net {_money(tally.totals)}" if tally.totals else ""
        lines.append(line)
    if report.others_count:
        name = "not ours, on the same Paystack"
        lines.append(f"{name:<32} {report.others_count:>7,} payments; {_money(report.others)}")
    if report.differences:
        lines += ["", "What differs:"]
        lines += [
            f"  {NAMES[one.check][0]}: {one.subject}: found {one.found}, expected {one.expected}"
            for one in report.differences
        ]
        if (more := report.total - len(report.differences)) > 0:
            lines.append(f"  and {more:,} more")
    return "\n".join(lines)


def _money(totals: dict[str, int]) -> str:
    return ", ".join(f"{currency} {amount / 100:,.2f}" for currency, amount in sorted(totals.items()))
