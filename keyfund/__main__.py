"""``keyfund``: the two processes, and the commands for the people who run them."""

import argparse
import sys

import webhook.__main__ as webhook
import worker.__main__ as worker
from operate.__main__ import add_commands, carry_out

PROCESSES = {"webhook": webhook, "worker": worker}


def main() -> int:
    arguments = build_parser().parse_args()
    process = PROCESSES.get(arguments.command)
    return carry_out(arguments) if process is None else process.run()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keyfund", description="Prepaid LiteLLM keys for a Supabase project."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, process in PROCESSES.items():
        commands.add_parser(name, help=f"run the {name}", description=process.DESCRIPTION)
    add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
