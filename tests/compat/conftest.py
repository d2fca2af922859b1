"""The older server, and the CLI, for the tests that need them."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import sql

from dev import postgres, supabase
from dev.child import Child
from dev.part import Part
from dev.postgres import SUPERUSER, Address
from dev.prepared import REGIMES, random_passwords
from dev.reaper import Reaper
from dev.stack import ROOT, free_port
from dev.supabase import Regime
from tests.compat.tools import older_postgres, supabase_cli
from tests.support import Database, SqlServer


@pytest.fixture(scope="session")
def older_server(homes: Path) -> Iterator[Address]:
    """PostgreSQL 15 with the roles of a hosted project."""
    installed = older_postgres()
    if installed is None:
        pytest.skip("PostgreSQL 15 is not made for this platform")
    address = Address(free_port(), random_passwords(SUPERUSER, "postgres"))
    reaper = Reaper(f"older-{address.port}")
    folder = postgres.data_folder(homes, "older")
    reaper.remove_at_end(folder)
    programs = reachable(installed, folder)
    initialise(programs, folder, address.passwords[SUPERUSER])
    child = Child(part(programs, folder / "data", address), homes / "older.log", reaper.marks)
    try:
        reaper.add(child.spawn())
        child.wait_ready()
        superuser = address.url(SUPERUSER, "postgres")
        supabase.create_roles(superuser)
        with psycopg.connect(superuser) as connection:
            password = sql.Literal(address.passwords["postgres"])
            connection.execute(sql.SQL("alter role postgres password {}").format(password))
        yield address
    finally:
        child.stop()
        reaper.close()


def reachable(programs: Path, folder: Path) -> Path:
    """The programs themselves, or a copy in the data folder where the server's user cannot come to them."""
    if postgres.executable_by_server(programs / "postgres"):
        return programs
    copied = folder / "native"
    shutil.copytree(programs.parent, copied, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copied)], check=True)
    return copied / "bin"


def initialise(programs: Path, folder: Path, password: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder) as secret:
        secret.write(password)
        secret.flush()
        postgres.hand_over(Path(secret.name))
        options = [
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            f"--pwfile={secret.name}",
        ]
        command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", SUPERUSER, *options]
        postgres.run(postgres.as_server_user(command), "initdb of PostgreSQL 15")


def part(programs: Path, data: Path, address: Address) -> Part:
    settings = postgres.SETTINGS | {"port": str(address.port), "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Part(
        name="postgres",
        argv=postgres.as_server_user([str(programs / "postgres"), "-D", str(data), *options]),
        url=f"postgresql://127.0.0.1:{address.port}",
        ready=lambda: postgres.answers(address.url(SUPERUSER, "postgres")),
        cwd=ROOT,
        ready_timeout_seconds=60,
    )


@pytest.fixture(scope="session")
def auth_sql() -> str:
    return supabase.auth_schema()


@pytest.fixture(params=["locked", "open"])
def older_database(
    older_server: Address, auth_sql: str, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """An empty project on PostgreSQL 15, in either regime of default privileges."""
    regime = cast(Regime, request.param)
    name = f"older_{regime}"
    with psycopg.connect(older_server.url(SUPERUSER, "postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} owner postgres".encode())
        supabase.provision(older_server.url(SUPERUSER, name), regime, auth_sql)
        yield Database(older_server, name)
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture(params=["locked", "open"])
def project(sql_server: SqlServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A project on the newer server to which nothing of ours was applied."""
    regime = cast(Regime, request.param)
    name = f"project_{regime}"
    sql_server.clone(REGIMES[regime], name)
    yield Database(sql_server.address, name)
    with sql_server.superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())


class Cli:
    """The Supabase CLI with a home and a copy of `supabase/` of its own: it leaves files in both."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program = program
        self.home = home
        shutil.copytree(ROOT / "supabase", home / "supabase")

    def run(self, *words: str, database: Database) -> "subprocess.CompletedProcess[str]":
        """Run a command against this database as `postgres`, who is no superuser."""
        command = [str(self.program), *words, f"--remote={database.url()}", "--workdir", str(self.home)]
        env = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "SUPABASE_TELEMETRY_DISABLED": "1",
            "DO_NOT_TRACK": "1",
        }
        return subprocess.run(
            command,
            cwd=self.home,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    program = supabase_cli()
    if program is None:
        pytest.skip("this version of the Supabase CLI is not made for this platform")
    return Cli(program, tmp_path)
