"""What tests share: databases made from a template, roles to act as, people who signed up."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql

from core.domain.schema import PUBLIC
from dev import postgres, supabase
from dev.child import Child
from dev.postgres import SUPERUSER, Address
from dev.prepared import REGIMES, Prepared, random_passwords
from dev.reaper import Reaper
from dev.stack import PACKAGES, ROOT, free_port
from dev.supabase import Regime
from operate import migrations
from operate.schema import rename_schema

Connection = psycopg.Connection[Any]
SCHEMA = os.environ.get("TEST_SCHEMA", PUBLIC)
"""Where the tests of SQL have Keyfund's tables and functions; they name `public`, and mean this."""

# The data of a test need not outlive the machine.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Meaning(psycopg.Cursor[Any]):
    """A cursor for which `public` means the schema of this run."""

    def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        return super().execute(self.meant(query), given(params), **more)

    def executemany(self, query: Any, *rest: Any, **more: Any) -> None:
        super().executemany(self.meant(query), *rest, **more)

    def meant(self, query: Any) -> Any:
        if SCHEMA == PUBLIC:
            return query
        if isinstance(query, bytes):
            return rename_schema(query.decode(), SCHEMA).encode()
        text = query.as_string(self) if isinstance(query, sql.Composable) else query
        return rename_schema(text, SCHEMA).encode()


def given(params: Any) -> Any:
    """Names among what is given to a query, as this run means them."""
    if SCHEMA == PUBLIC or not isinstance(params, list | tuple):
        return params
    return [re.sub(r"^public(?=\.|$)", SCHEMA, one) if isinstance(one, str) else one for one in params]


@dataclass(frozen=True)
class User:
    """Someone who signed up over HTTP; ``token`` is their access token."""

    id: str
    email: str
    password: str
    token: str


def sign_up_at(env: Mapping[str, str], email: str | None = None, **data: object) -> User:
    """Sign somebody new up, over HTTP as a browser would."""
    address = email or f"user-{uuid4().hex[:12]}@example.com"
    password = uuid4().hex
    answer = httpx.post(
        f"{env['SUPABASE_URL']}/auth/v1/signup",
        headers={"apikey": env["SUPABASE_ANON_KEY"]},
        json={"email": address, "password": password, "data": data},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return User(body["user"]["id"], body["user"]["email"], password, body["access_token"])


@dataclass(frozen=True)
class Database:
    """One test's own database, migrations applied; ``url`` logs in as any role that may."""

    address: Address
    name: str

    def url(self, role: str = "postgres") -> str:
        return self.address.url(role, self.name)

    def connect(self, role: str = SUPERUSER) -> Connection:
        """A connection in autocommit; as the superuser, who may become any role, unless told otherwise."""
        return psycopg.connect(self.url(role), autocommit=True, cursor_factory=Meaning)


class SqlServer:
    """PostgreSQL alone: no Node, no LiteLLM. A migrated template per regime, a clone of it per test."""

    def __init__(self, home: Path) -> None:
        logins = (SUPERUSER, "postgres", "authenticator", "supabase_auth_admin")
        self.address = Address(free_port(), random_passwords(*logins))
        self.home = home
        self.numbers = count(1)
        self.migrated: dict[Regime, str] = {}

    @contextmanager
    def running(self) -> Iterator["SqlServer"]:
        reaper = Reaper(f"sql-{self.address.port}")
        folder = postgres.data_folder(self.home, "sql")
        reaper.remove_at_end(folder)
        Prepared(ROOT, print, free_port).copy_supabase(folder / "data")
        postgres.set_passwords(folder / "data", self.address.passwords)
        server = postgres.part(folder / "data", self.address, FORGETFUL)
        child = Child(server, self.home / "sql.log", reaper.marks)
        try:
            reaper.add(child.spawn())
            child.wait_ready()
            yield self
        finally:
            child.stop()
            reaper.close()

    @contextmanager
    def database(self, regime: Regime) -> Iterator[Database]:
        name = f"test_{next(self.numbers)}"
        self.clone(self.template(regime), name)
        try:
            yield Database(self.address, name)
        finally:
            with self.superuser() as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def template(self, regime: Regime) -> str:
        """The regime's database with our migrations and seed applied, made at its first use."""
        if regime not in self.migrated:
            name = f"migrated_{regime}"
            self.clone(REGIMES[regime], name)
            url = self.address.url("postgres", name)
            supabase.apply_migrations(url, self.migrations())
            supabase.apply_seed(url, ROOT / "supabase" / "seed.sql", SCHEMA)
            supabase.apply_seed(url, PACKAGES, SCHEMA)
            self.migrated[regime] = name
        return self.migrated[regime]

    def migrations(self) -> Path:
        if SCHEMA == PUBLIC:
            return ROOT / "supabase" / "migrations"
        folder = self.home / f"migrations-{SCHEMA}"
        migrations.write(folder, SCHEMA, migrations.read_folder(folder), datetime.now(UTC))
        return folder

    def clone(self, template: str, name: str) -> None:
        supabase.clone_database(self.address.url(SUPERUSER, "postgres"), template, name)

    def superuser(self) -> Connection:
        return psycopg.connect(self.address.url(SUPERUSER, "postgres"), autocommit=True)


@contextmanager
def as_role(connection: Connection, role: str, user_id: str | UUID | None = None) -> Iterator[Connection]:
    """Act as a role inside one transaction, with the claims PostgREST would set for that user.

    ``role``: anon, authenticated, service_role, supabase_auth_admin (who makes and deletes users), postgres.
    """
    claims = {"role": role} | ({"sub": str(user_id), "aud": "authenticated"} if user_id else {})
    with connection.transaction():
        connection.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
            [json.dumps(claims), role],
        )
        yield connection


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it comes to hold in time; looks every 50 ms."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
