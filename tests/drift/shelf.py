"""Thousands of keys that agree in both databases, hands to change one behind Keyfund's back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx

from core.domain.routes import PROOFLESS, paths_of
from dev.stack import ROOT, Stack
from tests.support import Connection, eventually

Json = dict[str, Any]
KEYS_EACH = 5
OTHERS = 150

SIGN_UPS = """
    insert into auth.users (id, aud, role, email, email_confirmed_at)
    select md5('account ' || n)::uuid, 'authenticated', 'authenticated', 'account-' || n || '@example.com',
      now() from generate_series(1, %s) n"""

KEYS = f"""
    insert into public.virtual_keys (id, account_id, user_id, name, litellm_key_id, key_hash, key_preview,
      state, cap, max_budget, revision, confirmed_revision, confirmed_at, sync_status, last_synced_at)
    select md5('key ' || k || ' of ' || n)::uuid,
      md5('account ' || n)::uuid, md5('account ' || n)::uuid, 'Key', s.key,
      encode(sha256(convert_to(s.key, 'UTF8')), 'hex'), 'sk-...', 'active', 'wallet',
      1000, 1, 1, now(), 'synced', now()
    from generate_series(1, %s) n, generate_series(1, {KEYS_EACH}) k,
      lateral (select 'sk-kf-' || md5(n || ' ' || k) || md5(k || '-' || n) as key) s"""  # fmt: skip

PUSHED = """
    with spent as (update keyfund.wallets set booked_micros = 2000000, seen_micros = 2000000)
    update keyfund.pushes
    set revision = 1, confirmed_revision = 1, confirmed_at = now(), next_attempt_at = null"""

HELD = """
    select k.key_hash, k.user_id::text, k.id::text, (select installation_id::text from keyfund.settings)
    from public.virtual_keys k where k.state = 'active'"""

USERS = 'copy "LiteLLM_UserTable" (user_id, max_budget, spend) from stdin'
TOKENS = """
    copy "LiteLLM_VerificationToken" (token, key_name, user_id, max_budget, budget_duration, rpm_limit,
      tpm_limit, metadata, key_type, allowed_routes, max_parallel_requests,
      blocked) from stdin"""  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command went; ``peak_mb`` is the most memory that it ever held."""

    status: int
    out: str
    err: str
    peak_mb: float

    def report(self, status: int) -> Json:
        assert self.status == status, self.out + self.err
        told: Json = json.loads(self.out)
        return told


