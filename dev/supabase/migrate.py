"""Migrations and seed as the Supabase CLI applies them: as `postgres`, one transaction a file, recorded."""

import re
from pathlib import Path

import psycopg

from core.domain.schema import PUBLIC
from operate.schema import rename_schema

NAME = re.compile(r"(?P<version>\d+)_(?P<name>.*)\.sql")
ALONE = re.compile(r"\b(create|drop)\s+(unique\s+)?index\s+concurrently\b", re.IGNORECASE)
HISTORY = b"""
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text not null primary key, statements text[], name text
);
"""


class MigrationError(RuntimeError):
    """A file failed; nothing of it was kept. The message names the file and the line."""


def apply_migrations(database_url: str, folder: Path) -> list[str]:
    """Apply what is new, in order of version, and return the versions applied."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(HISTORY)
        rows = connection.execute("select version from supabase_migrations.schema_migrations").fetchall()
        done = {version for (version,) in rows}
        new = [file for file in sorted(folder.glob("*.sql")) if version_of(file) not in done]
        for file in new:
            apply(connection, file)
        return [version_of(file) for file in new]


def apply_seed(database_url: str, file: Path, schema: str = PUBLIC) -> None:
    with psycopg.connect(database_url) as connection:
        execute(connection, file, schema)


def version_of(file: Path) -> str:
    return parts(file)["version"]


def parts(file: Path) -> dict[str, str]:
    match = NAME.fullmatch(file.name)
    if match is None:
        raise MigrationError(f"{file.name}: a migration is named YYYYMMDDHHmmss_short_description.sql")
    return match.groupdict()


def apply(connection: "psycopg.Connection[tuple[object, ...]]", file: Path) -> None:
    if ALONE.search(file.read_text()):  # refused inside a transaction
        execute(connection, file)
        record(connection, file)
        return
    with connection.transaction():
        execute(connection, file)
        record(connection, file)


def execute(connection: "psycopg.Connection[tuple[object, ...]]", file: Path, schema: str = PUBLIC) -> None:
    text = rename_schema(file.read_text(), schema)
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 0)
        line = f" line {text.count(chr(10), 0, position) + 1}" if position else ""
        raise MigrationError(f"{file.name}{line}: {error}") from error


def record(connection: "psycopg.Connection[tuple[object, ...]]", file: Path) -> None:
    """The CLI keeps each statement apart; it compares versions alone, so the whole file as one agrees."""
    connection.execute(
        "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)",
        [version_of(file), parts(file)["name"], [file.read_text()]],
    )
