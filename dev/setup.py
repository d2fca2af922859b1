"""Everything the stack needs besides this checkout and its `.venv`."""

import time
from collections.abc import Callable
from pathlib import Path

from dev import browser, dashboard, litellm, supabase


def set_up(root: Path, say: Callable[[str], None]) -> None:
    """Install what is missing or out of date; quick while the lock files are the ones installed."""
    for install in (supabase.install, litellm.install, dashboard.install, browser.install):
        began, said = time.monotonic(), list[str]()

        def progress(line: str, said: list[str] = said) -> None:
            said.append(line)
            say(f"{line} …")

        install(root, progress)
        if said:
            say(f"  done in {time.monotonic() - began:.0f} s")
