"""The history that the Supabase CLI keeps of migrations, and the same files for the project's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from operate.installation import Connection
from operate.migrations import FORMAT, Migration, Project, first_version

HISTORY = b"""
    create schema if not exists supabase_migrations;
    create table if not exists supabase_migrations.schema_migrations (
      version text not null primary key, statements text[], name text
    )
"""
RECORD = b"""
    insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, array[%s])
"""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A migration with the number that it has in this project."""

    version: str
    migration: Migration

    @property
    def name(self) -> str:
        return f"keyfund_{self.migration.slug}"


def number(found: Sequence[Migration], project: Project, now: datetime) -> list[Numbered]:
    """Numbers after all that the project has."""
    at = first_version(project.versions, now)
    return [
        Numbered((at + timedelta(seconds=place)).strftime(FORMAT), one) for place, one in enumerate(found)
    ]


def is_kept(connection: Connection) -> bool:
    found = connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()
    return found != (None,)


def record(connection: Connection, applied: Sequence[Numbered]) -> None:
    connection.execute(HISTORY)
    with connection.cursor() as cursor:
        cursor.executemany(RECORD, [(one.version, one.name, one.migration.text) for one in applied])


def write(into: Path, applied: Sequence[Numbered]) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for one in applied:
        with (into / f"{one.version}_{one.name}.sql").open("x") as made:
            made.write(one.migration.text)
