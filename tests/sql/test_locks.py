"""Locks are taken in one order everywhere: the profile first. Else two wait for each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    by_owner,
    by_service,
    claim,
    credit,
    fail,
    open_order,
    sign_up,
    synced_key,
    value,
    wait_until_blocked,
)
from tests.support import Connection, Database

PROFILE = "select from public.profiles where id = %s for update"


@contextmanager
def blocked(
    database: Database, db: Connection, lock: str, values: list[object], act: Callable[[Connection], object]
) -> Iterator[None]:
    """Run something that waits for this lock, and look at what it holds meanwhile."""
    with database.connect() as holder, database.connect() as waiter:
        with holder.transaction():
            holder.execute(lock.encode(), values)
            late = Thread(target=act, args=[waiter])
            late.start()
            wait_until_blocked(db)
            yield
        late.join(timeout=30)


def is_free(db: Connection, query: str, *values: object) -> bool:
    try:
        db.execute(f"{query} for update nowait".encode(), values)
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def test_a_reversal_waits_for_the_profile_before_it_holds_the_payment(
    database: Database, db: Connection
) -> None:
    """A push holds the profile when it writes the payment's times."""
    user_id = sign_up(db)
    credit(db, order := open_order(db, user_id))

    def reverse(connection: Connection) -> None:
        arguments = {"p_reference": order["reference"], "p_refunded": 5, "p_disputes": Jsonb([])}
        by_service(connection, "record_reversals", **arguments)

    with blocked(database, db, PROFILE, [user_id], reverse):
        assert is_free(db, "select from public.transactions where reference = %s", order["reference"])


def test_a_credit_waits_for_the_profile_before_it_holds_the_payment(
    database: Database, db: Connection
) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    with blocked(database, db, PROFILE, [user_id], lambda connection: credit(connection, order)):
        assert is_free(db, "select from public.transactions where reference = %s", order["reference"])


CHANGES: dict[str, Callable[[Connection, UUID, UUID], object]] = {
    "block": lambda db, user_id, key_id: by_owner(db, user_id, "block_virtual_key", key_id=key_id),
    "revoke": lambda db, user_id, key_id: by_owner(db, user_id, "revoke_virtual_key", key_id=key_id),
    "change": lambda db, user_id, key_id: by_owner(
        db, user_id, "update_virtual_key", key_id=key_id, rpm_limit=7
    ),
    "retire": lambda db, _user_id, _key_id: by_service(db, "retire_keys", p_limit=10),
    "count": lambda db, _user_id, key_id: by_service(
        db,
        "count_share",
        p_key_hash=value(db, "select key_hash from public.virtual_keys where successor_id = %s", key_id),
        p_is_there=False,
        p_is_blocked=False,
        p_budget_cents=None,
        p_spent_cents=None,
        p_resets_at=None,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_rotated_key_waits_for_the_profile_before_it_holds_the_account(
    database: Database, db: Connection, change: str
) -> None:
    """It writes two keys, so the account twice, after which PostgreSQL locks the profile by itself."""
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"], overlap_seconds=60)
    db.execute("update public.virtual_keys set retires_at = now() where retires_at is not null")

    def act(connection: Connection) -> None:
        CHANGES[change](connection, user_id, made["id"])

    with blocked(database, db, PROFILE, [user_id], act):
        assert is_free(db, "select from keyfund.pushes where account_id = %s", user_id)


def test_a_breaker_that_closes_waits_for_nobody(database: Database, db: Connection) -> None:
    """Whoever holds an account or a key may be waiting for the breaker."""
    user_id = sign_up(db)
    made = by_owner(db, user_id, "create_virtual_key")
    for _ in range(3):
        fail(db, claim(db, user_id), "transient", p_retry_after_seconds=50)
        db.execute("update keyfund.gateways set opened_at = null where failures < 3")
    with database.connect() as other, other.transaction():
        other.execute("select from keyfund.pushes for update")
        other.execute("select from public.virtual_keys where id = %s for update", [made["id"]])
        db.execute("set lock_timeout = '200ms'")
        by_service(db, "report_gateway", p_name="litellm", p_ok=True)
    assert by_service(db, "read_status")["breaker"] == "closed"
