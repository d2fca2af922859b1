"""What tests share: databases made from a template, roles to act as, people who signed up."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg import sql

from dev import postgres, supabase
from dev.child import Child
from dev.postgres import SUPERUSER, Address
from dev.prepared import REGIMES, Prepared, random_passwords
from dev.reaper import Reaper
from dev.stack import PACKAGES, ROOT, free_port
from dev.supabase import Regime

Connection = psycopg.Connection[Any]

# The data of a test need not outlive the machine.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


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
        return psycopg.connect(self.url(role), autocommit=True)


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
            supabase.apply_migrations(url, ROOT / "supabase" / "migrations")
            supabase.apply_seed(url, ROOT / "supabase" / "seed.sql")
            supabase.apply_seed(url, PACKAGES)
            self.migrated[regime] = name
        return self.migrated[regime]

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
