"""Databases of projects that live already."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from dev.prepared import REGIMES
from dev.supabase import Regime
from tests.living.project import BY_NAME, begin
from tests.support import Database, SqlServer

Begun = Callable[..., tuple[Database, Path]]


@pytest.fixture
def begun(sql_server: SqlServer, tmp_path: Path) -> Iterator[Begun]:
    """Begin a project by its name: its database, with things and a person of its own, and its migrations."""
    with ExitStack() as stack:

        def make(name: str, regime: Regime = "locked") -> tuple[Database, Path]:
            database = stack.enter_context(bare(sql_server, regime))
            folder = tmp_path / database.name / "supabase" / "migrations"
            begin(BY_NAME[name], database, folder)
            return database, folder

        yield make


@contextmanager
def bare(server: SqlServer, regime: Regime) -> Iterator[Database]:
    """A new Supabase project's database."""
    name = f"living_{uuid4().hex[:8]}"
    server.clone(REGIMES[regime], name)
    yield Database(server.address, name)
    with server.superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())
