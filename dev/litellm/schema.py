"""LiteLLM's tables: what Prisma's migration engine would do, without its native binary."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psycopg

from dev.litellm.release import Release, packages

PRISMA_LOCK = 72707369  # the advisory lock that `prisma migrate` takes


def prepare(root: Path, database_url: str, release: Release = "pinned") -> None:
    """Apply the release's own migrations, with Prisma's bookkeeping, so that either can go on from there."""
    folder = packages(root, release) / "litellm_proxy_extras" / "migrations"
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
