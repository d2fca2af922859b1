"""LiteLLM's real proxy, with keys, budgets and spend in Postgres, from PyPI and npm alone.

LiteLLM reaches Postgres through Prisma, whose engine is a native binary from a download
site. ``query-engine.mjs`` takes that binary's place, and ``prepare`` that of Prisma's
migration engine.
"""

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import httpx
import psycopg

from dev.npm import NODE, npm
from dev.part import Part

HERE = Path(__file__).parent.absolute()
ENGINE = HERE / "query-engine.mjs"

PRISMA_VERSION = "5.17.0"  # as in package.json
PRISMA_ENGINE_COMMIT = "393aa359c9ad4a4bb28630fb5613f9c281cde053"
PRISMA_LOCK = 72707369  # the advisory lock that `prisma migrate` takes

NO_TYPES = '''"""Stands for the 30,000 TypedDicts that Prisma writes here. Only type checkers read them;
making them takes a third of LiteLLM's start and of its memory."""


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return dict
'''


def install(root: Path, say: Callable[[str], None]) -> None:
    """Make what the proxy runs on; a repeat with unchanged lock files does nothing.

    Raises:
        RuntimeError, subprocess.CalledProcessError: a step failed, and has said why.
    """
    venv, modules = _venv(root), HERE / "node_modules"
    requirements, lock = root / "requirements" / "litellm.txt", HERE / "package-lock.json"
    steps: list[tuple[str, Path, list[Path], Callable[[], None]]] = [
        ("LiteLLM's Python packages", venv, [requirements], lambda: _install_packages(venv, requirements)),
        ("LiteLLM's database engine", modules, [lock], _install_modules),
        ("LiteLLM's database client", venv, [requirements, lock], lambda: _generate_client(venv)),
    ]
    for number, (what, folder, inputs, make) in enumerate(steps):
        stamp, wanted = folder / f".made-{number}", _digest(inputs)
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        say(f"installing {what}")
        make()
        stamp.write_text(wanted)


def _digest(files: Iterable[Path]) -> str:
    contents = [sys.version.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _venv(root: Path) -> Path:
    return root / ".stack" / "litellm-venv"


def _install_packages(venv: Path, requirements: Path) -> None:
    """Afresh each time, so that nothing is left of an older lock or another Python."""
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-compile", "--require-hashes", "--no-deps", "-r", str(requirements)])


def _install_modules() -> None:
    # Prisma's install scripts would download its engines.
    npm(HERE, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def _generate_client(venv: Path) -> None:
    """Have Prisma write LiteLLM's database client into the venv's packages."""
    packages = _packages(venv)
    prisma = HERE / "node_modules" / "prisma" / "build" / "index.js"
    schema = packages / "litellm" / "proxy" / "schema.prisma"
    _run([str(NODE), str(prisma), "generate", "--schema", str(schema)], env=_prisma_env(venv))
    (packages / "prisma" / "types.py").write_text(NO_TYPES)
    # Here and on every core, where pip would have compiled on one.
    _run([str(venv / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0", str(packages)])


def _prisma_env(venv: Path) -> dict[str, str]:
    engine = str(ENGINE)
    return _node_first(venv / "bin") | {  # prisma looks its Python generator up on PATH
        # Named so that none is downloaded; `generate` only asks the first for its version.
        "PRISMA_QUERY_ENGINE_BINARY": engine,
        "PRISMA_QUERY_ENGINE_LIBRARY": engine,
        "PRISMA_SCHEMA_ENGINE_BINARY": engine,
        # prisma-client-py refuses any Prisma but its own (5.4.2) unless told.
        "PRISMA_VERSION": PRISMA_VERSION,
        "PRISMA_EXPECTED_ENGINE_VERSION": PRISMA_ENGINE_COMMIT,
        "PRISMA_HIDE_UPDATE_MESSAGE": "1",
        "CHECKPOINT_DISABLE": "1",
    }


def _packages(venv: Path) -> Path:
    (packages,) = venv.glob("lib/python3*/site-packages")
    return packages


def _node_first(*others: Path) -> dict[str, str]:
    """The environment with our own Node before any that the machine may have."""
    return os.environ | {"PATH": os.pathsep.join(map(str, (NODE.parent, *others, os.environ["PATH"])))}


def _run(argv: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(argv, check=False, cwd=HERE, env=env, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    done.check_returncode()


def prepare(root: Path, database_url: str) -> None:
    """Apply LiteLLM's own migrations, with Prisma's bookkeeping, so that either can go on from there."""
    folder = _packages(_venv(root)) / "litellm_proxy_extras" / "migrations"
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("select pg_advisory_lock(%s)", [PRISMA_LOCK])
        for file in _pending(database, folder):
            _apply(database, file)


def _pending(database: psycopg.Connection, folder: Path) -> Iterator[Path]:
    database.execute("""
        create table if not exists _prisma_migrations (
            id varchar(36) primary key, checksum varchar(64) not null, finished_at timestamptz,
            migration_name varchar(255) not null, logs text, rolled_back_at timestamptz,
            started_at timestamptz not null default now(), applied_steps_count integer not null default 0)""")
    rows = database.execute("select migration_name from _prisma_migrations where finished_at is not null")
    done = {name for (name,) in rows}
    return (file for file in sorted(folder.glob("*/migration.sql")) if file.parent.name not in done)


def _apply(database: psycopg.Connection, file: Path) -> None:
    sql = file.read_bytes()
    alone = b"CONCURRENTLY" in sql.upper()  # Postgres refuses that within a transaction
    with nullcontext() if alone else database.transaction():
        database.execute(sql)
        database.execute(
            "insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count)"
            " values (%s, %s, %s, now(), 1)",
            [str(uuid.uuid4()), hashlib.sha256(sql).hexdigest(), file.parent.name],
        )


def part(
    root: Path, *, database_url: str, port: int, master_key: str, env: Mapping[str, str] | None = None
) -> Part:
    """The proxy on 127.0.0.1 with one worker, so that what it is told about a key holds at the next call.

    ``env`` is added to its environment: the address and key of the provider behind it.
    """
    url = f"http://127.0.0.1:{port}"
    python = str(_venv(root) / "bin" / "python")
    command = ["--config", str(HERE / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    return Part(
        name="litellm",
        argv=[python, "-P", str(HERE / "proxy.py"), *command],
        url=url,
        ready=lambda: _answers(url, master_key),
        env={
            "PATH": _node_first()["PATH"],
            "DATABASE_URL": database_url,
            "LITELLM_MASTER_KEY": master_key,
            "LITELLM_MODE": "PRODUCTION",  # or it reads the .env of the folders above its own, which is ours
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it asks GitHub for prices
            "DISABLE_SCHEMA_UPDATE": "true",  # `prepare` has applied the migrations
            # It compares the schema all the same, with a Prisma that npm would download: time that out.
            "LITELLM_PRISMA_COMMAND_TIMEOUT": "0.01",
            "PRISMA_QUERY_ENGINE_BINARY": str(ENGINE),
            **(env or {}),
        },
        cwd=HERE,
    )


def _answers(url: str, master_key: str) -> bool:
    """Whether the proxy is up with its database, and is ours: one left over wouldn't know the master key."""
    try:
        readiness = httpx.get(f"{url}/health/readiness", timeout=2)
        if readiness.status_code != 200 or readiness.json().get("db") != "connected":
            return False
        models = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {master_key}"}, timeout=2)
    except (httpx.HTTPError, ValueError, AttributeError):
        return False
    return models.status_code == 200
