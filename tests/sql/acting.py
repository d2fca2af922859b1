"""Acting on the database as its callers do: people who sign up, owners of keys, the service; and time."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Barrier
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.support import Connection, Database, as_role, eventually

T = TypeVar("T")
Row = dict[str, Any]

CREDIT_MICROS = 20_000
"""What one credit buys, in micro-dollars, at the default of 2 cents."""

FENCES: Row = {
    "open_routes": ["chat", "completions", "embeddings"],
    "proved": {},
    "key_max_parallel": 10,
    "account_max_parallel": 20,
}
"""What every key is held to besides its limits, until an operator changes it."""

HEALED: Row = {"opened": 0, "changed": 0, "unbanned": 0, "closed": 0, "strays": 0}
"""What the sweep says when it found nothing to mend."""


# --- people -------------------------------------------------------------------------------------------------


def sign_up(db: Connection, email: str | None = "", **columns: object) -> UUID:
    """Insert a user as GoTrue does where nothing is confirmed by hand, and return their id.

    The e-mail is made up unless given (or None). Both kinds of address are confirmed unless told otherwise.
    """
    user_id, now = uuid4(), datetime.now(UTC)
    values = {
        "id": user_id,
        "aud": "authenticated",
        "role": "authenticated",
        "email": f"user-{user_id.hex[:12]}@example.com" if email == "" else email,
        "email_confirmed_at": now if email is not None else None,
        "phone_confirmed_at": now if "phone" in columns else None,
    } | columns
    statement = sql.SQL("insert into auth.users ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(sql.Placeholder() * len(values))
    )
    with as_role(db, "supabase_auth_admin"):
        db.execute(statement, list(values.values()))
    return user_id


def change_user(db: Connection, user_id: UUID, **columns: object) -> None:
    """Update a user as GoTrue does."""
    pairs = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns]
    statement = sql.SQL("update auth.users set {} where id = %s").format(sql.SQL(", ").join(pairs))
    with as_role(db, "supabase_auth_admin"):
        db.execute(statement, [*columns.values(), user_id])


def soften(user_id: UUID, value: str | None) -> str:
    """What GoTrue leaves of an address when it deletes a user softly: base64url(sha256(id || address))."""
    digest = sha256(f"{user_id}{value or ''}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def soft_delete(db: Connection, user_id: UUID) -> None:
    """Delete a user as GoTrue's admin API does with `should_soft_delete`: in three updates."""
    user = row(db, "select email, phone from auth.users where id = %s", user_id)
    email, phone = soften(user_id, user["email"]), soften(user_id, user["phone"])[:15]
    with db.transaction():
        change_user(
            db, user_id, email=email, phone=phone, encrypted_password=None, deleted_at=datetime.now(UTC)
        )
        change_user(db, user_id, raw_user_meta_data=Jsonb({}))
        change_user(db, user_id, raw_app_meta_data=Jsonb({}))


def ban(db: Connection, user_id: UUID, **lasting: float) -> None:
    """Ban a user as GoTrue's admin API does with `ban_duration`; for no time: lift the ban."""
    until = datetime.now(UTC) + timedelta(**lasting) if lasting else None
    change_user(db, user_id, banned_until=until)


def delete_user(db: Connection, user_id: UUID) -> None:
    with as_role(db, "supabase_auth_admin"):
        db.execute("delete from auth.users where id = %s", [user_id])


@contextmanager
def without_triggers(db: Connection) -> Iterator[None]:
    """Write as if a trigger had failed, or as if time had passed."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")
        yield
        db.execute("set local session_replication_role = origin")


# --- calls --------------------------------------------------------------------------------------------------


def call_all(db: Connection, function: str, **arguments: object) -> list[Any]:
    """Every row that a function in `public` returns: a dict for a composite, else the value."""
    given = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in arguments
    )
    statement = sql.SQL("select * from public.{}({}) answer").format(sql.Identifier(function), given)
    rows = db.cursor(row_factory=dict_row).execute(statement, list(arguments.values())).fetchall()
    return [row["answer"] if set(row) == {"answer"} else row for row in rows]


def by_owner(db: Connection, user_id: UUID | None, function: str, /, **arguments: object) -> Any:
    """Call a function with the user's own token."""
    with as_role(db, "authenticated", user_id):
        return call_all(db, function, **arguments)[0]


def by_service(db: Connection, function: str, **arguments: object) -> Any:
    """Call a function with the service key, and return its one answer."""
    with as_role(db, "service_role"):
        return call_all(db, function, **arguments)[0]


def all_by_service(db: Connection, function: str, **arguments: object) -> list[Any]:
    with as_role(db, "service_role"):
        return call_all(db, function, **arguments)


