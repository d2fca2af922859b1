"""``python -m operate``: commands for the people who run Keyfund."""

import argparse
import asyncio
import sys

from core.errors import SettingsError
from core.settings import read_settings
from operate.doctor import Finding, examine


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m operate", description="Commands for operators of Keyfund."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="examine LiteLLM: whether wallets hold there, and what to change",
        description="Examines the configured LiteLLM on an account of its own, which it removes again. Makes "
        "two calls of a few tokens. Exit status 1 when a wallet would not hold.",
    )
    doctor.add_argument("--model", help="the model to call; by default the cheapest that has a price")
    arguments = parser.parse_args()
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return 2
    return 0 if asyncio.run(examine(settings, arguments.model, show)) else 1


def show(finding: Finding) -> None:
    print(f"{finding.verdict:>8}  {finding.text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
