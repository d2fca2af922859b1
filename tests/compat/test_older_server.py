"""The schema on PostgreSQL 15, the oldest that hosted projects run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

from dev import supabase
from dev.stack import PACKAGES, ROOT
from tests.living import catalogue
from tests.living.project import BY_NAME, begin, credits_of, keyfund, push
from tests.living.project import sign_up as join
from tests.sql.acting import (
    account,
    by_owner,
    by_service,
    claim,
    credit,
    delete_user,
    fail,
    finish,
    key,
    keys,
    ledger,
    let_pass,
    open_order,
    payment,
    profile,
    rows,
    sign_up,
    value,
)
from tests.support import Connection, Database

MIGRATIONS, SEED = ROOT / "supabase" / "migrations", ROOT / "supabase" / "seed.sql"


@pytest.fixture
def older_db(older_database: Database) -> Iterator[Connection]:
    assert supabase.apply_migrations(older_database.url(), MIGRATIONS)
    supabase.apply_seed(older_database.url(), SEED)
    supabase.apply_seed(older_database.url(), PACKAGES)
    with older_database.connect() as connection:
        yield connection


def test_the_migrations_and_the_seed_apply_and_applying_them_again_changes_nothing(
    older_database: Database, older_db: Connection
) -> None:
    assert value(older_db, "select current_setting('server_version_num')::integer / 10000") == 15
    before = rows(older_db, "select * from public.credit_packages order by id")
    assert before
    assert supabase.apply_migrations(older_database.url(), MIGRATIONS) == []
    supabase.apply_seed(older_database.url(), SEED)
    assert rows(older_db, "select * from public.credit_packages order by id") == before


def test_a_person_signs_up_makes_a_key_spends_and_buys(older_db: Connection) -> None:
    user_id = sign_up(older_db, "ana@example.com")
    assert profile(older_db, user_id)["credits"] == 500
    made = by_owner(older_db, user_id, "create_virtual_key", name="First")
    assert finish(older_db, claim(older_db, user_id), spend_micros=50_000)
    assert key(older_db, made["id"])["sync_status"] == "synced"
    order = open_order(older_db, user_id)
    event = {"fingerprint": "f1", "event": "charge.success", "reference": order["reference"], "body": "{}"}
    by_service(
        older_db, "receive_events", p_provider="paystack", p_events=Jsonb([event | {"lease_seconds": 60}])
    )
    assert [credit(older_db, order, p_provider_id=7)["credited"] for _ in range(2)] == [True, False]
    finish(older_db, claim(older_db, user_id), p_effective="yes")
    bought = payment(older_db, order["reference"])
    assert bought["webhook_at"] <= bought["credited_at"] <= bought["pushed_at"] <= bought["effective_at"]
    assert [one["delta"] for one in ledger(older_db, user_id)] == [500, -2, 500]
    assert key(older_db, made["id"])["max_budget"] == 2000
    assert profile(older_db, user_id)["credits"] == 998


def test_blocks_failures_and_the_end_of_an_account(older_db: Connection) -> None:
    user_id = sign_up(older_db)
    made = by_owner(older_db, user_id, "create_virtual_key")
    fail(older_db, claim(older_db, user_id), "unknown")
    let_pass(older_db, 61)
    assert finish(older_db, claim(older_db, user_id))
    for function in ("block", "unblock", "resync"):
        by_owner(older_db, user_id, f"{function}_virtual_key", key_id=made["id"])
        assert finish(older_db, claim(older_db, user_id))
    delete_user(older_db, user_id)
    push = claim(older_db, user_id)
    assert (push["budget_micros"], [one["state"] for one in push["keys"]]) == (0, ["revoked"])
    finish(older_db, push)
    held = account(older_db, user_id)
    assert held["revision"] == held["confirmed_revision"]
    assert [one["state"] for one in keys(older_db, user_id)] == ["revoked"]
    assert by_service(older_db, "read_status")["keys"] == 0


def test_beside_a_project_that_has_our_names_and_gone_again(older_database: Database, tmp_path: Path) -> None:
    before, url = tmp_path / "before", older_database.url()
    begin(BY_NAME["quickstart"], older_database, before)
    with older_database.connect() as db:
        theirs = catalogue.read(db)
        assert keyfund("migrations", "--into", before, "--schema", "keyfund_api") == 0
        assert push(older_database, before)
        assert credits_of(db, "keyfund_api", join(BY_NAME["quickstart"], db, "ana")) == 500
        leave = ("--database", url, "--export", tmp_path / "rows", "--hand-over", "--yes")
        assert keyfund("uninstall", *leave) == 0
        assert catalogue.read(db) == theirs