@contextmanager
def refused(status: int, code: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """Expect one of our own refusals: an HTTP status for PostgREST, a code for clients."""
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    assert (caught.value.sqlstate, caught.value.diag.message_detail) == (f"PT{status}", code)


# --- what is stored -----------------------------------------------------------------------------------------


def rows(db: Connection, query: str, *values: object) -> list[Row]:
    return db.cursor(row_factory=dict_row).execute(query.encode(), values).fetchall()


def row(db: Connection, query: str, *values: object) -> Row:
    (only,) = rows(db, query, *values)
    return only


def value(db: Connection, query: str, *values: object) -> Any:
    (only,) = row(db, query, *values).values()
    return only


def profile(db: Connection, user_id: UUID) -> Row:
    return row(db, "select * from public.profiles where id = %s", user_id)


def account(db: Connection, account_id: UUID) -> Row:
    """The account's wallet, its push, and its person's sign-up."""
    return row(
        db,
        """select * from keyfund.wallets join keyfund.pushes using (account_id)
        left join keyfund.roll_ups using (account_id) left join keyfund.signups on user_id = account_id
        where account_id = %s""",
        account_id,
    )


def key(db: Connection, key_id: UUID) -> Row:
    return row(db, "select * from public.virtual_keys where id = %s", key_id)


def keys(db: Connection, user_id: UUID) -> list[Row]:
    return rows(db, "select * from public.virtual_keys where user_id = %s order by created_at, id", user_id)


def ledger(db: Connection, user_id: UUID) -> list[Row]:
    return rows(db, "select * from public.credit_ledger where user_id = %s order by id", user_id)


def payment(db: Connection, reference: str) -> Row:
    return row(db, "select * from public.transactions where reference = %s", reference)


def append(
    db: Connection, user_id: UUID, delta: int, kind: str = "adjustment", cause: str = ""
) -> int | None:
    """Append a ledger entry, as the functions that move credits do; its cause is made up unless given."""
    entry = value(
        db, "select keyfund.append_entry(%s, %s, %s, %s)", user_id, delta, kind, cause or f"test:{uuid4()}"
    )
    return None if entry is None else int(entry)


def make_due(db: Connection, user_id: UUID) -> None:
    value(db, "select keyfund.touch_account(%s)", user_id)


# --- pushes -------------------------------------------------------------------------------------------------


def claim(db: Connection, user_id: UUID, lease_seconds: int = 60) -> Row:
    """Lease this account, which must be free and have something outstanding."""
    push: Row | None = by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=lease_seconds)
    assert push is not None
    return push


def results(push: Row, outcome: str = "synced", **more: str) -> list[Row]:
    """The same outcome for every key of a push."""
    return [
        {"id": one["id"], "key_hash": one["key_hash"], "revision": one["revision"], "outcome": outcome} | more
        for one in push["keys"]
    ]


def finish(
    db: Connection,
    push: Row,
    outcomes: list[Row] | None = None,
    spend_micros: int | None = None,
    **more: object,
) -> bool:
    """Report the wallet as confirmed, and all keys as synced unless told otherwise."""
    arguments = {
        "p_account_id": push["user_id"],
        "p_token": push["token"],
        "p_revision": push["revision"],
        "p_spend_micros": push["seen_micros"] if spend_micros is None else spend_micros,
        "p_keys": Jsonb(results(push) if outcomes is None else outcomes),
    } | more
    return bool(by_service(db, "finish_push", **arguments))


def fail(db: Connection, push: Row, kind: str, **more: object) -> bool:
    arguments: Mapping[str, object] = {
        "p_account_id": push["user_id"],
        "p_token": push["token"],
        "p_kind": kind,
        "p_error": f"litellm_{kind}: It did not work.",
    } | more
    return bool(by_service(db, "fail_push", **arguments))


def synced_key(db: Connection, user_id: UUID, **limits: object) -> Row:
    """A key that its owner made and LiteLLM has confirmed."""
    made = by_owner(db, user_id, "create_virtual_key", **limits)
    assert finish(db, claim(db, user_id))
    confirmed = key(db, made["id"])
    assert confirmed["sync_status"] == "synced"
    return confirmed


def open_order(db: Connection, user_id: UUID, package: str = "starter-ngn") -> Row:
    order: Row = by_service(db, "open_order", p_user_id=user_id, p_package_id=package)
    return order


def credit(db: Connection, order: Row, **changes: object) -> Row:
    """Report a payment as Paystack verified it: of the whole price, unless told otherwise."""
    arguments = {
        "p_reference": order["reference"],
        "p_provider_id": uuid4().int % 10**12,
        "p_paid_amount": order["amount"],
        "p_currency": order["currency"],
    } | changes
    answer: Row = by_service(db, "credit_payment", **arguments)
    return answer


# --- time and contenders ------------------------------------------------------------------------------------

CLOCKED = """
    select table_schema, table_name, column_name from information_schema.columns
    where table_schema in ('public', 'keyfund') and data_type = 'timestamp with time zone'
      and table_name in (select tablename from pg_tables where schemaname in ('public', 'keyfund'))
    union all values ('auth', 'users', 'banned_until')
"""


def let_pass(db: Connection, seconds: float) -> None:
    """Move every time on record into the past, which is to the functions as if it were later now."""
    with without_triggers(db):
        for one in rows(db, CLOCKED):
            table = sql.Identifier(one["table_schema"], one["table_name"])
            column = sql.Identifier(one["column_name"])
            statement = sql.SQL("update {0} set {1} = {1} - %s where {1} is not null").format(table, column)
            db.execute(statement, [timedelta(seconds=seconds)])


def at_once(database: Database, count: int, act: Callable[[Connection, int], T]) -> list[T]:
    """What each of so many connections got when all acted at the same moment."""
    barrier = Barrier(count)

    def contend(number: int) -> T:
        with database.connect() as connection:
            barrier.wait(timeout=60)
            return act(connection, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(contend, range(count)))


def wait_until_blocked(db: Connection, connections: int = 1) -> None:
    """Return once so many connections of this database wait for a lock."""
    query = """select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and state = 'active'"""
    assert eventually(lambda: value(db, query) == connections), "nobody waits"
