"""The stand-in refuses what a hosted Supabase refuses, and answers as it does."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest

from dev import supabase
from dev.child import Child
from dev.stack import ROOT, free_port
from dev.supabase.migrate import MigrationError
from tests.support import Connection, Database, User, as_role, eventually


@pytest.fixture
def ungranted(env: dict[str, str]) -> Iterator[str]:
    """The name of a table with RLS and a policy for everyone, but without any GRANT."""
    name = "ungranted"
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"create table public.{name} (id int primary key)".encode())
        connection.execute(f"alter table public.{name} enable row level security".encode())
        connection.execute(f"create policy all_rows on public.{name} using (true)".encode())
        yield name
        connection.execute(f"drop table public.{name}".encode())


@pytest.mark.parametrize(("who", "status"), [("anon", 401), ("user", 403), ("service", 403)])
def test_a_missing_grant_is_42501(
    env: dict[str, str], sign_up: Callable[..., User], ungranted: str, who: str, status: int
) -> None:
    headers = {
        "anon": lambda: {"apikey": env["SUPABASE_ANON_KEY"]},
        "user": lambda: {"apikey": env["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {sign_up().token}"},
        "service": lambda: {"apikey": env["SUPABASE_SERVICE_ROLE_KEY"]},
    }[who]()
    url = f"{env['SUPABASE_URL']}/rest/v1/{ungranted}"
    assert eventually(lambda: httpx.get(url, headers=headers).status_code != 404)  # the schema cache has it
    seen = httpx.get(url, headers=headers)
    assert (seen.status_code, seen.json()["code"]) == (status, "42501")


def test_a_request_without_a_key_is_refused(env: dict[str, str]) -> None:
    assert httpx.get(f"{env['SUPABASE_URL']}/rest/v1/profiles").status_code == 401


def test_an_update_without_a_filter_is_refused(env: dict[str, str]) -> None:
    headers = {"apikey": env["SUPABASE_SERVICE_ROLE_KEY"]}
    seen = httpx.patch(f"{env['SUPABASE_URL']}/rest/v1/profiles", headers=headers, json={"email": "x"})
    assert (seen.status_code, seen.json()["code"]) == (400, "21000")


def test_a_sign_up_runs_as_supabase_auth_admin(admin_db: Connection, sign_up: Callable[..., User]) -> None:
    admin_db.execute("create table extensions.seen (who text, id uuid)")
    admin_db.execute("grant insert on extensions.seen to supabase_auth_admin")
    admin_db.execute("grant usage on schema extensions to supabase_auth_admin")
    admin_db.execute("""
        create function extensions.look() returns trigger language plpgsql as $$
        begin
          insert into extensions.seen values (session_user || '/' || current_user, new.id);
          return new;
        end $$
    """)
    admin_db.execute(
        "create trigger look after insert on auth.users for each row execute function extensions.look()"
    )
    try:
        user = sign_up()
        seen = admin_db.execute("select who from extensions.seen where id = %s", [user.id]).fetchall()
        assert seen == [("supabase_auth_admin/supabase_auth_admin",)]
    finally:
        admin_db.execute("drop trigger look on auth.users")
        admin_db.execute("drop function extensions.look()")
        admin_db.execute("drop table extensions.seen")
        admin_db.execute("revoke usage on schema extensions from supabase_auth_admin")


def test_migrations_run_as_no_superuser_and_cannot_alter_the_auth_tables(
    env: dict[str, str],
) -> None:
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        role = connection.execute(
            "select current_user, rolsuper, pg_has_role('supabase_auth_admin', 'member') "
            "from pg_roles where rolname = current_user"
        ).fetchone()
        assert role == ("postgres", False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("alter table auth.users add column x int")


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_the_two_regimes_differ_in_what_a_new_table_grants(
    db: Connection, open_db: Connection, role: str
) -> None:
    seen = []
    for connection in (db, open_db):
        with as_role(connection, "postgres"):
            connection.execute("create table public.fresh (id int)")
        row = connection.execute(
            "select has_table_privilege(%s, 'public.fresh', 'select')", [role]
        ).fetchone()
        seen.append(row)
    assert seen == [(False,), (True,)]


def test_a_migration_that_fails_leaves_nothing_and_is_named_with_its_line(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "29990101000000_first.sql").write_text("create table public.a (id int);")
    (tmp_path / "29990101000001_second.sql").write_text(
        "create table public.b (id int);\n\nselect nothing_here();"
    )
    with pytest.raises(MigrationError, match=r"29990101000001_second\.sql line 3"):
        supabase.apply_migrations(database.url(), tmp_path)
    with database.connect("postgres") as connection:
        row = connection.execute("select to_regclass('public.a'), to_regclass('public.b')").fetchone()
        assert row == ("a", None)
    (tmp_path / "29990101000001_second.sql").write_text("create table public.b (id int);")
    assert supabase.apply_migrations(database.url(), tmp_path) == ["29990101000001"]
    assert supabase.apply_migrations(database.url(), tmp_path) == []


@pytest.fixture
def asymmetric(database: Database, tmp_path: Path) -> Iterator[tuple[str, supabase.Keys]]:
    """The HTTP side alone, as of a project that signs with ES256: its address and its keys."""
    keys = supabase.Keys.random(asymmetric=True)
    part = supabase.part(ROOT, address=database.address, database=database.name, port=free_port(), keys=keys)
    child = Child(part, tmp_path / "supabase.log", {})
    child.spawn()
    try:
        child.wait_ready()
        yield part.url, keys
    finally:
        child.stop()


def test_es256_tokens_verify_against_the_jwks_and_only_they_are_taken(
    asymmetric: tuple[str, supabase.Keys],
) -> None:
    url, keys = asymmetric
    headers = {"apikey": keys.publishable}
    person = {"email": "ada@example.com", "password": "long enough"}
    token = httpx.post(f"{url}/auth/v1/signup", headers=headers, json=person).json()["access_token"]
    key = jwt.PyJWKClient(f"{url}/auth/v1/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["ES256"], audience="authenticated", issuer=f"{url}/auth/v1")
    forged = jwt.encode(claims, keys.jwt_secret)
    for sent, status in ((token, 200), (forged, 401)):
        seen = httpx.get(f"{url}/rest/v1/profiles", headers=headers | {"Authorization": f"Bearer {sent}"})
        assert seen.status_code == status


CHANGE = re.compile(
    r"(?<!for )(?<!do )\b(update\s+\S+\s+((as\s+)?\S+\s+)?set|delete\s+from)\b", re.IGNORECASE
)
COMMENT_OR_LITERAL = re.compile(r"--[^\n]*|'[^']*'")


def test_no_function_updates_or_deletes_without_a_where(db: Connection) -> None:
    """Hosted PostgREST loads safeupdate, which refuses that inside functions too; it is missing here."""
    rows = db.execute(
        "select p.oid::regprocedure::text, p.prosrc from pg_proc p join pg_language l on l.oid = p.prolang "
        "where l.lanname in ('sql', 'plpgsql') and p.pronamespace::regnamespace::text "
        "not in ('pg_catalog', 'information_schema', 'auth', 'extensions')"
    ).fetchall()
    assert rows
    assert not [(name, statement) for name, source in rows for statement in unsafe(source)]


def unsafe(source: str) -> list[str]:
    statements = [" ".join(text.split()) for text in COMMENT_OR_LITERAL.sub("", source).split(";")]
    return [text for text in statements if CHANGE.search(text) and " where " not in f" {text} "]


def test_the_search_for_unsafe_statements_finds_them() -> None:
    assert unsafe("begin update public.a set x = 1; delete from public.b where true; end")
    assert unsafe("delete from public.b")
    assert not unsafe(
        "update a set x = ';' where id = 1; insert into a values (1) on conflict do update set x = 1;"
    )
