"""One database per regime for the tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from dev.supabase import Regime
from tests.sql.acting import append, open_order, sign_up, synced_key
from tests.support import Connection, SqlServer

REGIMES: tuple[Regime, ...] = ("locked", "open")


@pytest.fixture(scope="module", params=REGIMES)
def settled(sql_server: SqlServer, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A superuser's connection to a database with two people's rows in every table; change nothing for good."""
    with sql_server.database(request.param) as made, made.connect() as db:
        for name in ("owner", "stranger"):
            user_id = sign_up(db, f"{name}@example.com")
            synced_key(db, user_id)
            append(db, user_id, 100)
            open_order(db, user_id)
        yield db
