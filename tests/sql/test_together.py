"""Everything at once on a few accounts: nothing gets in a knot, and the books agree at the end."""

from random import Random
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    CREDIT_MICROS,
    Row,
    append,
    at_once,
    by_owner,
    by_service,
    change_user,
    credit,
    fail,
    finish,
    open_order,
    rows,
    sign_up,
    synced_key,
)
from tests.support import Connection, Database

CALLS, PROCESSES = 40, 6

BOOKS = """
    select p.credits, w.wallet_credits, w.booked_micros, sum(l.delta)::bigint as total,
      -coalesce(sum(l.delta) filter (where l.kind = 'usage'), 0)::bigint as used
    from public.profiles p
    join keyfund.wallets w on w.account_id = p.id join public.credit_ledger l on l.account_id = p.id
    group by p.id, w.account_id
"""
UNCHAINED = """
    select * from (
      select balance_after, sum(delta) over (partition by account_id order by id) as running
      from public.credit_ledger) l
    where balance_after <> running
"""
SYNCED_TOO_EARLY = """
    select * from public.virtual_keys where sync_status = 'synced' and revision > confirmed_revision
"""
WRONG_CAPS = """
    select k.* from public.virtual_keys k join keyfund.wallets w using (account_id)
    where k.cap = 'wallet' and k.state <> 'revoked' and k.max_budget <> greatest(0, w.wallet_credits) * 2
"""


def act(db: Connection, chance: Random, people: list[UUID]) -> None:
    user_id = chance.choice(people)
    match chance.randrange(10):
        case 0:
            by_owner(db, user_id, "create_virtual_key", max_budget=chance.choice([None, 5]))
        case 1 | 2:
            query = "select id from public.virtual_keys where user_id = %s and state <> 'placeholder'"
            key_id = chance.choice(rows(db, query, user_id))["id"]
            function = chance.choice(["block", "unblock", "resync", "revoke", "update", "rotate"])
            by_owner(db, user_id, f"{function}_virtual_key", key_id=key_id)
        case 3 | 4:
            order = open_order(db, user_id)
            credit(db, order)
            reverse(db, order, chance.randrange(order["amount"]))
        case 5:
            append(db, user_id, chance.choice([-7, 11]))
        case 6:
            change_user(db, user_id, email=f"{chance.random()}@example.com")
        case 7:
            by_service(db, "heal_accounts")
            by_service(db, "retire_keys", p_limit=5)
        case _:
            push(db, chance, user_id)


def reverse(db: Connection, order: Row, refunded: int) -> None:
    by_service(
        db,
        "record_reversals",
        p_reference=order["reference"],
        p_refunded=refunded,
        p_disputes=Jsonb([]),
    )


def push(db: Connection, chance: Random, user_id: UUID) -> None:
    claimed = by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60)
    if claimed is None:
        return
    if chance.random() < 0.4:
        fail(db, claimed, chance.choice(["transient", "unknown", "refused"]))
        by_service(db, "report_gateway", p_name="litellm", p_ok=True)
    else:
        finish(db, claimed, spend_micros=claimed["seen_micros"] + chance.randrange(50_000), p_effective="yes")


def test_processes_on_the_same_accounts_never_deadlock_and_every_book_agrees(
    database: Database, db: Connection
) -> None:
    people = [sign_up(db) for _ in range(4)]
    for user_id in people:
        synced_key(db, user_id)

    def run(connection: Connection, number: int) -> None:
        chance = Random(number)
        for _ in range(CALLS):
            try:
                act(connection, chance, people)
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith("PT"):  # our own refusals are answers
                    raise

    at_once(database, PROCESSES, run)
    books = rows(db, BOOKS)
    assert len(books) == len(people)
    for book in books:
        assert book["credits"] == book["total"]
        assert book["wallet_credits"] == book["total"] + book["used"]
        assert book["booked_micros"] // CREDIT_MICROS == book["used"]
    for wrong in (UNCHAINED, SYNCED_TOO_EARLY, WRONG_CAPS):
        assert rows(db, wrong) == []
