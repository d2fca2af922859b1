"""The stand-in's PostgREST and GoTrue alone, on a database of their own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt

from dev import supabase
from dev.child import Child
from dev.stack import ROOT, free_port
from tests.support import Connection, Database, SqlServer


@dataclass
class Site:
    """PostgREST on a database of its own."""

    url: str
    keys: supabase.Keys
    database: Database
    db: Connection

    def send(
        self, method: str, path: str, bearer: str | None = None, key: str = "secret", **request: Any
    ) -> httpx.Response:
        headers = {"apikey": getattr(self.keys, key), **request.pop("headers", {})}
        if bearer is not None:
            headers["authorization"] = bearer
        return httpx.request(method, f"{self.url}/rest/v1{path}", headers=headers, timeout=30, **request)

    def rpc(self, function: str, content: Any = None, **request: Any) -> httpx.Response:
        if isinstance(content, bytes):
            return self.send("POST", f"/rpc/{function}", content=content, **request)
        return self.send("POST", f"/rpc/{function}", json=content or {}, **request)

    def token(self, **other: object) -> str:
        claims = {"sub": str(uuid4()), "aud": "authenticated", "role": "authenticated", **other}
        claims.setdefault("exp", int(time.time()) + 600)
        return jwt.encode(claims, self.keys.jwt_secret)


@contextmanager
def serving(server: SqlServer, more_sql: str = "") -> Iterator[Site]:
    with server.database("locked") as database, database.connect() as db:
        db.execute(more_sql.encode())
        keys = supabase.Keys.random()
        part = supabase.part(
            ROOT, address=database.address, database=database.name, port=free_port(), keys=keys
        )
        child = Child(part, server.home / f"{database.name}.supabase.log", {})
        child.spawn()
        try:
            child.wait_ready()
            yield Site(part.url, keys, database, db)
        finally:
            child.stop()


def told(answer: httpx.Response) -> tuple[int, str]:
    """A refusal: its status and code."""
    return answer.status_code, answer.json()["code"]
