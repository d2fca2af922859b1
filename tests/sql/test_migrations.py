"""Applying the files: on a project that has users already, and more than once."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from dev import supabase
from dev.prepared import REGIMES
from dev.stack import ROOT
from dev.supabase import Regime
from tests.sql.acting import (
    HEALED,
    account,
    all_by_service,
    append,
    ban,
    by_owner,
    by_service,
    claim,
    credit,
    finish,
    key,
    keys,
    ledger,
    open_order,
    payment,
    profile,
    refused,
    rows,
    sign_up,
    soft_delete,
    synced_key,
    value,
)
from tests.support import Connection, Database, SqlServer

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


def apply_older(fresh: Database, folder: Path, since: str = FENCED_SINCE) -> None:
    """Only what there was before keys had fences, or before something else."""
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < since:
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


# --------------------------------------------------- payments from before they were measured by their price

MEASURED_SINCE = "202611280019"
KEPT = """
    select reference, status, amount, credits, paid_amount, refunded_amount, withheld_credits, reversals,
      credited_at
    from public.transactions order by id"""
PAID = ((1_600_000, 0), (1_700_000, 100_000), (1_634_000, 1_600_000), (1_600_000, 400_000))
"""What was paid for 1,600,000 kobo, and what of it was refunded."""


def test_no_ledger_moves_by_the_change_of_the_rule_and_older_payments_wait_to_be_measured_anew(
    fresh: Database, tmp_path: Path
) -> None:
    apply_older(fresh, tmp_path, MEASURED_SINCE)
    supabase.apply_seed(fresh.url(), SEED)
    with fresh.connect() as db:
        db.execute("update public.credit_packages set active = true")
        user_id, references = sign_up(db), []
        for paid, refunded_amount in PAID:
            order = open_order(db, user_id)
            references.append(order["reference"])
            credit(db, order, p_paid_amount=paid)
            told = {"p_reference": order["reference"], "p_refunded": refunded_amount}
            by_service(db, "record_reversals", **told, p_disputes=Jsonb([]))
        waiting = open_order(db, user_id)
        before = ledger(db, user_id), rows(db, KEPT), profile(db, user_id)["credits"]
        assert [one["delta"] for one in before[0]] == [500, 500, 500, -30, 500, -490, 500, -125]
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert (ledger(db, user_id), rows(db, KEPT), profile(db, user_id)["credits"]) == before
        assert value(db, "select count(*) from keyfund.audit_account(%s)", user_id) == 0
        unmeasured = by_service(db, "list_unmeasured", p_after=None, p_limit=10)
        assert unmeasured == sorted(references[1:])
        assert credit(db, waiting)["credited"]
        due = [0, 0, 500, 125]
        for reference, (_, refunded_amount), fee in zip(references, PAID, (0, 0, 34_000, 0), strict=True):
            told = {"p_reference": reference, "p_refunded": refunded_amount, "p_borne_fee": fee}
            by_service(db, "record_reversals", **told, p_disputes=Jsonb([]))
        assert [payment(db, one)["withheld_credits"] for one in references] == due
        assert by_service(db, "list_unmeasured", p_after=None, p_limit=10) == []


# ------------------------------------------------------- a database that has been lived in


def test_a_database_of_before_is_brought_up_to_date_with_its_ledger_unchanged(
    fresh: Database, tmp_path: Path
) -> None:
    """Bans, soft deletions and grants are followed by the sweep, not by the migrations."""
    apply_older(fresh, tmp_path, MEASURED_SINCE)
    supabase.apply_seed(fresh.url(), SEED)
    with fresh.connect() as db:
        db.execute("update public.credit_packages set active = true")
        buyer, yahoo, banned, gone, suspended = (sign_up(db, email) for email in LIVED_IN)
        unconfirmed = sign_up(db, "name+x@example.com", email_confirmed_at=None)
        owner = sign_up(db, "name@example.com")
        for user_id in (buyer, banned, gone):
            synced_key(db, user_id)
        credit(db, open_order(db, buyer))
        finish(db, claim(db, buyer), spend_micros=123_456)
        ban(db, banned, hours=1)
        soft_delete(db, gone)
        db.execute("update public.profiles set status = 'suspended' where id = %s", [suspended])
        db.execute("update keyfund.settings set key_budget_duration = '30 days'")
        before = kept(db)
        supabase.apply_migrations(fresh.url(), MIGRATIONS)
        assert kept(db) == before
        assert value(db, "select key_budget_duration from keyfund.settings") == "30d"
        assert by_service(db, "heal_accounts") == HEALED | {"changed": 1, "closed": 1}
        assert [profile(db, one)["status"] for one in (banned, gone, suspended, buyer)] == [
            "suspended",
            "deleted",
            "suspended",
            "active",
        ]
        assert [profile(db, one)["credits"] for one in (unconfirmed, owner)] == [500, 500]
        assert profile(db, sign_up(db, "x-2@yahoo.com"))["credits"] == 0
        assert profile(db, yahoo)["credits"] == 500
        assert value(db, "select count(*) from keyfund.audit_account(%s)", buyer) == 0


LIVED_IN = ("ana@example.com", "x-1@yahoo.com", "banned@example.com", "gone@example.com", "held@example.com")


def kept(db: Connection) -> list[list[dict[str, object]]]:
    """The ledger, and what every account has."""
    return [
        rows(db, "select * from public.credit_ledger order by id"),
        rows(db, "select id, credits, email from public.profiles order by id"),
        rows(db, "select user_id, wallet_credits, booked_micros from keyfund.accounts order by 1"),
        rows(db, "select id, state, key_hash, max_budget from public.virtual_keys order by id"),
    ]
