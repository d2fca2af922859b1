"""What holds of every table and function, whoever adds one."""

import re

import pytest

from tests.sql.acting import Row, rows
from tests.sql.allowed import CALLED_BY_PEOPLE, WITHOUT_INDEX
from tests.support import Connection

BODIES = """
    select p.oid::regprocedure::text as name, p.prosrc as body from pg_proc p
    where p.pronamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
"""


def test_every_function_has_an_empty_search_path(settled: Connection) -> None:
    found = rows(
        settled,
        """select oid::regprocedure::text as name from pg_proc
        where pronamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and not coalesce('search_path=""' = any (proconfig), false)""",
    )
    assert found == []


def test_every_function_with_its_owner_s_rights_that_people_may_call_is_meant(settled: Connection) -> None:
    """What the advisors' lints 0028 and 0029 look for; the CLI's copy of them is older."""
    query = """select proname from pg_proc where pronamespace = 'public'::regnamespace and prosecdef
        and has_function_privilege(%s, oid, 'execute')"""
    assert {one["proname"] for one in rows(settled, query, "authenticated")} == set(CALLED_BY_PEOPLE)
    assert rows(settled, query, "anon") == []


def test_every_table_has_row_level_security(settled: Connection) -> None:
    found = rows(
        settled,
        """select oid::regclass::text as name from pg_class
        where relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and relkind in ('r', 'p') and not relrowsecurity""",
    )
    assert found == []


def test_every_table_and_exposed_function_says_what_it_is(settled: Connection) -> None:
    found = rows(
        settled,
        """select oid::regclass::text as name from pg_class
        where relnamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and relkind in ('r', 'p') and obj_description(oid, 'pg_class') is null""",
    )
    assert found == []


def test_every_view_acts_with_the_rights_of_who_reads_it(settled: Connection) -> None:
    found = rows(
        settled,
        """select oid::regclass::text as name from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'v'
          and not coalesce('security_invoker=true' = any (reloptions), false)""",
    )
    assert found == []


def test_policies_ask_for_the_caller_once_per_statement(settled: Connection) -> None:
    found = rows(settled, "select qual, with_check from pg_policies where schemaname = 'public'")
    for one in found:
        text = f"{one['qual']} {one['with_check']}"
        assert text.count("auth.uid()") == len(re.findall(r"select auth\.uid\(\)", text, re.IGNORECASE)), text


def test_every_foreign_key_has_an_index(settled: Connection) -> None:
    found = rows(
        settled,
        """select c.conrelid::regclass::text as table, a.attname as column from pg_constraint c
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        where c.contype = 'f' and c.connamespace in ('public'::regnamespace, 'keyfund'::regnamespace)
          and not exists (select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]
            and i.indpred is null)""",
    )
    assert [one for one in found if f"{one['table']}.{one['column']}" not in WITHOUT_INDEX] == []


def test_every_column_of_a_policy_has_an_index(settled: Connection) -> None:
    columns = rows(
        settled,
        """select distinct p.polrelid::regclass::text as table, a.attname as column from pg_policy p
        join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
          and d.refclassid = 'pg_class'::regclass and d.refobjid = p.polrelid
        join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where not exists (select from pg_index i where i.indrelid = a.attrelid and i.indkey[0] = a.attnum
          and i.indpred is null)""",
    )
    missing = {f"public.{str(one['table']).rpartition('.')[2]}.{one['column']}" for one in columns}
    assert missing == {one for one in WITHOUT_INDEX if one.startswith("public.")}


# --- safeupdate ---------------------------------------------------------------------------------------------


def statements_without_where(body: str) -> list[str]:
    """UPDATEs and DELETEs in a function's body that have no WHERE of their own."""
    text = re.sub(r"--[^\n]*", " ", body)
    text = re.sub(r"'(?:[^']|'')*'", "''", text).lower()
    text = re.sub(r"\b(do|for|no key)\s+update\b", " ", text)  # on conflict do update; for update
    starts = re.finditer(r"\bupdate\s+[\w.]+\s+(?:as\s+)?(?:\w+\s+)?set\b|\bdelete\s+from\b", text)
    return [found for start in starts if not has_where(found := statement_from(text, start.start()))]


def statement_from(text: str, start: int) -> str:
    """From here to the end of the statement: a semicolon, or the parenthesis that encloses it."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "(":
            depth += 1
        elif text[position] == ")":
            depth -= 1
        if depth < 0 or (text[position] == ";" and depth == 0):
            return text[start:position]
    return text[start:]


def has_where(statement: str) -> bool:
    while (shorter := re.sub(r"\([^()]*\)", " ", statement)) != statement:
        statement = shorter
    return re.search(r"\bwhere\b", statement) is not None


def test_no_function_updates_or_deletes_without_where(settled: Connection) -> None:
    """Supabase loads safeupdate for API requests: such a statement fails there, in functions too."""
    bodies = rows(settled, BODIES)
    assert len(bodies) > 40
    found: list[Row] = [one for one in bodies if statements_without_where(one["body"])]
    assert found == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("update a set b = 1;", 1),
        ("update a set b = 1 where true;", 0),
        ("update a.b c set d = (select 1 where true);", 1),
        ("with x as (update a set b = 1) select from x where true;", 1),
        ("with x as (select 1) update a t set b = 1 from x where t.id = x.id;", 0),
        ("delete from a; select 1 where true;", 1),
        ("insert into a values (1) on conflict (id) do update set b = 1;", 0),
        ("select from a for update;", 0),
        ("select 'update a set b = 1;'; -- delete from a;", 0),
    ],
)
def test_the_look_for_a_missing_where_can_fail(body: str, found: int) -> None:
    assert len(statements_without_where(body)) == found
