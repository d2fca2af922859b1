"""Calling PostgREST, and what its errors mean to us."""

import re
from collections.abc import Awaitable
from typing import Any, Protocol

import httpx
from postgrest import APIError
from supabase import AsyncClient

from core.errors import RefusedError, TransientError
from core.refusals import refused, unavailable

# SQLSTATE classes in which the same call may well succeed a moment later: connection, serialisation and
# deadlock, resources, cancelled or shutting down, and PostgREST's own trouble with its database.
TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "PGRST0", "5")

INSTALLATION = {"PGRST106": "schema_not_exposed", "PGRST202": "function_missing"}
"""What PostgREST says where Keyfund is elsewhere, or older."""

NAMED = re.compile(r'\b(?:constraint|column) "[a-z0-9_]{1,63}"')
"""As PostgreSQL names what a row violates: a check, a key, a column that must have a value."""

Json = dict[str, Any]


class Request(Protocol):
    """A built query of postgrest-py."""

    def execute(self) -> Awaitable[Any]: ...


async def execute(request: Request) -> Any:
    """Run a query and return its data.

    Raises:
        TransientError: the database is away or overloaded; every function of ours is safe to repeat.
        RefusedError: it said no, with our own code where a function of ours refused.
    """
    return (await send(request)).data


async def send(request: Request) -> Any:
    """Run a query and return PostgREST's whole answer: its data, and the count where one was asked for.

    Raises:
        TransientError, RefusedError: as `execute` does.
    """
    try:
        return await request.execute()
    except APIError as error:
        raise _translate(error) from None
    except (httpx.RequestError, httpx.StreamError, ValueError):
        # ValueError: a success whose body is no JSON, the page of something in between.
        raise unavailable("database_unavailable", outcome_unknown=True) from None


def _translate(error: APIError) -> RefusedError | TransientError:
    code = str(error.code or "")
    if code.startswith("PT") and code[2:].isdigit():
        details = error.details if isinstance(error.details, str) else "refused"
        return RefusedError(details, error.message or "Refused.", status=int(code[2:]))
    if code in ("PGRST301", "PGRST302", "PGRST303", "401"):
        return refused("not_signed_in")
    if code == "42501":
        return refused("forbidden")
    if code in INSTALLATION:
        return refused(INSTALLATION[code])
    # Three digits are an HTTP status: the answer was not PostgREST's own, but a gateway's.
    if len(code) <= 3 or code.startswith(TRANSIENT_CLASSES):
        return unavailable("database_unavailable", outcome_unknown=True)
    return refused("database_refused", code, _describe(error))


def _describe(error: APIError) -> str:
    """Which constraint or column refused it: that name alone, since the rest may quote what was written."""
    named = NAMED.search(error.message or "")
    return f": {named[0]}" if named else ""


class Functions:
    """Our SQL functions, called with the service key."""

    def __init__(self, supabase: AsyncClient) -> None:
        self._supabase = supabase

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await execute(self._supabase.rpc(function, {f"p_{k}": v for k, v in arguments.items()}))
