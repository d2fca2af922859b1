"""Owner, stranger, anonymous and service against every table and function that is exposed over REST.

What is allowed is written in `allowed.py`; here every combination is tried for real, in both regimes of
default privileges.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.sql.acting import (
    account,
    by_owner,
    call_all,
    keys,
    profile,
    refused,
    row,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.sql.allowed import CALLERS, FUNCTIONS, TABLES, VERBS
from tests.support import Connection, as_role

ROLES = {"owner": "authenticated", "stranger": "authenticated", "anon": "anon", "service": "service_role"}
HOLDS_OWNER = {
    "profiles": "id",
    "virtual_keys": "user_id",
    "transactions": "user_id",
    "credit_ledger": "user_id",
}
FAILED_PRIVILEGE = psycopg.errors.InsufficientPrivilege


@contextmanager
def acting(db: Connection, caller: str) -> Iterator[None]:
    """Act as one of `CALLERS` and undo all of it."""
    claims = owner_of(db, caller) if caller in ("owner", "stranger") else None
    with db.transaction(force_rollback=True), as_role(db, ROLES[caller], claims):
        yield


def owner_of(db: Connection, name: str) -> UUID:
    user_id: UUID = value(db, "select id from auth.users where email = %s", f"{name}@example.com")
    return user_id


def is_refused(db: Connection, caller: str, statement: sql.Composed) -> bool:
    """Whether the statement fails for want of a privilege; another failure means that it was let in."""
    try:
        with acting(db, caller):
            db.execute(statement)
    except FAILED_PRIVILEGE as error:
        return "row-level security" not in str(error)
    except psycopg.Error:
        return False
    return False


def tables(db: Connection) -> set[str]:
    query = """select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"""
    return {one["relname"] for one in rows(db, query)}


# --- what is written down is complete -----------------------------------------------------------------------


def test_every_exposed_table_has_its_line(settled: Connection) -> None:
    assert tables(settled) == set(TABLES)


def test_every_exposed_function_has_its_line(settled: Connection) -> None:
    found = rows(settled, "select proname from pg_proc where pronamespace = 'public'::regnamespace")
    assert sorted(one["proname"] for one in found) == sorted(FUNCTIONS)


# --- every table by every verb by every caller --------------------------------------------------------------

ATTEMPTS = {
    "select": "select * from public.{}",
    "insert": "insert into public.{} default values",
    "update": "update public.{0} set {1} = {1} where true",
    "delete": "delete from public.{} where true",
    "truncate": "truncate public.{} cascade",
}
AN_UPDATABLE_COLUMN = """
    select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and attidentity = ''
    order by attnum limit 1
"""


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("caller", CALLERS)
def test_a_table_lets_in_exactly_those_who_are_listed(settled: Connection, caller: str, table: str) -> None:
    column = value(settled, AN_UPDATABLE_COLUMN, f"public.{table}")
    for verb, attempt in ATTEMPTS.items():
        statement = sql.SQL(attempt).format(sql.Identifier(table), sql.Identifier(column))
        allowed = caller in TABLES[table].get(verb, ())
        assert is_refused(settled, caller, statement) is not allowed, verb


@pytest.mark.parametrize("table", sorted(TABLES))
def test_no_privilege_is_granted_that_is_not_listed(settled: Connection, table: str) -> None:
    granted = {
        (verb, caller)
        for verb in VERBS
        for caller in CALLERS
        if value(settled, "select has_table_privilege(%s, %s, %s)", ROLES[caller], f"public.{table}", verb)
        or (
            verb not in ("delete", "truncate", "trigger")
            and value(
                settled, "select has_any_column_privilege(%s, %s, %s)", ROLES[caller], f"public.{table}", verb
            )
        )
    }
    assert granted == {(verb, caller) for verb, callers in TABLES[table].items() for caller in callers}


def test_no_sequence_is_open_to_an_api_role(settled: Connection) -> None:
    found = rows(
        settled,
        """select s.relname, r.rolname from pg_class s, pg_roles r
        where s.relkind = 'S' and s.relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and r.rolname in ('anon', 'authenticated', 'service_role')
          and has_sequence_privilege(r.rolname, s.oid, 'usage, select, update')""",
    )
    assert found == []


def test_the_private_schema_is_closed_to_every_api_role(settled: Connection) -> None:
    for caller in CALLERS:
        for one in rows(
            settled,
            "select relname from pg_class where relnamespace = 'keyfund'::regnamespace and relkind = 'r'",
        ):
            statement = sql.SQL("select * from keyfund.{}").format(sql.Identifier(one["relname"]))
            assert is_refused(settled, caller, statement), one["relname"]
        for one in rows(settled, FUNCTION_QUERY, "keyfund"):
            assert is_refused(settled, caller, call(one, "keyfund")), one["proname"]


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(HOLDS_OWNER))
def test_people_see_their_own_rows_alone(settled: Connection, table: str) -> None:
    for caller in ("owner", "stranger"):
        with acting(settled, caller):
            seen = rows(settled, f"select * from public.{table}")
        assert seen
        assert {one[HOLDS_OWNER[table]] for one in seen} == {owner_of(settled, caller)}


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_token_of_nobody_we_know_shows_no_rows_of_anyone(settled: Connection, table: str) -> None:
    with settled.transaction(force_rollback=True), as_role(settled, "authenticated", uuid4()):
        seen = rows(settled, f"select * from public.{table}")
    assert bool(seen) is (table == "credit_packages")


@pytest.mark.parametrize("table", sorted(HOLDS_OWNER))
def test_the_service_sees_everyone_s_rows(settled: Connection, table: str) -> None:
    with acting(settled, "service"):
        seen = {one[HOLDS_OWNER[table]] for one in rows(settled, f"select * from public.{table}")}
    assert seen == {owner_of(settled, "owner"), owner_of(settled, "stranger")}


def test_people_see_the_packages_that_are_on_sale_alone(settled: Connection) -> None:
    with settled.transaction(force_rollback=True):
        settled.execute("update public.credit_packages set active = false where id = 'plus-ngn'")
        with as_role(settled, "authenticated", uuid4()):
            seen = {one["id"] for one in rows(settled, "select id from public.credit_packages")}
        assert "starter-ngn" in seen
        assert "plus-ngn" not in seen


# --- every function by every caller -------------------------------------------------------------------------

FUNCTION_QUERY = """
    select proname, prokind, array(select format_type(t, null) from unnest(proargtypes) t) as types
    from pg_proc where pronamespace = %s::regnamespace and prorettype <> 'trigger'::regtype
