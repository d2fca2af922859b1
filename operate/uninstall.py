"""``keyfund uninstall``: all of Keyfund leaves a project, and what the project had stays as it was."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from core.errors import KeyfundError, RefusedError
from core.gateways.litellm import LiteLLM, make_litellm_client
from core.settings import read_settings
from core.shipped import MIGRATIONS
from operate.command import Commands, add_database
from operate.export import export
from operate.installation import Connection, Installation, count_rows, drop, find_installation, lock

DONE, REFUSED, UNKNOWN = 0, 1, 2
WORKER_SECONDS = 30

FORGET = """
    delete from supabase_migrations.schema_migrations
    where name like 'keyfund\\_%%' or version || '_' || name = any (%s)
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asked for. ``hand_over``: the keys in LiteLLM stay as they are, for them to end."""

    database: str
    folder: Path
    hand_over: bool
    really: bool


def add_command(commands: Commands) -> None:
    parser = commands.add_parser(
        "uninstall",
        help="remove Keyfund from a project",
        description="Blocks this installation's keys in LiteLLM, writes all rows to files, and drops what is "
        "Keyfund's in the database; what the project had stays as it is. Stop the webhook service and the "
        "worker first. Only shows, unless told to do it. Exit status: 0 shown or done, 1 something is in the "
        "way, 2 LiteLLM or the database could not be asked.",
    )
    add_database(parser)
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="a new folder for the rows, as JSON lines (default: keyfund-export-… with the time)",
    )
    parser.add_argument(
        "--hand-over", action="store_true", help="leave the keys in LiteLLM as they are, budgets included"
    )
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.set_defaults(does=run)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.database:
        print("keyfund: name the database: --database URL, or DATABASE_URL.", file=sys.stderr)
        return UNKNOWN
    folder = arguments.export or Path(f"keyfund-export-{datetime.now(UTC):%Y%m%d%H%M%S}")
    wish = Wish(arguments.database, folder, arguments.hand_over, arguments.yes)
    try:
        return asyncio.run(uninstall(wish))
    except RefusedError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return REFUSED
    except KeyfundError as error:
        print(
            f"keyfund: {error.message} --hand-over leaves the keys in LiteLLM as they are.", file=sys.stderr
        )
        return UNKNOWN
    except OSError as error:
        print(f"keyfund: {folder}: {error.strerror}.", file=sys.stderr)
        return REFUSED
    except psycopg.Error as error:
        print(f"keyfund: nothing was dropped: {str(error).strip()}", file=sys.stderr)
        return UNKNOWN


async def uninstall(wish: Wish) -> int:
    """Show what there is and would be done; then, if told to, do it.

    Raises:
        RefusedError: something is in the way.
        TransientError: LiteLLM could not be asked.
        psycopg.Error: the database refused, and nothing was dropped.
    """
    with psycopg.connect(wish.database) as connection:
        connection.execute("set search_path = ''")  # so that all names are told with their schemas
        connection.commit()
        installation = find_installation(connection)
        if installation is None:
            raise RefusedError("not_installed", "Keyfund is not installed in this database.")
        show(connection, installation, wish)
        check(installation)
        if not wish.really:
            print("Nothing was changed; --yes does it.")
            return DONE
        check_quiet(connection, installation)
        check_folder(wish.folder)
        connection.rollback()
        if not wish.hand_over:
            print(f"{await block_keys(installation.installation_id)} keys were blocked in LiteLLM.")
        remove(connection, wish)
    print(f"All rows are in {wish.folder}. Keyfund is gone; delete its files from the project's migrations.")
    return DONE


def show(connection: Connection, installation: Installation, wish: Wish) -> None:
    own = [table for table in installation.tables if table[0] == installation.schema]
    print(f"Keyfund is in the schemas {installation.schema} and keyfund:")
    for name, count in count_rows(connection, own):
        print(f"  {name:<20} {count:>10,} rows")
    print("To be done:")
    if wish.hand_over:
        print("  leave the keys in LiteLLM as they are")
    else:
        print("  block the keys in LiteLLM that have this installation's mark")
    print(f"  write all rows but the keys' strings to {wish.folder}")
    print(f"  drop the triggers {', '.join(installation.triggers) or '(none)'} on auth.users")
    print(f"  drop {len(own)} tables and {len(installation.functions)} functions in {installation.schema}")
    print(f"  drop the schemas {', '.join(installation.schemas)}")


def check(installation: Installation) -> None:
    """Refuse while something that is not ours would be dropped, too."""
    if installation.leaning:
        named = "\n  ".join(installation.leaning)
        raise RefusedError(
            "leaned_on",
            f"Not Keyfund's own, and yet it would be dropped, too. Drop or change it first:\n  {named}",
        )


def check_quiet(connection: Connection, installation: Installation) -> None:
    """Refuse while a worker runs: it would unblock keys."""
    status = sql.SQL("select {}.read_status()").format(sql.Identifier(installation.schema))
    (told,) = connection.execute(status).fetchone() or ({},)
    seen = told.get("worker_last_seen")
    if seen and (datetime.now(UTC) - datetime.fromisoformat(seen)).total_seconds() < WORKER_SECONDS:
        raise RefusedError(
            "worker_runs", "A worker is running: stop the worker and the webhook service first."
        )


def check_folder(folder: Path) -> None:
    """Refuse to write into a folder that is there: an export of before may be all that somebody has."""
    if folder.exists():
        raise RefusedError("export_exists", f"{folder} exists already: name a new folder with --export.")


# --- LiteLLM ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def litellm_of_settings() -> AsyncIterator[LiteLLM]:
    settings = read_settings()
    if settings.litellm_base_url is None:
        raise RefusedError(
            "litellm_missing",
            "LITELLM_BASE_URL and LITELLM_MASTER_KEY are not set: set them to have the keys blocked, or say "
            "--hand-over to leave them as they are.",
        )
    async with make_litellm_client(settings) as client:
        yield LiteLLM(settings, client)


async def block_keys(installation_id: str) -> int:
    """Block every key with this installation's mark, whatever the database knows of it; returns how many."""
    count = 0
    async with litellm_of_settings() as litellm:
        async for page in litellm.list_keys():
            for key in page.keys:
                if key.installation_id == installation_id and not key.shown.blocked:
                    await litellm.block_key(key.key_hash)
                    count += 1
    return count


# --- the database -------------------------------------------------------------------------------------------


def remove(connection: Connection, wish: Wish) -> None:
    """Write the rows down and drop everything, in one transaction that lets nobody write meanwhile."""
    with connection.transaction():
        connection.execute("set local lock_timeout = '5s'; set local statement_timeout = 0")
        installation = find_installation(connection)
        if installation is None:
            raise RefusedError("not_installed", "Keyfund is not installed in this database any more.")
        lock(connection, installation)
        check(installation)
        export(connection, installation.tables, wish.folder)
        drop(connection, installation)
        forget(connection)
        connection.execute("notify pgrst, 'reload schema'")


def forget(connection: Connection) -> None:
    """Take our files out of the history that the Supabase CLI keeps, so that it asks for none of them."""
    if connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone() == (
        None,
    ):
        return
    connection.execute(FORGET, [[file.stem for file in MIGRATIONS.glob("*.sql")]])
