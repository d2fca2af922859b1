"""``keyfund migrations``: Keyfund's migrations as files of a project that lives already."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from core.domain.schema import PUBLIC
from core.errors import RefusedError
from core.shipped import MIGRATIONS
from operate.command import Commands
from operate.frame import compose, make_schema, schema_of
from operate.installation import find_schema
from operate.schema import check_name

FILE = re.compile(r"(?P<version>[0-9]+)_(?P<name>.+)\.sql")
OURS = re.compile(r"keyfund_(?P<slug>[a-z0-9_]+)")
FORMAT = "%Y%m%d%H%M%S"
FIRST = "preflight"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ours. ``slug`` is its lasting name: what is installed is known by it."""

    slug: str
    text: str


@dataclass(frozen=True, slots=True)
class Project:
    """What is known of the project that the files are for.

    ``schema`` is the one that earlier files of ours are written for; None: there are none.
    """

    versions: frozenset[str]
    slugs: frozenset[str]
    schema: str | None

    def joined(self, other: "Project") -> "Project":
        return Project(self.versions | other.versions, self.slugs | other.slugs, self.schema or other.schema)


def add_command(commands: Commands) -> None:
    parser = commands.add_parser(
        "migrations",
        help="write the migrations as files of a project that has migrations of its own",
        description="Writes the migrations that the project lacks into its folder, numbered after its own. "
        "Push them as your own, with `supabase db push`. Run again after an update: what is there stays.",
    )
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="such as supabase/migrations")
    parser.add_argument(
        "--schema",
        metavar="NAME",
        help="the schema for Keyfund's tables and functions, where some of their names are taken in public; "
        "by default that of the files which are there, else public",
    )
    parser.add_argument(
        "--database", metavar="URL", help="ask this database, too, which migrations it has already"
    )
    parser.set_defaults(does=run)


def run(arguments: argparse.Namespace) -> int:
    into: Path = arguments.into
    try:
        project = read_folder(into)
        if arguments.database:
            project = project.joined(read_database(arguments.database))
        schema = choose_schema(arguments.schema, project.schema)
        written = write(into, schema, project, datetime.now(UTC))
    except RefusedError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"keyfund: {into}: {error.strerror}.", file=sys.stderr)
        return 1
    except psycopg.Error as error:
        print(f"keyfund: the database could not be asked: {str(error).strip()}", file=sys.stderr)
        return 2
    for file in written:
        print(file)
    print(conclude(written, schema))
    return 0


def conclude(written: Sequence[Path], schema: str) -> str:
    if not written:
        return "Nothing to add: all migrations are there."
    told = "Push them with `supabase db push`."
    if schema == PUBLIC:
        return told
    return (
        f"{told} Then expose the schema {schema} in the Data API's settings, and set "
        f"SUPABASE_SCHEMA={schema} for the processes."
    )


# --- what there is ------------------------------------------------------------------------------------------


def read_folder(folder: Path) -> Project:
    """What the files of a folder tell; a folder that does not exist has none."""
    files = [(found, file) for file in sorted(folder.glob("*.sql")) if (found := FILE.fullmatch(file.name))]
    ours = [(found, file) for found, file in files if OURS.fullmatch(found["name"])]
    schemas = (schema_of(file.read_text()) for _, file in ours)
    return Project(
        frozenset(found["version"] for found, _ in files),
        slugs_of(found["name"] for found, _ in ours),
        next((found for found in schemas if found), None),
    )


def read_database(url: str) -> Project:
    """What the database was given already, by the history that the Supabase CLI keeps."""
    with psycopg.connect(url) as connection:
        if connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone() == (
            None,
        ):
            return Project(frozenset(), frozenset(), None)
        rows = connection.execute(
            "select version, coalesce(name, '') from supabase_migrations.schema_migrations"
        ).fetchall()
        schema = find_schema(connection)
    names = [name for _, name in rows]
    return Project(frozenset(number for number, _ in rows), slugs_of(names), schema)


def slugs_of(names: Iterable[str]) -> frozenset[str]:
    return frozenset(found["slug"] for name in names if (found := OURS.fullmatch(name)))


def choose_schema(wanted: str | None, there: str | None) -> str:
    """The schema to write for.

    Raises:
        RefusedError: the name cannot be one, or what is installed has another.
    """
    name = check_name(wanted or there or PUBLIC)
    if there is not None and name != there:
        raise RefusedError(
            "other_schema",
            f"Keyfund's migrations there are for the schema {there}, and all have to be for one.",
        )
    return name


# --- what is written ----------------------------------------------------------------------------------------


def shipped(schema: str, folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations in order, written for a schema."""
    found = [(FILE.fullmatch(file.name), file) for file in sorted(folder.glob("*.sql"))]
    made = [Migration(name["name"], compose(file.read_text(), schema)) for name, file in found if name]
    if schema != PUBLIC:
        made.insert(made[0].slug == FIRST, Migration("schema", make_schema(schema)))
    return made


def write(into: Path, schema: str, project: Project, now: datetime) -> list[Path]:
    """Write what the project lacks, and return the files."""
    missing = [one for one in shipped(schema) if one.slug not in project.slugs]
    if not missing:
        return []
    at = first_version(project.versions, now)
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for number, one in enumerate(missing):
        file = into / f"{(at + timedelta(seconds=number)).strftime(FORMAT)}_keyfund_{one.slug}.sql"
        with file.open("x") as made:
            made.write(one.text)
        written.append(file)
    return written


def first_version(versions: Iterable[str], now: datetime) -> datetime:
    """The time that the first new file is named after: now, or just after the newest file.

    Raises:
        RefusedError: the newest file's number is beyond now and no time, so nothing can follow it.
    """
    newest = max(versions, default="")
    if newest < now.strftime(FORMAT):
        return now
    try:
        return datetime.strptime(newest, FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
    except ValueError:
        raise RefusedError(
            "unusable_number",
            f"The migration {newest} has a number that no time can follow. Give it one that is a time.",
        ) from None
