"""Uninstalling: what the project had is as it was, all rows are written down, and keys are blocked."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from dev.postgres import SUPERUSER
from dev.stack import ROOT, Stack
from dev.supabase import Regime
from tests.living import catalogue
from tests.living.conftest import Begun
from tests.living.project import ALL, BESIDE, BY_NAME, FIXTURES, Living, keyfund, push, sign_up
from tests.sql.acting import rows, value
from tests.support import Connection, Database, as_role, eventually, sign_up_at


def installed(
    begun: Begun, name: str, schema: str, regime: Regime = "locked"
) -> tuple[Database, catalogue.Lines]:
    """A project with Keyfund in it, and all that it had before."""
    database, folder = begun(name, regime)
    with database.connect() as db:
        before = catalogue.read(db)
    assert keyfund("migrations", "--into", folder, "--schema", schema) == 0
    push(database, folder)
    return database, before


def uninstall(database: Database, folder: Path, *words: str) -> int:
    return keyfund("uninstall", "--database", database.url(), "--export", folder, "--hand-over", *words)


@pytest.mark.parametrize("living", ALL, ids=[living.name for living in ALL])
def test_the_catalogue_is_as_before(living: Living, begun: Begun, tmp_path: Path) -> None:
    database, before = installed(begun, living.name, BESIDE)
    with database.connect() as db:
        sign_up(living, db, "ana")
        assert uninstall(database, tmp_path / "rows", "--yes") == 0
        assert catalogue.read(db) == before
        sign_up(living, db, "bea")
        history = rows(db, "select name from supabase_migrations.schema_migrations")
    assert [row["name"] for row in history] == ["ours"]


@pytest.mark.parametrize("regime", ["locked", "open"])
def test_of_public_only_what_is_ours_is_dropped(regime: Regime, begun: Begun, tmp_path: Path) -> None:
    database, before = installed(begun, "chat", "public", regime)
    assert uninstall(database, tmp_path / "rows", "--yes") == 0
    with database.connect() as db:
        assert catalogue.read(db) == before


def test_it_only_shows_unless_told_to_do_it(
    begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, _ = installed(begun, "quickstart", BESIDE)
    with database.connect() as db:
        before = catalogue.read(db)
        assert uninstall(database, tmp_path / "rows") == 0
        assert catalogue.read(db) == before
    told = capsys.readouterr().out
    assert "drop the schemas keyfund, keyfund_api" in told
    assert (
        "drop the triggers keyfund_changed_user, keyfund_deleted_user, keyfund_new_user on auth.users" in told
    )
    assert told.endswith("Nothing was changed; --yes does it.\n")
    assert not (tmp_path / "rows").exists()


LEANING = {
    "create view public.rich as select id from keyfund_api.profiles": "view public.rich",
    "create table public.notes (id uuid references keyfund_api.profiles)": "on table public.notes",
    "alter table public.profiles enable row level security; create policy administrators on public.profiles "
    "using (keyfund_api.is_administrator())": "policy administrators on table public.profiles",
    "create table public.copies (one keyfund_api.profiles)": "column one of table public.copies",
    "create table keyfund_api.theirs (id int)": "table keyfund_api.theirs",
    "create function keyfund_api.theirs() returns int language sql as 'select 1'":
        "function keyfund_api.theirs()",
    "create function public.of_key(keyfund_api.virtual_keys) returns int language sql as 'select 1'":
        "function public.of_key(keyfund_api.virtual_keys)",
    "create trigger theirs after insert on public.profiles for each row "
    "execute function keyfund_api.handle_new_user()":
        "trigger theirs on table public.profiles",
}  # fmt: skip


def test_what_is_not_ours_and_leans_on_it_is_told_and_stays(
    begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, _ = installed(begun, "quickstart", BESIDE)
    with database.connect("postgres") as db:
        for statement in LEANING:
            db.execute(statement.encode())
    with database.connect() as db:
        before = catalogue.read(db)
        assert uninstall(database, tmp_path / "rows", "--yes") == 1
        assert catalogue.read(db) == before
    told = capsys.readouterr().err
    for one in LEANING.values():
        assert one in told
    assert "keyfund_new_user" not in told


def test_rows_are_written_down_without_the_keys_strings(begun: Begun, tmp_path: Path) -> None:
    database, _ = installed(begun, "quickstart", BESIDE)
    with database.connect() as db:
        user_id = sign_up(BY_NAME["quickstart"], db, "ana")
        with as_role(db, "authenticated", user_id):
            db.execute("select keyfund_api.create_virtual_key()")
        (string,) = value(
            db, "select array_agg(litellm_key_id) from keyfund_api.virtual_keys where litellm_key_id <> ''"
        )
    assert uninstall(database, tmp_path / "rows", "--yes") == 0
    files = {file.name: file.read_text() for file in (tmp_path / "rows").iterdir()}
    entries = [json.loads(line) for line in files["credit_ledger.jsonl"].splitlines()]
    told = [(entry["delta"], entry["kind"]) for entry in entries if entry["user_id"] == str(user_id)]
    assert told == [(500, "signup_grant")]
    keys = [json.loads(line) for line in files["virtual_keys.jsonl"].splitlines()]
    assert str(user_id) in {key["user_id"] for key in keys}
    assert "keyfund.settings.jsonl" in files
    assert not any(string in text for text in files.values())
    assert {oct(file.stat().st_mode)[-3:] for file in (tmp_path / "rows").iterdir()} == {"600"}


def test_an_export_is_never_written_over(begun: Begun, tmp_path: Path) -> None:
    database, _ = installed(begun, "quickstart", BESIDE)
    (tmp_path / "rows").mkdir()
    assert uninstall(database, tmp_path / "rows", "--yes") == 1
    assert not list((tmp_path / "rows").iterdir())


def test_a_database_without_it_and_one_that_is_away_are_told(begun: Begun, tmp_path: Path) -> None:
    database, _ = begun("quickstart")
    assert uninstall(database, tmp_path / "rows", "--yes") == 1
    assert keyfund("uninstall", "--database", "postgresql://127.0.0.1:1/none?connect_timeout=2") == 2


def test_keys_are_blocked_in_litellm_and_a_worker_has_to_be_stopped_first(
    homes: Path, tmp_path: Path
) -> None:
    with Stack(homes / "leaving", schema=BESIDE, theirs=FIXTURES / "quickstart.sql") as stack:
        user = sign_up_at(stack.env)
        headers = {"authorization": f"Bearer {user.token}"}
        url = f"{stack.env['WEBHOOK_BASE_URL']}/api/keys/manage"
        made = httpx.post(url, headers=headers, json={"name": "First"}, timeout=30).json()

        def key() -> dict[str, str]:
            (found,) = (
                one for one in httpx.get(url, headers=headers).json()["keys"] if one["id"] == made["id"]
            )
            return dict(found)

        assert eventually(lambda: key()["sync_status"] == "synced", seconds=60)
        string = key()["litellm_key_id"]
        assert models(stack, string) == 200
        assert "A worker is running" in leave(stack, tmp_path / "a", status=1)
        for part in ("worker", "webhook"):
            stack.stop_part(part)
        with psycopg.connect(stack.address.url(SUPERUSER, "keyfund"), autocommit=True) as db:
            # The database still answers the stopped worker's last look, and notes it.
            assert eventually(lambda: not looks(db), seconds=20)
            db.execute("update keyfund.workers set last_seen = now() - interval '1 hour'")
            stack.stop_part("litellm")
            assert "--hand-over" in leave(stack, tmp_path / "b", status=2)
            stack.start_part("litellm")
            assert "1 keys were blocked in LiteLLM" in leave(stack, tmp_path / "c", status=0)
            assert db.execute("select to_regnamespace('keyfund')").fetchone() == (None,)
        assert models(stack, string) in (401, 403)


def looks(db: Connection) -> bool:
    """Whether a worker's look is still being answered."""
    cursor = db.execute(
        "select exists (select from pg_stat_activity where state = 'active' and query like '%look_for_work%' "
        "and pid <> pg_backend_pid())"
    )
    return cursor.fetchall() == [(True,)]


def models(stack: Stack, key: str) -> int:
    """Whether LiteLLM takes the key: for a call without cost."""
    url = f"{stack.env['LITELLM_BASE_URL']}/v1/chat/completions"
    body = {"model": "live-free", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    return httpx.post(url, headers={"authorization": f"Bearer {key}"}, json=body, timeout=60).status_code


def leave(stack: Stack, folder: Path, status: int) -> str:
    """Run the command as an operator does; returns what it says."""
    command = [sys.executable, "-m", "keyfund", "uninstall", "--yes", "--export", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert folder.exists() == (status == 0)
    return done.stdout + done.stderr
