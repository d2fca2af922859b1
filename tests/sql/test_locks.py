"""Locks are taken in one order everywhere: profile, account, gateway, key or payment. Else two wait for ever."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import psycopg
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    by_owner,
    by_service,
    claim,
    credit,
    fail,
    open_order,
    results,
    sign_up,
    synced_key,
    wait_until_blocked,
)
from tests.support import Connection, Database

PROFILE = "select from public.profiles where id = %s for update"
GATEWAY = "select from keyfund.gateways for update"


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


def test_a_failed_push_waits_for_the_breaker_before_it_holds_a_key(
    database: Database, db: Connection
) -> None:
    """A push that finds LiteLLM back holds the breaker when it makes all failed keys due."""
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    push: Row = claim(db, user_id)

    def give_up(connection: Connection) -> None:
        fail(connection, push, "transient", p_keys=Jsonb(results(push)))

    with blocked(database, db, GATEWAY, [], give_up):
        assert is_free(db, "select from public.virtual_keys where id = %s", made["id"])
