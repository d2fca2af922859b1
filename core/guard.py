"""The guard's file that comes with this Keyfund."""

import re
from functools import cache

from core.shipped import GUARD

FILE = GUARD


@cache
def shipped_version() -> str | None:
    """The version of the guard beside this package; None where it is installed without it."""
    try:
        found = re.search(r'^VERSION = "([^"]+)"$', FILE.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None
