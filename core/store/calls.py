"""Calling PostgREST, and what its errors mean to us."""

import re
from collections.abc import Awaitable
from typing import Any, Protocol

import httpx
from postgrest import APIError
from supabase import AsyncClient

from core.errors import RefusedError, TransientError

# SQLSTATE classes in which the same call may well succeed a moment later: connection, serialisation and
# deadlock, resources, cancelled or shutting down, and PostgREST's own trouble with its database.
TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "PGRST0", "5")

INSTALLATION = {
    "PGRST106": (
        "schema_not_exposed",
        "The schema that SUPABASE_SCHEMA names is not exposed: add it to the exposed schemas in the "
        "settings of the project's Data API.",
    ),
    "PGRST202": (
        "function_missing",
        "The schema that SUPABASE_SCHEMA names lacks a function of Keyfund's: push the migrations of this "
        "release, or name the schema that they are in.",
    ),
}
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
        raise TransientError(
            "database_unavailable", "The database cannot be reached.", outcome_unknown=True
        ) from None


def _translate(error: APIError) -> RefusedError | TransientError:
    code = str(error.code or "")
    if code.startswith("PT") and code[2:].isdigit():
        details = error.details if isinstance(error.details, str) else "refused"
        return RefusedError(details, error.message or "Refused.", status=int(code[2:]))
    if code in ("PGRST301", "PGRST302", "PGRST303", "401"):
        return RefusedError("not_signed_in", "Sign in again.", status=401)
    if code == "42501":
        return RefusedError("forbidden", "This is not allowed.", status=403)
    if code in INSTALLATION:
        return RefusedError(*INSTALLATION[code], status=503)
    # Three digits are an HTTP status: the answer was not PostgREST's own, but a gateway's.
    if len(code) <= 3 or code.startswith(TRANSIENT_CLASSES):
        return TransientError("database_unavailable", "The database is not available.", outcome_unknown=True)
    return RefusedError(f"database_{code.lower()}", _describe(error), status=500)


def _describe(error: APIError) -> str:
    """Which constraint or column refused it: that name alone, since the rest may quote what was written."""
    named = NAMED.search(error.message or "")
    return f"The database refused this: {named[0]}." if named else "The database refused this."


class Functions:
    """Our SQL functions, called with the service key."""

    def __init__(self, supabase: AsyncClient) -> None:
        self._supabase = supabase

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await execute(self._supabase.rpc(function, {f"p_{k}": v for k, v in arguments.items()}))
