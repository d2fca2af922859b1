"""Applying the files: on a project that has users already, and more than once."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from uuid import uuid4

import pytest

from dev import supabase
from dev.prepared import REGIMES
from dev.stack import ROOT
from dev.supabase import Regime
from tests.sql.acting import (
    account,
    all_by_service,
    append,
    by_owner,
    claim,
    finish,
    key,
    keys,
    ledger,
    profile,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Database, SqlServer

MIGRATIONS, SEED = ROOT / "supabase" / "migrations", ROOT / "supabase" / "seed.sql"


@pytest.fixture(params=["locked", "open"])
def fresh(sql_server: SqlServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A project to which nothing of ours was applied yet."""
    regime: Regime = request.param
    name = f"fresh_{uuid4().hex[:8]}"
    sql_server.clone(REGIMES[regime], name)
    yield Database(sql_server.address, name)
    with sql_server.superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def test_users_from_before_get_their_accounts(fresh: Database) -> None:
    user_id = uuid4()
    with fresh.connect() as db:
        db.execute(
            "insert into auth.users (id, email, email_confirmed_at) values (%s, 'ana@example.com', now())",
            [user_id],
        )
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert profile(db, user_id)["credits"] == 500
        assert [one["state"] for one in keys(db, user_id)] == ["placeholder"]
        assert len(ledger(db, user_id)) == 1


def test_applying_again_finds_nothing_to_do_and_the_seed_changes_nothing(fresh: Database) -> None:
    assert supabase.apply_migrations(fresh.url(), MIGRATIONS)
    supabase.apply_seed(fresh.url(), SEED)
    with fresh.connect() as db:
        db.execute("update public.credit_packages set amount = 5, active = false where id = 'starter-ngn'")
        before = rows(db, "select * from public.credit_packages order by id")
        assert supabase.apply_migrations(fresh.url(), MIGRATIONS) == []
        supabase.apply_seed(fresh.url(), SEED)
        assert rows(db, "select * from public.credit_packages order by id") == before


# -------------------------------------------------------------- keys from before they had fences

FENCED_SINCE = "20261128"


def apply_older(fresh: Database, folder: Path) -> None:
    """Only what there was before keys had fences."""
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < FENCED_SINCE:
            copy(file, folder)
    supabase.apply_migrations(fresh.url(), folder)


def test_keys_from_before_are_narrowed_behind_what_people_wait_for_and_suspended_ones_blocked_first(
    fresh: Database, tmp_path: Path
) -> None:
    apply_older(fresh, tmp_path)
    with fresh.connect() as db:
        crowd = [sign_up(db) for _ in range(4)]
        made = {user_id: synced_key(db, user_id) for user_id in crowd}
        old, buyer, suspended, blocked = crowd
        by_owner(db, blocked, "block_virtual_key", key_id=made[blocked]["id"])
        db.execute("update public.profiles set status = 'suspended' where id = %s", [suspended])
        for user_id in (blocked, suspended):
            finish(db, claim(db, user_id))
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        append(db, buyer, 10)
        assert [key(db, made[one]["id"])["sync_status"] for one in crowd] == ["pending"] * 3 + ["synced"]
        pushes = all_by_service(db, "claim_pushes", p_limit=9, p_lease_seconds=60)
        assert [push["user_id"] for push in pushes] == [str(one) for one in (suspended, buyer, old)]
        assert [len(push["keys"]) for push in pushes] == [1, 1, 1]
        assert [push["suspended"] for push in pushes] == [True, False, False]
        assert account(db, old)["patient"]


def test_where_people_have_keys_already_their_number_stays_as_it_was(fresh: Database, tmp_path: Path) -> None:
    apply_older(fresh, tmp_path)
    with fresh.connect() as db:
        user_id = sign_up(db)
        for _ in range(25):
            by_owner(db, user_id, "create_virtual_key")
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert value(db, "select keys_per_account from keyfund.settings") == 1000
        db.execute("update keyfund.settings set keys_per_account = default")
        assert len(keys(db, user_id)) == 25
        assert len(claim(db, user_id)["keys"]) == 25
        with refused(409, "too_many_keys"):
            by_owner(db, user_id, "create_virtual_key")
