"""Applying the files: on a project that has users already, and more than once."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from dev import supabase
from dev.prepared import REGIMES
from dev.stack import ROOT
from dev.supabase import Regime
from tests.sql.acting import keys, ledger, profile, rows
from tests.support import Database, SqlServer

MIGRATIONS, SEED = ROOT / "supabase" / "migrations", ROOT / "supabase" / "seed.sql"


@pytest.fixture(params=["locked", "open"])
def fresh(sql_server: SqlServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A project to which nothing of ours was applied yet."""
    regime: Regime = request.param
    name = f"fresh_{uuid4().hex[:8]}"
    sql_server.clone(REGIMES[regime], name)
    yield Database(sql_server.address, name)
    with sql_server.superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def test_users_from_before_get_their_accounts(fresh: Database) -> None:
    user_id = uuid4()
    with fresh.connect() as db:
        db.execute("insert into auth.users (id, email) values (%s, 'ana@example.com')", [user_id])
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert profile(db, user_id)["credits"] == 500
        assert [one["state"] for one in keys(db, user_id)] == ["placeholder"]
        assert len(ledger(db, user_id)) == 1


def test_applying_again_finds_nothing_to_do_and_the_seed_changes_nothing(fresh: Database) -> None:
    assert supabase.apply_migrations(fresh.url(), MIGRATIONS)
    supabase.apply_seed(fresh.url(), SEED)
    with fresh.connect() as db:
        db.execute("update public.credit_packages set amount = 5, active = false where id = 'starter-ngn'")
        before = rows(db, "select * from public.credit_packages order by id")
        assert supabase.apply_migrations(fresh.url(), MIGRATIONS) == []
        supabase.apply_seed(fresh.url(), SEED)
        assert rows(db, "select * from public.credit_packages order by id") == before
