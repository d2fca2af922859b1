"""All rows of Keyfund's tables as JSON lines, a file for each table; no key's string is among them."""

import re
from collections.abc import Sequence
from pathlib import Path

from psycopg import sql

from operate.installation import Connection

SECRET = re.compile(r"litellm_key_id|.*secret.*|.*token.*|key_string|string")
"""Columns that open something, or once did. A key's hash and its last characters tell which it was."""

COLUMNS = """
    select attname from pg_catalog.pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
"""


def export(connection: Connection, tables: Sequence[tuple[str, str]], folder: Path) -> list[Path]:
    """Write the rows as this transaction sees them, for nobody but the owner to read; returns the files."""
    folder.mkdir(parents=True, mode=0o700)
    return [write(connection, table, folder / f"{name_of(table)}.jsonl") for table in tables]


def name_of(table: tuple[str, str]) -> str:
    """A table's name, with its schema where that is the closed one."""
    return ".".join(table) if table[0] == "keyfund" else table[1]


def write(connection: Connection, table: tuple[str, str], file: Path) -> Path:
    columns = sql.SQL(", ").join(map(sql.Identifier, told(connection, table)))
    query = sql.SQL("select row_to_json(t)::text from (select {} from {}) t")
    file.touch(mode=0o600, exist_ok=False)
    with file.open("w", encoding="utf-8") as lines, connection.cursor(name="export") as cursor:
        cursor.itersize = 2000
        for (line,) in cursor.execute(query.format(columns, sql.Identifier(*table))):
            lines.write(f"{line}\n")
    return file


def told(connection: Connection, table: tuple[str, str]) -> list[str]:
    """The columns that may be told."""
    name = sql.Identifier(*table).as_string(connection)
    return [column for (column,) in connection.execute(COLUMNS, [name]) if not SECRET.fullmatch(column)]
