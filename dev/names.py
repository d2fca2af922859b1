"""The lists of names in the migration that looks before anything is made."""

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from operate.names import read_names

LIST = r"(  v_{} constant text\[\] := array\[\n).*?(\];\n)"


def preflight(migrations: Path) -> Path:
    (file,) = migrations.glob("*_preflight.sql")
    return file


def listed(migrations: Path) -> str:
    """The file's text with the names that the other files choose."""
    file = preflight(migrations)
    names = read_names(other.read_text() for other in sorted(migrations.glob("*.sql")) if other != file)
    text = file.read_text()
    for kind, found in (
        ("tables", names.tables),
        ("relations", names.relations | names.types),
        ("functions", names.functions),
    ):
        text = re.sub(LIST.format(kind), _put(found), text, flags=re.DOTALL)
    return text


def _put(names: Iterable[str]) -> str:
    told = ", ".join(f"'{name}'" for name in sorted(names))
    lines = textwrap.fill(
        told, 118, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False
    )
    return rf"\g<1>{lines}\g<2>"
