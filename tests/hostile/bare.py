"""PostgREST and GoTrue on a database of their own: nobody but the test changes anything in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from dev import supabase
from dev.child import Child
from dev.stack import ROOT, UNHURRIED, free_port
from tests.hostile.evidence import Evidence
from tests.support import Connection, Database, SqlServer, User

Json = dict[str, Any]
SCHEMAS = ("public", "keyfund", "auth")
OWNERS = ("user_id", "account_id", "id")


@dataclass
class Bare:
    """Supabase alone."""

    url: str
    keys: supabase.Keys
    database: Database
    db: Connection
    evidence: Evidence
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = self.evidence.client()
        for what, secret in (("the service key", self.keys.secret), ("the JWT secret", self.keys.jwt_secret)):
            self.evidence.keep_secret(what, secret)

    @classmethod
    @contextmanager
    def running(cls, server: SqlServer, evidence: Evidence) -> Iterator["Bare"]:
        with server.database("locked") as database, database.connect() as db:
            keys = supabase.Keys.random()
            part = supabase.part(
                ROOT, address=database.address, database=database.name, port=free_port(), keys=keys
            )
            child = Child(part, server.home / f"{database.name}.supabase.log", {})
            child.spawn()
            db.execute(UNHURRIED)
            bare = cls(part.url, keys, database, db, evidence)
            try:
                child.wait_ready()
                yield bare
            finally:
                bare.remember()
                bare.http.close()
                child.stop()

    def remember(self) -> None:
        """Register the secrets that exist only while this database does."""
        for role, word in self.database.address.passwords.items():
            self.evidence.keep_secret(f"{role}'s database password", word)
        rows = self.db.execute("select litellm_key_id, user_id::text from public.virtual_keys").fetchall()
        for key, owner in rows:
            self.evidence.keep_secret("a LiteLLM key", key or "", owner)

    # ------------------------------------------------------------------- people

    def sign_up(self, email: str | None = None, **more: object) -> User:
        answer = self.try_sign_up(email, **more)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        password: str = answer.extensions["password"]
        user = User(body["user"]["id"], body["user"]["email"], password, body["access_token"])
        return self.evidence.meet(user)

    def try_sign_up(self, email: str | None = None, **more: object) -> httpx.Response:
        """A sign-up that may be refused; ``more`` goes into the body as it is."""
        password = uuid4().hex
        answer = httpx.post(
            f"{self.url}/auth/v1/signup",
            headers={"apikey": self.keys.publishable},
            json={"email": email or f"user-{uuid4().hex[:12]}@example.com", "password": password, **more},
            timeout=30,
        )
        answer.extensions["password"] = password
        return answer

    def headers(self, who: User | str) -> dict[str, str]:
        """``who``: a user, "anon" or "service"."""
        if isinstance(who, User):
            return {"apikey": self.keys.publishable, "Authorization": f"Bearer {who.token}"}
        return {"apikey": self.keys.secret if who == "service" else self.keys.publishable}

    def rest(self, who: User | str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {**self.headers(who), **request.pop("headers", {})}
        return self.http.request(method, f"{self.url}/rest/v1{path}", headers=headers, **request)

    def rpc(self, who: User | str, function: str, **arguments: object) -> httpx.Response:
        return self.rest(who, "POST", f"/rpc/{function}", json=arguments)

    # --------------------------------------------------------------------- rows

    def tables(self) -> list[str]:
        rows = self.db.execute(
            "select nspname || '.' || relname from pg_class c join pg_namespace n on n.oid = relnamespace "
            "where relkind = 'r' and (nspname in ('public', 'keyfund') or relname = 'users') order by 1"
        ).fetchall()
        return [name for (name,) in rows]

    def rows_of_others(self, attacker: User | None = None) -> dict[str, list[Json]]:
        """Every row of every table that is neither the attacker's own nor of a team that they made."""
        own = self.accounts_of(attacker) if attacker else set()
        seen: dict[str, list[Json]] = {}
        for table in self.tables():
            rows = self.db.execute(f"select to_jsonb(t) from {table} t order by 1".encode()).fetchall()
            seen[table] = [row for (row,) in rows if own.isdisjoint(owners(row))]
        return seen

    def accounts_of(self, user: User) -> set[str]:
        made = "select account_id::text from public.members where user_id = %s and role = 'owner'"
        return {user.id, *(account_id for (account_id,) in self.db.execute(made, [user.id]))}

    def key(self, user: User, **limits: object) -> Json:
        answer = self.rpc(user, "create_virtual_key", name="Key", **limits)
        assert answer.status_code == 200, answer.text
        row: Json = answer.json()
        return row

    def order(self, user: User, package_id: str = "starter-ngn") -> Json:
        answer = self.rpc("service", "open_order", p_user_id=user.id, p_package_id=package_id)
        assert answer.status_code == 200, answer.text
        row: Json = answer.json()
        return row

    def credits(self, user_id: str) -> int:
        row = self.db.execute("select credits from public.profiles where id = %s", [user_id]).fetchone()
        assert row is not None
        return int(row[0])

    def value(self, query: str, *arguments: object) -> Any:
        row = self.db.execute(query.encode(), arguments).fetchone()
        return row[0] if row else None


def owners(row: Json) -> set[str]:
    return {str(row[name]) for name in OWNERS if row.get(name)}


def unbalanced(db: Connection) -> list[tuple[object, ...]]:
    """Accounts whose credits are not the sum of their ledger."""
    return db.execute(
        "select p.id, p.credits from public.profiles p left join public.credit_ledger l on l.account_id = p.id "
        "group by p.id having p.credits <> coalesce(sum(l.delta), 0)"
    ).fetchall()
