"""PostgREST without HTTP: the same functions, roles and JSON, with supabase-py's interface on top."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from postgrest import APIError
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.model.process import cross
from tests.support import Connection

SIGNATURE = """
    select p.proretset, p.prorettype = 'void'::regtype,
      array(select format_type(t, null) from unnest(p.proargtypes) t),
      coalesce(p.proargnames[1:p.pronargs], '{}')
    from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = %s"""


@dataclass(frozen=True)
class Signature:
    is_set: bool
    is_void: bool
    types: dict[str, str]


@dataclass(frozen=True)
class Answer:
    data: Any


Listener = Callable[[str, Mapping[str, Any], Any], None]


class Rest:
    """One connection that acts as one role; ``heard`` is told of every call and its answer."""

    def __init__(self, connection: Connection, role: str, heard: Listener | None = None) -> None:
        self._connection = connection
        self._heard = heard
        self._signatures: dict[str, Signature] = {}
        self._statements: dict[tuple[str, ...], sql.Composed] = {}
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        connection.execute("select setseed(0.5)")

    def act_as(self, user_id: str) -> None:
        """Whose token the calls to come carry."""
        claims = {"role": "authenticated", "sub": user_id, "aud": "authenticated"}
        self._connection.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])

    def rpc(self, function: str, params: Mapping[str, Any]) -> "Call":
        return Call(self, function, params)

    def call(self, function: str, params: Mapping[str, Any]) -> Any:
        """Call a function of ours in a transaction of its own."""
        signature = self._signature(function)
        statement = self._statement(function, tuple(params), signature)
        try:
            rows = self._connection.execute(statement, [Jsonb(dict(params))]).fetchall()
        except psycopg.Error as error:
            raise _refusal(error) from None
        answers = [row[0] for row in rows]
        data = answers if signature.is_set else answers[0]
        if self._heard is not None:
            self._heard(function, params, data)
        return data

    def _signature(self, function: str) -> Signature:
        if function not in self._signatures:
            row = self._connection.execute(SIGNATURE, [function]).fetchone()
            assert row is not None, f"there is no function {function}"
            self._signatures[function] = Signature(row[0], row[1], dict(zip(row[3], row[2], strict=True)))
        return self._signatures[function]

    def _statement(self, function: str, names: tuple[str, ...], signature: Signature) -> sql.Composed:
        """As PostgREST puts it: the body as a record of the function's own types, then the call."""
        if (function, *names) not in self._statements:
            columns: list[sql.Composable] = [
                sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(signature.types[name]))
                for name in names
            ]
            given = [sql.SQL("{0} => given.{0}").format(sql.Identifier(name)) for name in names]
            self._statements[(function, *names)] = sql.SQL(
                "select {} from jsonb_to_record(%s) as given ({}), lateral public.{}({}) as answer"
            ).format(
                sql.SQL("null" if signature.is_void else "to_jsonb(answer)"),
                sql.SQL(", ").join(columns or [sql.SQL("nothing text")]),
                sql.Identifier(function),
                sql.SQL(", ").join(given),
            )
        return self._statements[(function, *names)]


@dataclass(frozen=True)
class Call:
    """A built query, as supabase-py makes them."""

    rest: Rest
    function: str
    params: Mapping[str, Any]

    async def execute(self) -> Answer:
        async def act() -> Answer:
            return Answer(self.rest.call(self.function, self.params))

        await asyncio.sleep(0)  # as every real call lets others go on
        return await cross(act, httpx.ReadTimeout("No answer from the database."))


def _refusal(error: psycopg.Error) -> APIError:
    return APIError(
        {
            "code": error.sqlstate or "",
            "message": error.diag.message_primary or str(error),
            "details": error.diag.message_detail or "",
            "hint": None,
        }
    )
