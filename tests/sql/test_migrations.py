"""Applying the files: on a project that has users already, and more than once."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from dev import supabase
from dev.prepared import REGIMES
from dev.stack import ROOT
from dev.supabase import Regime
from tests.sql.acting import (
    keys,
    ledger,
    profile,
    rows,
    value,
)
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


def test_users_from_before_get_their_accounts_from_the_sweep(fresh: Database) -> None:
    user_id = uuid4()
    with fresh.connect() as db:
        db.execute(
            "insert into auth.users (id, email, email_confirmed_at) values (%s, 'ana@example.com', now())",
            [user_id],
        )
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert rows(db, "select * from public.profiles") == []
        assert value(db, "select public.heal_accounts(10) ->> 'opened'") == "1"
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


def test_a_file_that_fails_leaves_no_function_open(fresh: Database) -> None:
    """Whatever is installed so far, nobody may call it before the last file says so."""
    for file in sorted(MIGRATIONS.glob("*.sql"))[:-1]:
        with fresh.connect("postgres") as db, db.transaction():
            db.execute(file.read_bytes())
            assert rows(db, CALLABLE) == []


CALLABLE = """
    select p.oid::regprocedure::text as name, r.rolname from pg_proc p
    cross join pg_roles r
    where p.pronamespace = 'public'::regnamespace and r.rolname in ('anon', 'authenticated', 'service_role')
      and has_function_privilege(r.oid, p.oid, 'execute')
      and not exists (select from pg_trigger t where t.tgfoid = p.oid)"""


def test_the_settings_file_names_all_in_their_order() -> None:
    files = sorted(MIGRATIONS.glob("*.sql"))
    listed = files[1].read_text().split("-- Read the files in their order:\n")[1].split("\n--\n")[0]
    names = [line.split()[1] for line in listed.splitlines()]
    assert names == [file.stem.partition("_")[2] for file in files]


def test_lines_are_short() -> None:
    lines = [line for file in MIGRATIONS.glob("*.sql") for line in file.read_text().splitlines()]
    assert [line for line in lines if len(line) >= 120] == []