@dataclass
class Shelf:
    """Accounts are called by their number, from 1; so are the keys of each."""

    stack: Stack
    db: Connection
    litellm: Connection
    keys: int = 0

    def fill(self, keys: int) -> None:
        """Accounts with five keys each, all pushed, and a few keys of others."""
        self.keys = keys
        accounts = keys // KEYS_EACH
        self.db.execute(SIGN_UPS.encode(), [accounts])
        with self.by_hand():
            self.db.execute(KEYS.encode(), [accounts])
            self.db.execute(PUSHED.encode())
        rows = self.db.execute(HELD.encode()).fetchall()
        with self.litellm.cursor() as cursor:
            with cursor.copy(USERS.encode()) as copy:
                for user_id in {row[1] for row in rows}:
                    copy.write_row((user_id, 10.0, 2.0))
            with cursor.copy(TOKENS.encode()) as copy:
                for key_hash, user_id, key_id, mark in rows:
                    copy.write_row(token(key_hash, user_id, marks(mark, key_id)))
                for number in range(OTHERS):
                    # Of another installation, of somebody without one, and one that is not even hashed.
                    metadata = {"keyfund": "another"} if number % 2 else {}
                    name = "somebody-s-own" if number == 0 else f"{number:064x}"
                    copy.write_row(token(name, f"stranger-{number}", metadata, None))
        for database in (self.db, self.litellm):
            database.execute("analyze")

    # ------------------------------------------------------------------ names

    def account(self, number: int) -> str:
        return str(self.one("select md5('account ' || %s)::uuid::text", number))

    def key(self, number: int, which: int = 1) -> Json:
        """The row of one of an account's keys."""
        query = (
            "select to_jsonb(v) from public.virtual_keys v where id = md5('key ' || %s || ' of ' || %s)::uuid"
        )
        row: Json = self.one(query, which, number)
        return row

    def one(self, query: str, *arguments: object) -> Any:
        row = self.db.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row[0]

    def counts(self) -> tuple[int, int]:
        """How many keys are ours, and how many LiteLLM has besides."""
        query = "select array_agg(key_hash) from public.virtual_keys where key_hash is not null"
        ours = set(self.one(query))
        row = self.litellm.execute('select array_agg(token) from "LiteLLM_VerificationToken"').fetchone()
        assert row is not None
        return len(ours), len(set(row[0]) - ours)

    # ------------------------------------------------------------------ hands

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """What is done in here no trigger sees."""
        self.db.execute("set session_replication_role = replica")
        try:
            yield
        finally:
            self.db.execute("set session_replication_role = origin")

    def change_key(self, key: Json, change: str) -> None:
        """Change a key's row in LiteLLM's own database."""
        statement = f'update "LiteLLM_VerificationToken" set {change} where token = %s'
        assert self.litellm.execute(statement.encode(), [key["key_hash"]]).rowcount == 1

    def change_user(self, user_id: str, change: str) -> None:
        statement = f'update "LiteLLM_UserTable" set {change} where user_id = %s'
        assert self.litellm.execute(statement.encode(), [user_id]).rowcount == 1

    def lose(self, table: str, column: str, value: str) -> None:
        statement = f'delete from "{table}" where {column} = %s'
        assert self.litellm.execute(statement.encode(), [value]).rowcount == 1

    def stop_here(self, key: Json, change: str) -> None:
        """Change a key's row here as if LiteLLM had confirmed it long ago."""
        with self.by_hand():
            statement = f"update public.virtual_keys set {change} where id = %s"
            assert self.db.execute(statement.encode(), [key["id"]]).rowcount == 1

    def add_key(self, digest: str, mark: str) -> None:
        """A key in LiteLLM alone."""
        with self.litellm.cursor() as cursor, cursor.copy(TOKENS.encode()) as copy:
            copy.write_row(token(digest, "whoever", {"keyfund": mark}))

    def shown(self, digest: str) -> Json:
        """A key as LiteLLM's API shows it."""
        answer = self.ask("GET", "/key/info", params={"key": digest})
        info: Json = answer.json()["info"]
        return info

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        env = self.stack.env
        headers = {"Authorization": f"Bearer {env['LITELLM_MASTER_KEY']}"}
        answer = httpx.request(
            method, f"{env['LITELLM_BASE_URL']}{path}", headers=headers, timeout=60, **request
        )
        assert answer.status_code == 200, answer.text
        return answer

    def strangers(self) -> list[object]:
        """All that LiteLLM holds of others, to the last column."""
        query = """select to_jsonb(t) from "LiteLLM_VerificationToken" t
            where user_id like 'stranger-%' order by token"""
        return [row[0] for row in self.litellm.execute(query.encode()).fetchall()]

    # ----------------------------------------------------------------- worker

    @contextmanager
    def working(self, **env: str) -> Iterator[None]:
        """While the worker runs, with these settings besides its own."""
        child = self.stack.child("worker")
        part, child.part = child.part, replace(child.part, env={**child.part.env, **env})
        self.stack.start_part("worker")
        try:
            yield
        finally:
            self.stack.stop_part("worker")
            child.part = part

    def let_push(self) -> None:
        """Let the worker push until nothing is due any more."""
        query = "select count(*) from keyfund.pushes where next_attempt_at is not null"
        with self.working():
            assert eventually(lambda: self.one(query) == 0, seconds=120)

    # ---------------------------------------------------------------- command

    def operate(self, *arguments: str | Path, **env: str) -> Ended:
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            child = subprocess.Popen(
                [sys.executable, "-m", "operate", *map(str, arguments)],
                cwd=ROOT,
                env={**self.stack.env, **env},
                stdout=out,
                stderr=err,
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            return Ended(child.returncode, out.read(), err.read(), usage.ru_maxrss / 1024)

    def drift(self, *options: str, **env: str) -> Ended:
        return self.operate("drift", "--json", *options, **env)


def token(digest: str, user_id: str, metadata: Json, period: str | None = "30d") -> tuple[object, ...]:
    """A key's row as LiteLLM keeps one that Keyfund made."""
    limits = (10.0, period, 100, 10_000)
    routes = list(paths_of(PROOFLESS))
    return (digest, "sk-...", user_id, *limits, json.dumps(metadata), "default", routes, 10, False)


def marks(installation_id: str, key_id: str) -> Json:
    """Our part of a key's metadata."""
    guard = {"in_flight": 20, "routes": {}}
    return {"keyfund": installation_id, "keyfund_key_id": key_id, "keyfund_guard": guard}
