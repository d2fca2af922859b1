"""The Supabase CLI pushes Keyfund's files among a project's own, and tells what is in the way."""

import shutil
from pathlib import Path

import psycopg
import pytest

from tests.compat.conftest import Cli
from tests.compat.tools import supabase_cli
from tests.living import catalogue
from tests.living.conftest import Begun
from tests.living.project import BESIDE, BY_NAME, credits_of, keyfund, sign_up
from tests.sql.acting import value
from tests.support import Database

PUSH = ("db", "push", "--yes")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    program = supabase_cli()
    if program is None:
        pytest.skip("this version of the Supabase CLI is not made for this platform")
    (tmp_path / "cli").mkdir()
    return Cli(program, tmp_path / "cli")


def files(cli: Cli, theirs: Path) -> Path:
    """The CLI's folder of migrations, with the project's own files alone."""
    folder = cli.home / "supabase" / "migrations"
    shutil.rmtree(folder)
    shutil.copytree(theirs, folder)
    return folder


def test_it_pushes_them_and_a_second_run_finds_nothing_to_do(
    cli: Cli, begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, theirs = begun("quickstart")
    folder = files(cli, theirs)
    with database.connect() as db:
        before = catalogue.read(db)
    assert keyfund("migrations", "--into", folder, "--schema", BESIDE) == 0
    pushed = cli.run(*PUSH, database=database)
    assert pushed.returncode == 0, pushed.stderr
    assert "only be used in transaction blocks" not in pushed.stderr
    with database.connect() as db:
        assert catalogue.read(db, besides=(BESIDE, "keyfund")) == before
        assert credits_of(db, BESIDE, sign_up(BY_NAME["quickstart"], db, "ana")) == 500
    assert keyfund("migrations", "--into", folder) == 0
    again = cli.run(*PUSH, database=database)
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout
    capsys.readouterr()
    assert keyfund("migrations", "--into", tmp_path / "squashed", "--database", database.url()) == 0
    assert "Nothing to add" in capsys.readouterr().out
    assert (
        keyfund("migrations", "--into", tmp_path / "other", "--database", database.url(), "--schema", "x")
        == 1
    )


def test_what_is_in_the_way_reaches_whoever_pushes(cli: Cli, begun: Begun) -> None:
    database, theirs = begun("document")
    assert keyfund("migrations", "--into", files(cli, theirs)) == 0
    with database.connect() as db:
        before = catalogue.read(db)
        refused = cli.run(*PUSH, database=database)
        assert refused.returncode != 0
        assert catalogue.read(db) == before
        assert value(db, "select count(*) from supabase_migrations.schema_migrations") == 1
    for one in ("table profiles", "table virtual_keys", "table transactions", "function handle_new_user()"):
        assert f"There is a {one} in the schema public already" in refused.stderr + refused.stdout
    assert "--schema keyfund_api" in refused.stderr + refused.stdout


def test_a_table_of_users_that_is_locked_is_not_waited_for(cli: Cli, begun: Begun) -> None:
    """Behind a waiting lock on the table of users every sign-up would wait, too."""
    database, theirs = begun("quickstart")
    assert keyfund("migrations", "--into", files(cli, theirs), "--schema", BESIDE) == 0
    with psycopg.connect(database.url("supabase_admin")) as holder:
        holder.execute("lock table auth.users in access exclusive mode")
        refused = cli.run(*PUSH, database=database)
        assert refused.returncode != 0
        assert "lock timeout" in refused.stderr + refused.stdout
    pushed = cli.run(*PUSH, database=database)
    assert pushed.returncode == 0, pushed.stderr
    check(database)


def check(database: Database) -> None:
    with database.connect() as db:
        assert credits_of(db, BESIDE, sign_up(BY_NAME["quickstart"], db, "ana")) == 500
