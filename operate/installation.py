"""Keyfund as it stands in a database: what of it is ours, and what of others' leans on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from core.domain.schema import PUBLIC
from core.shipped import MIGRATIONS
from operate.names import Names, read_names

Connection = psycopg.Connection[tuple[Any, ...]]
CLOSED = "keyfund"

INSTALLED_IN = """
    select n.nspname from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = 'credit_ledger'
    where p.proname = 'check_installation' and to_regnamespace('keyfund') is not null
"""

TABLES = """
    select n.nspname, c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not c.relispartition
      and (n.nspname = 'keyfund' or (n.nspname = %(schema)s and c.relname = any (%(tables)s)))
    order by n.nspname = 'keyfund', c.relname
"""

ROUTINES = """
    select p.oid::regprocedure::text from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = %(schema)s and p.proname = any (%(functions)s) order by 1
"""

TRIGGERS = """
    select t.tgname from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where t.tgrelid = 'auth.users'::regclass and not t.tgisinternal
      and (n.nspname = 'keyfund' or (n.nspname = %(schema)s and p.proname = any (%(functions)s)))
    order by 1
"""

# Ours is what we made, and all that goes with it by itself: defaults, constraints, indexes, types, triggers.
# Another thing that depends on one of those would be dropped with it, though it is not ours.
LEANING = """
    with recursive made (classid, objid) as (
      select 'pg_class'::regclass::oid, c.oid from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'keyfund' or (n.nspname = %(schema)s and c.relname = any (%(relations)s))
      union
      select 'pg_proc'::regclass, p.oid from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where n.nspname = 'keyfund' or (n.nspname = %(schema)s and p.proname = any (%(functions)s))
      union
      select 'pg_type'::regclass, t.oid from pg_catalog.pg_type t
        join pg_catalog.pg_namespace n on n.oid = t.typnamespace
      where n.nspname = 'keyfund' or (n.nspname = %(schema)s and t.typname = any (%(types)s))
      union
      select 'pg_trigger'::regclass, t.oid from pg_catalog.pg_trigger t
      where t.tgrelid = 'auth.users'::regclass and t.tgname = any (%(triggers)s)
    ), ours (classid, objid) as (
      select * from made
      union
      select d.classid, d.objid from pg_catalog.pg_depend d
        join ours o on (d.refclassid, d.refobjid) = (o.classid, o.objid)
      where d.deptype in ('a', 'i', 'P', 'S')
    )
    select distinct pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
    from pg_catalog.pg_depend d join ours o on (d.refclassid, d.refobjid) = (o.classid, o.objid)
    where d.deptype = 'n' and not exists (select from ours where (classid, objid) = (d.classid, d.objid))
    union
    select pg_catalog.pg_describe_object('pg_class'::regclass, c.oid, 0) from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and n.nspname <> 'public' and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and c.relname <> all (%(relations)s)
    union
    select pg_catalog.pg_describe_object('pg_proc'::regclass, p.oid, 0) from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = %(schema)s and n.nspname <> 'public' and p.proname <> all (%(functions)s)
    order by 1
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """Keyfund in one database. ``tables`` are (schema, name); ``leaning``: others' things that need it."""

    schema: str
    installation_id: str
    tables: tuple[tuple[str, str], ...]
    functions: tuple[str, ...]
    triggers: tuple[str, ...]
    leaning: tuple[str, ...]

    @property
    def schemas(self) -> tuple[str, ...]:
        """The schemas that are ours as a whole."""
        return (CLOSED,) if self.schema == PUBLIC else (CLOSED, self.schema)


def find_schema(connection: Connection) -> str | None:
    """The schema of the API's tables and functions; None: Keyfund is not installed."""
    found = connection.execute(INSTALLED_IN).fetchone()
    return None if found is None else str(found[0])


def find_installation(connection: Connection) -> Installation | None:
    schema = find_schema(connection)
    if schema is None:
        return None
    names = read_names(file.read_text() for file in sorted(MIGRATIONS.glob("*.sql")))
    known = _known(schema, names)
    triggers = _column(connection, TRIGGERS, known)
    (installation_id,) = connection.execute("select installation_id from keyfund.settings").fetchone() or (
        "",
    )
    return Installation(
        schema,
        str(installation_id),
        tuple((str(space), str(name)) for space, name in connection.execute(TABLES, known)),
        _column(connection, ROUTINES, known),
        triggers,
        _column(connection, LEANING, known | {"triggers": list(triggers)}),
    )


def _known(schema: str, names: Names) -> dict[str, Any]:
    return {
        "schema": schema,
        "tables": list(names.tables),
        "relations": list(names.relations),
        "functions": list(names.functions),
        "types": list(names.types),
    }


def _column(connection: Connection, query: str, given: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(one) for (one,) in connection.execute(query.encode(), given))


def count_rows(connection: Connection, tables: Sequence[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """How many rows each table has, by its name."""
    for table in tables:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(*table))
        (count,) = connection.execute(query).fetchone() or (0,)
        yield table[1], int(count)


def lock(connection: Connection, installation: Installation) -> None:
    """Keep everybody from writing until the transaction ends; whoever reads goes on."""
    tables = sql.SQL(", ").join(sql.Identifier(*table) for table in installation.tables)
    connection.execute(sql.SQL("lock table {} in exclusive mode").format(tables))


def drop(connection: Connection, installation: Installation) -> None:
    """Drop all that is ours. What leans on it must have been looked for in the same transaction."""
    ours = [table for table in installation.tables if table[0] == installation.schema]
    if ours:
        tables = sql.SQL(", ").join(sql.Identifier(*table) for table in ours)
        connection.execute(sql.SQL("drop table {} cascade").format(tables))
    for function in installation.functions:
        connection.execute(f"drop function if exists {function} cascade".encode())
    connection.execute("drop schema keyfund cascade")
    if installation.schema != PUBLIC:
        connection.execute(sql.SQL("drop schema {}").format(sql.Identifier(installation.schema)))
