"""What is in the way is found before anything is made: all of it at once, and nothing is left behind."""

import re
from pathlib import Path
from shutil import copy

import psycopg
import pytest

from dev import names
from dev.stack import ROOT
from dev.supabase.migrate import MigrationError
from tests.living import catalogue
from tests.living.conftest import Begun
from tests.living.project import BESIDE, BY_NAME, credits_of, keyfund, push, sign_up
from tests.sql.acting import rows, value
from tests.support import Connection, Database

MIGRATIONS = ROOT / "supabase" / "migrations"
PREFLIGHT = names.preflight(MIGRATIONS)

CHOSEN = """
    select c.relname::text as name from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relname !~ '_(pkey|seq)[0-9]*$'
    union all
    select proname from pg_proc where pronamespace = 'public'::regnamespace
"""
"""What is in public, but for what PostgreSQL names itself, in a way that never collides."""


def refusal(database: Database, folder: Path) -> str:
    """Push Keyfund's files, see that they are refused and that nothing of them is left; returns why."""
    with database.connect() as db:
        before = catalogue.read(db)
        with pytest.raises(MigrationError, match="Nothing was changed") as refused:
            push(database, folder)
        assert catalogue.read(db) == before
        assert value(db, "select count(*) from supabase_migrations.schema_migrations") == 1
    return str(refused.value)


def in_public(begun: Begun, name: str, more: str = "") -> tuple[Database, Path]:
    """A project that was changed by some SQL of its owner's, with Keyfund's files for public."""
    database, folder = begun(name)
    with database.connect("postgres") as db:
        db.execute(more.encode())
    assert keyfund("migrations", "--into", folder) == 0
    return database, folder


def test_its_lists_are_what_the_other_files_choose(db: Connection) -> None:
    text = PREFLIGHT.read_text()
    assert text == names.listed(MIGRATIONS), "run .venv/bin/python -m dev names"
    listed = set(re.findall(r"'([a-z_]+)'", text[: text.index("v_is_home")])) - {"public"}
    assert {row["name"] for row in rows(db, CHOSEN)} == listed


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("quickstart", {"table profiles", "function handle_new_user()"}),
        ("shop", {"table transactions", "table audit_log", "function is_administrator()"}),
        ("document", {"table profiles", "table virtual_keys", "table transactions"}),
        ("store", {"table transactions", "table credit_packages", "index transactions_reference_key"}),
    ],
)
def test_every_name_that_is_taken_is_told_with_the_way_out(begun: Begun, name: str, taken: set[str]) -> None:
    told = refusal(*in_public(begun, name))
    for one in taken:
        assert f"There is a {one} in the schema public already" in told
    assert "--schema keyfund_api" in told


def test_a_renamed_table_is_not_enough_while_a_trigger_names_it(begun: Begun) -> None:
    """What the README once advised: every sign-up would then have met our table."""
    renamed = (
        "alter table public.profiles rename to people; "
        "alter function public.handle_new_user rename to welcome"
    )
    told = refusal(*in_public(begun, "quickstart", renamed))
    assert "trigger on_auth_user_created on auth.users calls welcome(), which names profiles" in told
    assert told.count("\n- ") == 1


@pytest.mark.parametrize(
    ("source", "is_refused"),
    [
        ("insert into profiles default values", True),
        ('insert into "profiles" default values', True),
        ('insert into "public" . "profiles" default values', True),
        ("perform 1 from people, transactions", True),
        ("execute 'insert into profiles default values'", True),
        ("perform 1 from app.profiles", False),
        ('perform 1 from app . "profiles"', False),
        ("perform 1 from user_profiles, profiles_old", False),
        ("-- profiles are made elsewhere\n perform 1", False),
        ("/* insert into\nprofiles */ /* transactions */ perform 1", False),
    ],
)
def test_a_function_names_our_table_without_another_schema(
    begun: Begun, source: str, is_refused: bool
) -> None:
    function = (
        "create schema app; create function app.follow() returns trigger language plpgsql as "
        f"$$ begin {source}; return new; end $$; "
        "create trigger follows after update on auth.users for each row execute function app.follow()"
    )
    database, folder = in_public(begun, "chat", function)
    if is_refused:
        assert "calls app.follow(), which names" in refusal(database, folder)
    else:
        assert push(database, folder)


def test_a_function_that_cannot_be_read_is_told(begun: Begun) -> None:
    unreadable = (
        "create trigger odd before update on auth.users "
        "for each row execute function suppress_redundant_updates_trigger()"
    )
    told = refusal(*in_public(begun, "chat", unreadable))
    assert (
        "trigger odd on auth.users calls suppress_redundant_updates_trigger(), whose source cannot be read"
        in told
    )


def test_a_trial_sign_up_finds_what_reading_does_not(begun: Begun) -> None:
    """The trigger's function calls another, whose search path would find our table first."""
    hidden = """
        create schema app;
        create table app.profiles (id uuid);
        create function app.keep(id uuid) returns void language plpgsql set search_path = public, app
          as $$ begin insert into profiles (id) values (keep.id); end $$;
        create function app.welcome() returns trigger language plpgsql security definer
          as $$ begin perform app.keep(new.id); return new; end $$;
        create trigger welcomes after insert on auth.users for each row execute function app.welcome();
    """
    told = refusal(*in_public(begun, "chat", hidden))
    assert "A sign-up works now, and fails once there are tables of our names" in told


def test_where_nobody_can_be_signed_up_for_a_trial_the_rest_decides(begun: Begun) -> None:
    database, folder = begun("strict")
    with database.connect("postgres") as db:
        notices: list[str] = []
        db.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        assert keyfund("migrations", "--into", folder, "--schema", BESIDE) == 0
        (preflight,) = folder.glob("*_preflight.sql")
        db.execute(preflight.read_bytes())
    assert any("Nobody could be signed up for a trial (addresses of this domain" in one for one in notices)


def test_schemas_that_are_there_already(begun: Begun) -> None:
    database, folder = begun("quickstart")
    with database.connect("postgres") as db:
        db.execute("create schema keyfund; create schema keyfund_api")
    assert keyfund("migrations", "--into", folder, "--schema", BESIDE) == 0
    told = refusal(database, folder)
    assert "The schema keyfund exists already" in told
    assert "The schema keyfund_api exists already: choose a name that nothing has." in told


def test_rights_that_are_missing_are_told_one_by_one(begun: Begun) -> None:
    database, folder = begun("chat")
    with database.connect() as db:
        db.execute("create role weak; grant usage on schema auth to weak; grant select on auth.users to weak")
        try:
            db.execute("set role weak")
            with pytest.raises(psycopg.errors.RaiseException) as refused:
                db.execute(PREFLIGHT.read_bytes())
        finally:
            db.execute("reset role; drop owned by weak; drop role weak")
    told = str(refused.value)
    for one in ("lacks the right to insert on", "lacks the right to trigger on", "may not create schemas"):
        assert f"The role weak {one}" in told
    assert "lacks the right to select" not in told
    assert folder.exists()


def test_after_the_way_out_everything_works(begun: Begun, tmp_path: Path) -> None:
    database, folder = in_public(begun, "document")
    refusal(database, folder)
    theirs = tmp_path / "again"
    theirs.mkdir()
    copy(folder / "20250101000000_ours.sql", theirs)
    assert keyfund("migrations", "--into", theirs, "--schema", BESIDE) == 0
    push(database, theirs)
    with database.connect() as db:
        assert credits_of(db, BESIDE, sign_up(BY_NAME["document"], db, "ana")) == 500
