"""The command line of the one-machine stack."""

import argparse
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psycopg
from dotenv import dotenv_values

from core.domain.schema import PUBLIC
from dev import names, story
from dev.child import StackError
from dev.control import ACTIONS, Control, ask
from dev.setup import set_up
from dev.stack import ORDER, ROOT, Stack, choose_home, shown


def main() -> int:
    arguments = parser().parse_args()
    for each in (signal.SIGTERM, signal.SIGINT):  # a shell starts background jobs with SIGINT ignored
        signal.signal(each, interrupt)
    try:
        return int(arguments.does(arguments))
    except (StackError, story.StoryError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


WORDS = {"stop": "stop a part", "start": "start a stopped part again", "kill": "SIGKILL a part"}
PARTS = f"PART (for stop, start, kill): {' '.join(ORDER)}"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m dev", description=__doc__, epilog=PARTS)
    take_home(top, default=ROOT / ".stack")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    every = add(commands, "setup", setup, "install what the stack needs")
    every.add_argument("--all", action="store_true", help="install what the tests alone need, too")
    for command in (
        add(commands, "run", run, "start the stack, play the story, serve until Ctrl-C"),
        add(commands, "story", play, "start the stack, play the story, stop; exit 0 if all of it held"),
    ):
        command.add_argument("--schema", metavar="NAME", default=PUBLIC, help="where Keyfund's tables are")
    add(commands, "status", order, "a line per part of the running stack: name, state, pid, address")
    who = add(commands, "administrator", promote, "make somebody who signed up here an administrator")
    who.add_argument("email", metavar="EMAIL")
    add(commands, "names", rewrite_names, "write the names that the migrations choose into their preflight")
    for action in ACTIONS:
        add(commands, action, order, WORDS[action]).add_argument("part", choices=ORDER, metavar="PART")
    return top


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    does: Callable[[argparse.Namespace], int],
    what: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what, epilog=PARTS)
    command.set_defaults(does=does, action=name, part="")
    take_home(command, default=argparse.SUPPRESS)  # keeps what stood before the command
    return command


def take_home(command: argparse.ArgumentParser, default: object) -> None:
    command.add_argument("--home", type=Path, default=default, help="where the stack lives (default: .stack)")


def setup(arguments: argparse.Namespace) -> int:
    set_up(ROOT, print, everything=arguments.all)
    return 0


def rewrite_names(_arguments: argparse.Namespace) -> int:
    folder = ROOT / "supabase" / "migrations"
    names.preflight(folder).write_text(names.listed(folder))
    return 0


def order(arguments: argparse.Namespace) -> int:
    print("\n".join(ask(arguments.home.absolute(), arguments.action, arguments.part)))
    return 0


def promote(arguments: argparse.Namespace) -> int:
    env = dotenv_values(arguments.home.absolute() / "env")
    if not env:
        raise StackError(f"no stack is running in {shown(arguments.home.absolute())}")
    with psycopg.connect(env["DATABASE_URL"] or "") as database:
        found = database.execute(PROMOTE, [arguments.email]).fetchone()
    if found is None:
        raise StackError(f"nobody signed up with {arguments.email}")
    print(f"{arguments.email} is an administrator")
    return 0


PROMOTE = """
    insert into keyfund.administrators (user_id) select id from auth.users where email = lower(%s)
    on conflict (user_id) do update set user_id = excluded.user_id
    returning user_id
"""


def run(arguments: argparse.Namespace) -> int:
    settings = {"METRICS_TOKEN": secrets.token_hex(16)}
    home = choose_home(arguments.home.absolute(), print)
    with Stack(home, settings=settings, schema=arguments.schema) as stack, Control(stack):
        story.play(stack.env, print)
        page = f"the dashboard: {stack.env['WEBHOOK_BASE_URL']}/analytics"
        print("\n".join(["", *stack.status(), "", page, "serving until Ctrl-C"]))
        watch(stack)
    return 0


def play(arguments: argparse.Namespace) -> int:
    home = choose_home(arguments.home.absolute(), print)
    with Stack(home, schema=arguments.schema) as stack, Control(stack):
        story.play(stack.env, print)
    return 0


def watch(stack: Stack) -> None:
    """Serve, and say so when a part dies by itself; it can be started again."""
    told: set[str] = set()
    try:
        while True:
            dead = {name for name, child in stack.children.items() if child.state.startswith("died")}
            for name in dead - told:
                child = stack.children[name]
                print(f"{name} {child.state}; its log is {shown(child.log)}", file=sys.stderr)
            told = dead
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("stopping")


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM stops the stack in order, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
