"""One database for test after test; and one per regime for tests that leave it as it was."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from dev.supabase import Regime
from tests.sql.acting import append, open_order, sign_up, synced_key, value, without_triggers
from tests.support import Connection, Database, SqlServer

REGIMES: tuple[Regime, ...] = ("locked", "open")


TABLES = """
    select c.oid::regclass::text from pg_class c
    where c.relkind = 'r'
      and c.relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace, 'auth'::regnamespace)
    order by c.oid
"""
SHAPE = """
    select md5(string_agg(line, ' ' order by line)) from (
      select c.oid || ' ' || c.relname || ' ' || c.relhastriggers as line from pg_class c
      where c.relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace, 'auth'::regnamespace)
      union all select oid || ' ' || conname || ' ' || convalidated from pg_constraint
      union all select oid || ' ' || md5(prosrc) from pg_proc where pronamespace <> 'pg_catalog'::regnamespace
      union all select oid || ' ' || tgname || ' ' || tgenabled::text from pg_trigger) lines
"""


class Clean:
    """A database that is given to one test after the other, each time with the rows that it had at first.

    A clone takes longer than most of these tests. One whose shape a test changed is thrown away.
    """

    def __init__(self, server: SqlServer) -> None:
        self.context = server.database("locked")
        self.database = self.context.__enter__()
        self.connection = self.database.connect()
        self.shape = value(self.connection, SHAPE)
        self.tables = [str(table) for (table,) in self.connection.execute(TABLES.encode())]
        self.contents = {table: kept for table in self.tables if (kept := self.rows_of(table))}

    def rows_of(self, table: str) -> list[object]:
        kept = value(self.connection, f"select jsonb_agg(to_jsonb(t)) from {table} t")
        return list(kept or [])

    def restore(self) -> bool:
        """Put the first rows back. False: it is not what it was, take another."""
        try:
            with without_triggers(self.connection):
                self.connection.execute("set local lock_timeout = '5s'")
                self.connection.execute("; ".join(f"delete from {table}" for table in self.tables).encode())
                for table, kept in self.contents.items():
                    self.connection.execute(
                        f"insert into {table} overriding system value"
                        f" select * from jsonb_populate_recordset(null::{table}, %s)".encode(),
                        [Jsonb(kept)],
                    )
        except psycopg.Error:
            return False
        return bool(value(self.connection, SHAPE) == self.shape)

    def close(self) -> None:
        self.connection.close()
        self.context.__exit__(None, None, None)


class Cleans:
    """The clean database of this run, and another when a test has spoilt it."""

    def __init__(self, server: SqlServer) -> None:
        self.server = server
        self.clean: Clean | None = None

    def take(self) -> Database:
        self.clean = self.clean or Clean(self.server)
        return self.clean.database

    def give_back(self) -> None:
        if self.clean and not self.clean.restore():
            self.close()

    def close(self) -> None:
        if self.clean:
            self.clean.close()
        self.clean = None


@pytest.fixture(scope="session")
def cleans(sql_server: SqlServer) -> Iterator[Cleans]:
    made = Cleans(sql_server)
    yield made
    made.close()


@pytest.fixture
def database(cleans: Cleans) -> Iterator[Database]:
    """A database for this test alone, in the newer regime of default privileges; for several connections."""
    yield cleans.take()
    cleans.give_back()


@pytest.fixture(scope="module", params=REGIMES)
def settled(sql_server: SqlServer, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A superuser's connection to a database with two people's rows; change nothing for good."""
    with sql_server.database(request.param) as made, made.connect() as db:
        for name in ("owner", "stranger"):
            user_id = sign_up(db, f"{name}@example.com")
            synced_key(db, user_id)
            append(db, user_id, 100)
            open_order(db, user_id)
        yield db
