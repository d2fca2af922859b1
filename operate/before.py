"""A project's tables of before, moved aside to a schema of their own, and back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from core.errors import RefusedError
from operate.installation import Connection

ASIDE = "keyfund_before"
TABLES = ("profiles", "virtual_keys", "transactions")
NEEDED = {
    "profiles": ("id", "credits"),
    "virtual_keys": ("user_id", "litellm_key_id"),
    "transactions": ("id", "user_id", "reference", "amount", "status"),
}
"""Without these it is no installation of the document; some have no payments yet, and no table of them."""

COLUMNS = """
    select c.relname, array_agg(a.attname::text) from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any (%s)
    group by c.relname
"""

# Theirs where its source names one of the tables without a schema, or in public. Comments do not count.
TRIGGERS = r"""
    select t.tgname::text, t.tgenabled = 'O' and t.tgconstraint = 0, pg_catalog.pg_get_triggerdef(t.oid)
    from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
    where t.tgrelid = 'auth.users'::regclass and not t.tgisinternal
      and (p.pronamespace = 'public'::regnamespace and p.proname = 'handle_new_user'
        or regexp_replace(regexp_replace(p.prosrc, '/\*.*?\*/', ' ', 'g'), '--[^\n]*', ' ', 'g') ~* (
          '(^|[^[:alnum:]_$."]|[^[:alnum:]_$]"?public"?\s*\.\s*)"?'
          '(profiles|virtual_keys|transactions)"?($|[^[:alnum:]_$"])'))
    order by t.tgname
"""

FUNCTIONS = """
    select p.oid::regprocedure::text from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname = 'handle_new_user'
"""

# Of others: what depends on the tables and does not belong to one of them.
LEANING = """
    with recursive moved (classid, objid) as (
      select 'pg_class'::regclass::oid, c.oid from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = %(schema)s and c.relname = any (%(tables)s) and c.relkind in ('r', 'p')
      union
      select d.classid, d.objid from pg_catalog.pg_depend d
        join moved m on (d.refclassid, d.refobjid) = (m.classid, m.objid)
      where d.deptype in ('a', 'i', 'P', 'S')
    )
    select distinct pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
    from pg_catalog.pg_depend d join moved m on (d.refclassid, d.refobjid) = (m.classid, m.objid)
    where d.deptype = 'n' and not exists (select from moved where (classid, objid) = (d.classid, d.objid))
    order by 1
"""

MOVE = """\
lock table auth.users in share row exclusive mode; -- until this is over nobody signs up or in
create schema keyfund_before;
comment on schema keyfund_before is
  'What the project had before Keyfund took it over, until that is confirmed.';
create table keyfund_before.takeover (
  at timestamptz not null default now(),
  back text[] not null,
  litellm jsonb not null default '{}'
);
comment on table keyfund_before.takeover is 'How the takeover is undone, and what LiteLLM held before it.';
alter table keyfund_before.takeover enable row level security;
revoke all on keyfund_before.takeover from public, anon, authenticated, service_role;
"""

# Only its table's owner may drop a trigger, and Supabase Auth owns auth.users. The owner of a trigger's
# function may drop the function, and the trigger goes with it.
UNHOOK = """\
create function keyfund_before.unhook() returns trigger language plpgsql set search_path = '' as $$
begin
  return null;
end;
$$;
{replacements}drop function keyfund_before.unhook() cascade;
"""

KEPT = "insert into keyfund_before.takeover (back) values ({back});\n"


@dataclass(frozen=True, slots=True)
class Move:
    """The statements that move a project's tables aside, and those that move them back."""

    tables: tuple[str, ...]
    triggers: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Takeover:
    """A takeover that may still be undone. ``litellm`` is what LiteLLM held before."""

    at: datetime
    back: tuple[str, ...]
    litellm: dict[str, Any]


def find_takeover(connection: Connection) -> Takeover | None:
    if connection.execute("select to_regclass('keyfund_before.takeover')").fetchone() == (None,):
        return None
    found = connection.execute("select at, back, litellm from keyfund_before.takeover").fetchone()
    return None if found is None else Takeover(found[0], tuple(found[1]), found[2])


def plan_move(connection: Connection) -> Move:
    """How to move what there is; changes nothing.

    Raises:
        RefusedError: it is no installation of the document, or something of it cannot be put back.
    """
    tables = find_tables(connection)
    triggers = find_triggers(connection)
    functions = [name for (name,) in connection.execute(FUNCTIONS)]
    moves = [f"table public.{table}" for table in tables] + [f"function {name}" for name in functions]
    back = [f"alter {one.replace('public.', f'{ASIDE}.', 1)} set schema public" for one in moves]
    back += [definition for _, definition in triggers]
    text = MOVE + unhook(connection, [name for name, _ in triggers])
    text += "".join(f"alter {one} set schema {ASIDE};\n" for one in moves)
    text += KEPT.format(back=literal(connection, back))
    return Move(tables, tuple(name for name, _ in triggers), text)


def find_tables(connection: Connection) -> tuple[str, ...]:
    found: dict[str, list[str]] = dict(connection.execute(COLUMNS, [list(TABLES)]).fetchall())
    for table, columns in NEEDED.items():
        missing = sorted(set(columns) - set(found.get(table, ())))
        if missing and (table in found or table != "transactions"):
            raise RefusedError(
                "no_document",
                f"This is no installation of the document: public.{table} has no {' and no '.join(missing)}.",
            )
    if connection.execute("select to_regnamespace(%s)", [ASIDE]).fetchone() != (None,):
        raise RefusedError("aside_taken", f"There is a schema {ASIDE} already: rename it.")
    return tuple(table for table in TABLES if table in found)


def find_triggers(connection: Connection) -> list[tuple[str, str]]:
    """The names and definitions of their triggers that write the tables."""
    found = connection.execute(TRIGGERS).fetchall()
    for name, can_come_back, _ in found:
        if not can_come_back:
            raise RefusedError(
                "odd_trigger",
                f"The trigger {name} on auth.users is switched off, or a constraint: it could not be put "
                "back as it is. Drop it first.",
            )
    return [(name, definition) for name, _, definition in found]


def unhook(connection: Connection, triggers: Sequence[str]) -> str:
    if not triggers:
        return ""
    replacements = (
        f"create or replace trigger {sql.Identifier(name).as_string(connection)} after insert on auth.users\n"
        f"  for each row execute function {ASIDE}.unhook();\n"
        for name in triggers
    )
    return UNHOOK.format(replacements="".join(replacements))


def literal(connection: Connection, texts: Sequence[str]) -> str:
    told = ", ".join(sql.Literal(text).as_string(connection) for text in texts)
    return f"array[{told}]::text[]"


def list_leaning(connection: Connection, schema: str) -> Iterator[str]:
    """What of others goes on meaning the tables, wherever they are: views, foreign keys, policies."""
    given = {"schema": schema, "tables": list(TABLES)}
    return (str(one) for (one,) in connection.execute(LEANING, given))


def keep_litellm(connection: Connection, held: dict[str, Any]) -> None:
    connection.execute("update keyfund_before.takeover set litellm = %s", [Jsonb(held)])


def put_back(connection: Connection, takeover: Takeover) -> None:
    """Move everything back; what was in its place must be gone."""
    connection.execute("drop table keyfund_before.takeover")
    for statement in takeover.back:
        connection.execute(statement.encode())
    connection.execute("drop schema keyfund_before")
