"""Undoing a takeover, or making it final."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg import sql

from core.errors import RefusedError
from operate import held, history
from operate.before import ASIDE, Takeover, find_takeover, list_leaning, put_back
from operate.installation import Connection, Installation, count_rows, drop, find_installation, lock
from operate.uninstall import block_keys, check_quiet, forget, litellm_of_settings
from operate.uninstall import check as check_leaning

DONE = 0

LOST = """
    select jsonb_build_object(
      'purchases', count(*) filter (where l.kind = 'purchase'),
      'bought', coalesce(sum(l.delta) filter (where l.kind = 'purchase'), 0),
      'spent', -coalesce(sum(l.delta) filter (where l.kind = 'usage'), 0),
      'people', (select count(*) from {schema}.profiles p where p.created_at > %(at)s),
      'keys', (select count(*) from {schema}.virtual_keys k
        where k.created_at > %(at)s and k.state <> 'placeholder'),
      'unpaid', (select count(*) from {schema}.transactions t
        where t.created_at > %(at)s and t.credits > 0 and t.status = 'pending'))
    from {schema}.credit_ledger l
"""
EMPTY_HISTORY = """
    select not exists (select from supabase_migrations.schema_migrations)
      and not exists (select from pg_catalog.pg_tables
        where schemaname = 'supabase_migrations' and tablename <> 'schema_migrations')
"""


async def go_back(connection: Connection, *, hand_over: bool, really: bool) -> int:
    """Put everything back as it was, in LiteLLM and then in the database.

    Raises:
        RefusedError: something would be lost that was bought, or something is in the way.
        TransientError: LiteLLM could not be asked.
        psycopg.Error: the database refused, and nothing was changed in it.
    """
    takeover = find_takeover(connection)
    if takeover is None:
        print("Nothing of a takeover is there: nothing was changed.")
        return DONE
    installation = find_installation(connection)
    if installation is not None:
        check_loss(connection, installation, takeover, really=really)
        check_leaning(installation)
        check_quiet(connection, installation)
    if takeover.litellm.get("keys") and not hand_over:
        await put_back_litellm(installation, takeover.litellm)
    undo(connection)
    print("Everything is as it was before the takeover.")
    return DONE


def check_loss(
    connection: Connection, installation: Installation, takeover: Takeover, *, really: bool
) -> None:
    query = sql.SQL(LOST).format(schema=sql.Identifier(installation.schema))
    (lost,) = connection.execute(query, {"at": takeover.at}).fetchone() or ({},)
    for line in describe_loss(lost):
        print(line)
    if lost["purchases"] and not really:
        raise RefusedError(
            "bought_since",
            "Credits were bought since the takeover, and would be gone: --yes does it all the same.",
        )


def describe_loss(lost: Mapping[str, int]) -> Iterator[str]:
    yield "What came since the takeover is lost:"
    yield f"  {lost['purchases']} purchases of {lost['bought']} credits, {lost['unpaid']} orders not paid yet"
    yield f"  {lost['spent']} credits that were booked as spent"
    yield f"  {lost['keys']} keys, which are blocked"
    yield f"  {lost['people']} people, who have no row in the tables of before"


async def put_back_litellm(installation: Installation | None, kept: Mapping[str, Any]) -> None:
    """Adopted keys lose our mark, so that those which still have it are the ones made since."""
    async with litellm_of_settings() as litellm:
        count = await held.put_back(litellm, kept)
    blocked = 0 if installation is None else await block_keys(installation.installation_id)
    print(f"In LiteLLM {count} keys are as they were, and {blocked} made since are blocked.")


def undo(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("set local lock_timeout = '5s'; set local statement_timeout = 0")
        connection.execute("lock table auth.users in share row exclusive mode")
        takeover = find_takeover(connection)
        if takeover is None:
            raise RefusedError("gone", "The takeover was undone or confirmed meanwhile.")
        installation = find_installation(connection)
        if installation is not None:
            lock(connection, installation)
            check_leaning(installation)
            drop(connection, installation)
        put_back(connection, takeover)
        forget(connection)
        if not takeover.litellm.get("history"):
            drop_history(connection)
        connection.execute("notify pgrst, 'reload schema'")


def drop_history(connection: Connection) -> None:
    """The history was made for ours alone; whatever else came into it meanwhile stays."""
    if history.is_kept(connection) and connection.execute(EMPTY_HISTORY).fetchone() == (True,):
        connection.execute(
            "drop table supabase_migrations.schema_migrations; drop schema supabase_migrations"
        )


def confirm(connection: Connection) -> int:
    """Drop what was kept of before.

    Raises:
        RefusedError: something of others still needs it.
    """
    takeover = find_takeover(connection)
    if takeover is None:
        print("Nothing of a takeover is there: nothing was changed.")
        return DONE
    if lean := list(list_leaning(connection, ASIDE)):
        named = "\n  ".join(lean)
        raise RefusedError(
            "leaned_on",
            f"Of others, these still need the tables of before. Drop or change them first:\n  {named}",
        )
    print(f"Dropped, and not to be had again: the schema {ASIDE} with")
    for name, count in count_rows(connection, tables_aside(connection)):
        print(f"  {name:<20} {count:>10,} rows")
    with connection.transaction():
        connection.execute("set local lock_timeout = '5s'")
        connection.execute("drop schema keyfund_before cascade")
    return DONE


def tables_aside(connection: Connection) -> Sequence[tuple[str, str]]:
    found = connection.execute("select tablename from pg_catalog.pg_tables where schemaname = %s", [ASIDE])
    return [(ASIDE, name) for (name,) in found if name != "takeover"]
