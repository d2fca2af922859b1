"""The command line of the one-machine stack."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from dev import story
from dev.child import StackError
from dev.control import ACTIONS, Control, ask
from dev.setup import set_up
from dev.stack import ORDER, ROOT, Stack, choose_home


def main() -> int:
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return int(arguments.does(arguments))
    except (StackError, story.StoryError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m dev", description=__doc__, epilog=f"PART: {' '.join(ORDER)}"
    )
    top.add_argument(
        "--home", type=Path, default=ROOT / ".stack", help="where the stack lives (default: .stack)"
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add(commands, "setup", setup, "install what the stack needs")
    add(commands, "run", run, "start the stack, play the story, serve until Ctrl-C")
    add(commands, "story", play, "start the stack, play the story, stop the stack; exit 0 if all of it held")
    add(commands, "status", order, "a line per part of the running stack: name, state, pid, address")
    for action, what in zip(
        ACTIONS, ("stop a part", "start a stopped part again", "SIGKILL a part"), strict=True
    ):
        add(commands, action, order, what).add_argument("part", choices=ORDER, metavar="PART")
    return top


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    does: Callable[[argparse.Namespace], int],
    what: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what, epilog=f"PART: {' '.join(ORDER)}")
    command.set_defaults(does=does, action=name, part="")
    return command


def setup(_: argparse.Namespace) -> int:
    set_up(ROOT, print)
    return 0


def order(arguments: argparse.Namespace) -> int:
    print("\n".join(ask(arguments.home.absolute(), arguments.action, arguments.part)))
    return 0


def run(arguments: argparse.Namespace) -> int:
    with Stack(choose_home(arguments.home.absolute(), print)) as stack, Control(stack):
        story.play(stack.env, print)
        print("\n".join(["", *stack.status(), "", "serving until Ctrl-C"]))
        watch(stack)
    return 0


def play(arguments: argparse.Namespace) -> int:
    with Stack(choose_home(arguments.home.absolute(), print)) as stack, Control(stack):
        story.play(stack.env, print)
    return 0


def watch(stack: Stack) -> None:
    """Serve, and say so when a part dies by itself; it can be started again."""
    told: set[str] = set()
    try:
        while True:
            dead = {name for name, child in stack.children.items() if child.state.startswith("died")}
            for name in dead - told:
                print(stack.children[name].complaint("died"), file=sys.stderr)
            told = dead
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("stopping")


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM stops the stack in order, as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
