"""``python -m operate``: commands for the people who run Keyfund."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from core.assembly import assemble
from core.errors import KeyfundError, SettingsError
from core.logs import configure_logs
from core.settings import Settings, read_settings
from core.store.payments import ChosenEvents
from operate import migrations, takeover, uninstall
from operate.adopt import adopt
from operate.command import Commands
from operate.database import UNINSTALLED, describe_absence
from operate.doctor import Visit, examine
from operate.drift import drift
from operate.finding import Finding
from operate.proofs import Wish, prove
from operate.reconcile import reconcile
from operate.remeasure import remeasure
from operate.replay import replay
from operate.trials import TRIALS


def main() -> int:
    return carry_out(build_parser().parse_args())


def carry_out(arguments: argparse.Namespace) -> int:
    """Run the command; those that need no settings say so by what they do."""
    if does := getattr(arguments, "does", None):
        return int(does(arguments))
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return 2
    configure_logs("ERROR", "operate")  # what a command has to say it prints
    return run(arguments, settings)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operate", description="Commands for operators of Keyfund."
    )
    add_commands(parser.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    return parser


def add_commands(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="examine LiteLLM: whether wallets hold there, and what to change",
        description="Examines the configured LiteLLM on an account of its own, which it removes again. Makes "
        "two calls of a few tokens. Exit status 1 when a wallet would not hold.",
    )
    doctor.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="the model to call, by default the cheapest with a price; with --prove, those to prove it with",
    )
    doctor.add_argument(
        "--prove",
        choices=sorted(TRIALS),
        metavar="ROUTE",
        help=f"prove that a route may be opened, with a real call of each model: {', '.join(sorted(TRIALS))}",
    )
    doctor.add_argument(
        "--yes", action="store_true", help="also make the calls that cost more than a fraction of a cent"
    )
    books = commands.add_parser(
        "reconcile",
        help="compare Paystack, transactions, ledger, credits, wallets and usage",
        description="Compares Paystack, transactions, ledger, credits, wallets and usage, and names what "
        "does not agree. Changes nothing but usage that nobody has booked yet. Exit status: 0 all agrees, 1 "
        "something differs, 2 not everything could be compared.",
    )
    books.add_argument(
        "--days", type=_days, default=90, help="payments of orders made in so many days (default 90)"
    )
    books.add_argument("--json", action="store_true", help="print the report as JSON")
    again = commands.add_parser(
        "replay",
        help="have stored Paystack events handled again",
        description="Has stored events handled again by the worker. Always safe: an event is a reason to ask "
        "Paystack, never an amount. All conditions that are given must hold.",
    )
    again.add_argument("--event", type=int, action="append", metavar="ID", help="this event; may be repeated")
    again.add_argument("--reference", help="those about this payment")
    again.add_argument("--since", type=_time, help="received then or later, such as 2026-01-31T08:00Z")
    again.add_argument("--until", type=_time, help="received before then")
    again.add_argument("--failing", action="store_true", help="those that were tried in vain")
    measured = commands.add_parser(
        "remeasure",
        help="measure refunds and disputes of older payments anew",
        description="Asks Paystack who bore the fee of payments that were measured before that counted, and "
        "what refunds and disputes withhold of them now. Only shows, unless told to book it. Exit status: 0 "
        "all were measured, 1 some cannot be, 2 not everything could be looked at.",
    )
    measured.add_argument(
        "--reference",
        action="append",
        default=[],
        help="this payment; may be repeated (default: all of them)",
    )
    measured.add_argument("--yes", action="store_true", help="book it")
    compared = commands.add_parser(
        "drift",
        help="compare all keys and wallets with LiteLLM",
        description="Compares every key and wallet with LiteLLM, and names what is missing there, different, "
        "alive though stopped here, outside the wallet, or has our mark without being ours. Keys of others "
        "are left alone. Only shows, unless told to mend. Exit status: 0 no difference, 1 some, 2 not "
        "everything could be compared.",
    )
    compared.add_argument(
        "--mend",
        action="store_true",
        help="have the worker push what differs again, and block what nobody may use",
    )
    compared.add_argument("--json", action="store_true", help="print the report as JSON")
    older = commands.add_parser(
        "adopt",
        help="take over keys that LiteLLM had before Keyfund",
        description="Makes keys that LiteLLM has already keys of accounts. The file is CSV with the columns "
        "key (the key itself or its sha256), account (id or e-mail address) and name. Only shows, unless "
        "told to do it. Exit status: 0 all can be or were adopted, 1 some are refused, 2 not everything "
        "could be looked at.",
    )
    older.add_argument("file", type=Path, metavar="FILE", help="the keys and who gets them")
    older.add_argument("--yes", action="store_true", help="do it")
    migrations.add_command(commands)
    takeover.add_command(commands)
    uninstall.add_command(commands)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.command:
        case "reconcile":
            return asyncio.run(reconcile(settings, arguments.days, as_json=arguments.json))
        case "replay":
            chosen = ChosenEvents(
                arguments.event, arguments.reference, arguments.since, arguments.until, arguments.failing
            )
            return asyncio.run(replay(settings, chosen))
        case "remeasure":
            return asyncio.run(remeasure(settings, arguments.reference, really=arguments.yes))
        case "drift":
            return asyncio.run(drift(settings, mend=arguments.mend, as_json=arguments.json))
        case "adopt":
            return asyncio.run(adopt(settings, arguments.file, really=arguments.yes))
        case _:
            return 0 if asyncio.run(diagnose(arguments, settings)) else 1


async def diagnose(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Examine LiteLLM, or prove a route; both look up and record in the database."""
    async with assemble(settings) as parts:
        if arguments.prove:
            wish = Wish(arguments.prove, tuple(arguments.model))
            return await prove(settings, parts.store, wish, show, lambda text: arguments.yes or agree(text))
        visit = Visit(next(iter(arguments.model), None), really=arguments.yes)
        try:
            await parts.store.read_routes()
        except KeyfundError as error:
            show(describe_absence(error))
            healthy = await examine(settings, show, visit)
            return healthy and error.code not in UNINSTALLED
        return await examine(settings, show, visit, parts.store)


def agree(text: str) -> bool:
    """Whether the person at the terminal wants to spend that; without a terminal nobody does."""
    print(text, flush=True)
    if not sys.stdin.isatty():
        print("Nobody can be asked here: repeat with --yes.", flush=True)
        return False
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def show(finding: Finding) -> None:
    print(f"{finding.verdict:>8}  {finding.text}", flush=True)


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 36500:
        raise argparse.ArgumentTypeError("a number of days, from 1")
    return int(text)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time such as 2026-01-31 or 2026-01-31T08:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
