"""Projects that live already: what they have, what a sign-up does there, and Keyfund's files among theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from dev import supabase
from keyfund.__main__ import build_parser
from operate.__main__ import carry_out
from tests.sql import acting
from tests.support import Connection, Database

FIXTURES = Path(__file__).parents[1] / "fixtures" / "living"
BESIDE = "keyfund_api"


@dataclass(frozen=True)
class Living:
    """A project. ``told`` is what people say of themselves; ``made`` counts what a sign-up makes."""

    name: str
    made: str
    told: Mapping[str, object] = field(default_factory=dict)

    @property
    def script(self) -> str:
        return (FIXTURES / f"{self.name}.sql").read_text()


STRICT = {"country": "KE", "born_on": "1990-01-01"}
ALL = (
    Living(
        "quickstart",
        "select count(full_name) from public.profiles where id = %s",
        {"full_name": "Ana"},
    ),
    Living("shop", "select count(*) from public.audit_log where what = 'user ' || %s::text"),
    Living("document", "select count(*) from public.virtual_keys where user_id = %s"),
    Living("teams", "select count(*) from public.members where user_id = %s and role = 'owner'"),
    Living("store", "select count(*) from public.customers where user_id = %s"),
    Living("chat", "select count(*) from public.people where id = %s"),
    Living("strict", "select count(*) from public.profiles where id = %s and country = 'KE'", STRICT),
)
BY_NAME = {one.name: one for one in ALL}


def begin(living: Living, database: Database, folder: Path) -> None:
    """Their own migration, as the first file of their folder, and one person from before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "20250101000000_ours.sql").write_text(living.script)
    push(database, folder)
    with database.connect() as db:
        sign_up(living, db, "before")


def push(database: Database, folder: Path) -> list[str]:
    """As `supabase db push`: one transaction a file, as a role that is no superuser."""
    return supabase.apply_migrations(database.url(), folder)


def keyfund(*words: str | Path) -> int:
    """Run the command; returns its exit status."""
    return carry_out(build_parser().parse_args([str(word) for word in words]))


def sign_up(living: Living, db: Connection, name: str) -> UUID:
    """Sign somebody up as Supabase Auth does, and see that their project made what it makes."""
    told = {**living.told, "username": name} if living.told else {}
    user_id = acting.sign_up(db, f"{name}@example.com", raw_user_meta_data=Jsonb(told))
    assert acting.value(db, living.made, user_id) == 1
    return user_id


def credits_of(db: Connection, schema: str, user_id: UUID) -> int | None:
    """What a person was granted; None: there is no account of theirs."""
    query = sql.SQL("select credits from {}.profiles where id = %s").format(sql.Identifier(schema))
    found = db.execute(query, [user_id]).fetchone()
    return found and int(found[0])
