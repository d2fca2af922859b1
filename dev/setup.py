"""Everything the stack needs besides this checkout and its `.venv`."""

import time
from collections.abc import Callable
from pathlib import Path

from dev import browser, dashboard, litellm, supabase

Say = Callable[[str], None]


def set_up(root: Path, say: Say, *, everything: bool = False) -> None:
    """Install what is missing or out of date; quick while the lock files are the ones installed.

    ``everything`` adds what the tests alone need.
    """
    for install in (*NEEDED, *(FOR_TESTS if everything else ())):
        began, said = time.monotonic(), list[str]()

        def progress(line: str, said: list[str] = said) -> None:
            said.append(line)
            say(f"{line} …")

        install(root, progress)
        if said:
            say(f"  done in {time.monotonic() - began:.0f} s")


def every_litellm(root: Path, say: Say) -> None:
    for release in litellm.releases(root):
        litellm.install(root, say, release)


NEEDED: tuple[Callable[[Path, Say], None], ...]
NEEDED = (supabase.install, litellm.install, dashboard.install, browser.install)
FOR_TESTS = (every_litellm,)