"""


def call(function: dict[str, object], schema: str) -> sql.Composed:
    """A call with nulls for arguments: let in or not is decided before they are looked at."""
    types = function["types"]
    assert isinstance(types, list)
    nulls = sql.SQL(", ").join(sql.SQL("null::" + one) for one in types)
    return sql.SQL("select {}({})").format(sql.Identifier(schema, str(function["proname"])), nulls)


@pytest.mark.parametrize("caller", CALLERS)
def test_a_function_lets_in_exactly_those_who_are_listed(settled: Connection, caller: str) -> None:
    let_in = {
        str(one["proname"])
        for one in rows(settled, FUNCTION_QUERY, "public")
        if not is_refused(settled, caller, call(one, "public"))
    }
    assert let_in == {name for name, callers in FUNCTIONS.items() if caller in callers}


def test_no_function_is_executable_by_everyone(settled: Connection) -> None:
    found = rows(
        settled,
        """select p.oid::regprocedure::text as function, coalesce(r.rolname, 'public') as role
        from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
          left join pg_roles r on r.oid = a.grantee
        where p.pronamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and (a.grantee = 0 or r.rolname = 'anon'
            or (p.pronamespace = 'keyfund'::regnamespace and a.grantee <> p.proowner))""",
    )
    assert found == []


def test_grants_are_the_same_in_both_regimes(db: Connection, open_db: Connection) -> None:
    query = """
        select relname as name, relacl::text as acl from pg_class
        where relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace) and relkind in ('r', 'v', 'S')
        union all select oid::regprocedure::text, proacl::text from pg_proc
        where pronamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
        order by 1"""
    assert rows(db, query) == rows(open_db, query)


# --- a stranger's key, and what only an administrator may ---------------------------------------------------

OWNERS_FUNCTIONS = [
    "update_virtual_key",
    "block_virtual_key",
    "unblock_virtual_key",
    "revoke_virtual_key",
    "resync_virtual_key",
]


@pytest.mark.parametrize("function", OWNERS_FUNCTIONS)
def test_a_stranger_s_key_is_answered_as_one_that_does_not_exist(db: Connection, function: str) -> None:
    owner, stranger = sign_up(db), sign_up(db)
    made = synced_key(db, owner)
    with pytest.raises(psycopg.Error) as of_stranger:
        by_owner(db, stranger, function, key_id=made["id"])
    with pytest.raises(psycopg.Error) as of_nobody:
        by_owner(db, stranger, function, key_id=uuid4())
    assert (of_stranger.value.sqlstate, str(of_stranger.value)) == (
        of_nobody.value.sqlstate,
        str(of_nobody.value),
    )
    assert of_stranger.value.diag.message_detail == "key_not_found"
    assert keys(db, owner) == [made]


def test_a_token_without_a_person_creates_no_key(db: Connection) -> None:
    with refused(401, "not_signed_in"):
        by_owner(db, None, "create_virtual_key")


def test_a_token_of_a_person_who_was_deleted_creates_no_key(db: Connection) -> None:
    with refused(403, "account_deleted"):
        by_owner(db, uuid4(), "create_virtual_key")


def test_being_an_administrator_takes_effect_and_ends_at_once(db: Connection) -> None:
    user_id = sign_up(db)
    assert by_owner(db, user_id, "is_administrator") is False
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    assert by_owner(db, user_id, "is_administrator") is True
    db.execute("delete from keyfund.administrators where user_id = %s", [user_id])
    assert by_owner(db, user_id, "is_administrator") is False


def test_an_owner_s_functions_work_where_nothing_is_granted_by_default(settled: Connection) -> None:
    with acting(settled, "owner"):
        (made,) = call_all(settled, "create_virtual_key", name="Second")
        (changed,) = call_all(settled, "update_virtual_key", key_id=made["id"], max_budget=5)
        assert (changed["name"], changed["max_budget"], changed["cap"]) == ("Second", 5, "fixed")
        for function in OWNERS_FUNCTIONS[1:]:
            (changed,) = call_all(settled, function, key_id=made["id"])
        assert changed["state"] == "revoked"
    user_id = owner_of(settled, "owner")
    assert profile(settled, user_id)["status"] == "active"
    assert account(settled, user_id)["user_id"] == user_id
    assert row(settled, "select count(*) as keys from public.virtual_keys where user_id = %s", user_id) == {
        "keys": 1
    }
