"""All that a project's database has, as lines that can be compared: tables, functions, rights, and more."""

from collections.abc import Collection
from pathlib import Path

from tests.support import Connection

ALL = Path(__file__).with_suffix(".sql").read_bytes()

Lines = set[tuple[str, str, str, str]]


def read(db: Connection, besides: Collection[str] = ()) -> Lines:
    """Everything but what is in these schemas, and Keyfund's triggers on the table of users."""
    rows = db.execute(ALL).fetchall()
    return {
        (kind, space, name, line)
        for kind, space, name, line in rows
        if space not in besides and not (kind == "trigger" and name.startswith("users.keyfund_"))
    }
