"""A database as a hosted project has it before its first migration."""

from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

HERE = Path(__file__).parent

Regime = Literal["locked", "open"]
"""Default privileges: `locked` is every project's from 2026-10-30, `open` older projects' until then."""


def create_roles(superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        run_script(connection, HERE / "roles.sql")


def provision(superuser_url: str, regime: Regime, auth_sql: str) -> None:
    """Fill an empty database owned by `postgres`; ``auth_sql`` is what ``auth_schema`` returned."""
    with psycopg.connect(superuser_url) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("grant create on database {} to supabase_auth_admin").format(name))
        connection.execute("set local role supabase_auth_admin")
        connection.execute(auth_sql.encode())
        connection.execute("reset role")
        run_script(connection, HERE / "database.sql")
        if regime == "locked":
            run_script(connection, HERE / "locked.sql")


def run_script(connection: "psycopg.Connection[tuple[object, ...]]", file: Path) -> None:
    connection.execute(file.read_bytes())


def clone_database(superuser_url: str, template: str, name: str, owner: str = "postgres") -> None:
    """Make a copy of a database to which nobody is connected, with the settings it has."""
    statement = sql.SQL("create database {} template {} owner {}")
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, (name, template, owner))))
