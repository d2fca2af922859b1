"""The Supabase CLI takes the folder as it is: applies it, then finds nothing to do and nothing to advise."""

import json

import pytest
from psycopg import sql

from dev import supabase
from dev.stack import ROOT
from tests.compat.conftest import Cli
from tests.sql.acting import profile, sign_up, value
from tests.support import Database

MIGRATIONS = ROOT / "supabase" / "migrations"

MEANT = {
    "rls_enabled_no_policy": "the schema keyfund is private: reached through functions alone",
    "unused_index": "nothing has run in a database that was just made",
}
"""Advice that is not followed, and why."""

UNINDEXED = ("`orders_rate_id_fkey`", "`transactions_order_fkey`")
"""Foreign keys without an index: orders and rates are never changed or deleted, so nobody looks that way."""


def advice(cli: Cli, database: Database) -> list[dict[str, object]]:
    words = ["db", "advisors", "--type", "all", "--level", "info", "--output-format", "json"]
    done = cli.run(*words, database=database)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, object]] = json.loads(done.stdout)["results"]
    return results


def exposed(database: Database) -> None:
    """Tell the advisors what is exposed, as hosted projects do: without it they pass most rules over."""
    with database.connect() as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("alter database {} set pgrst.db_schemas = 'public'").format(name))


def test_a_push_applies_every_file_and_a_second_one_finds_nothing_to_do(cli: Cli, project: Database) -> None:
    push = ["db", "push", "--include-seed", "--yes"]
    first = cli.run(*push, database=project)
    assert first.returncode == 0, first.stderr
    second = cli.run(*push, database=project)
    assert second.returncode == 0, second.stderr
    assert "up to date" in second.stdout
    with project.connect() as db:
        applied = value(
            db, "select array_agg(version order by version) from supabase_migrations.schema_migrations"
        )
        assert applied == [file.name.split("_")[0] for file in sorted(MIGRATIONS.glob("*.sql"))]
        assert profile(db, sign_up(db))["credits"] == 500
        assert value(db, "select count(*) > 0 from public.credit_packages")
    assert supabase.apply_migrations(project.url(), MIGRATIONS) == []  # our own way agrees with the CLI's


def test_the_advisors_find_nothing_that_is_not_meant(cli: Cli, project: Database) -> None:
    supabase.apply_migrations(project.url(), MIGRATIONS)
    exposed(project)
    unexpected = [str(one["detail"]) for one in advice(cli, project) if one["name"] not in MEANT]
    assert [one for one in unexpected if not any(name in one for name in UNINDEXED)] == []


@pytest.mark.parametrize("project", ["open"], indirect=True)
def test_the_advisors_would_find_an_open_table_and_an_open_function(cli: Cli, project: Database) -> None:
    exposed(project)
    with project.connect("postgres") as connection:
        connection.execute("create table public.bare (id integer)")
        connection.execute(
            "create function public.odd() returns int language sql security definer as 'select 1'"
        )
    found = {str(one["name"]) for one in advice(cli, project)}
    assert {"rls_disabled_in_public", "function_search_path_mutable", "no_primary_key"} <= found
