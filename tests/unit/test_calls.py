"""What PostgREST's errors mean to us, and what of them may be told."""

import pytest
from postgrest import APIError

from core.errors import RefusedError
from core.store.calls import execute


class Failing:
    """A query that PostgREST refuses."""

    def __init__(self, code: str, message: str, details: str = "") -> None:
        self.error = APIError({"code": code, "message": message, "details": details, "hint": None})

    async def execute(self) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (
            "23514",
            'new row for relation "virtual_keys" violates check constraint "virtual_keys_name_check"',
            'database_refused: The database refused this with 23514: constraint "virtual_keys_name_check".',
        ),
        (
            "23505",
            'duplicate key value violates unique constraint "transactions_provider_id_key"',
            "database_refused: The database refused this with 23505: "
            'constraint "transactions_provider_id_key".',
        ),
        (
            "23502",
            'null value in column "rpm_limit" of relation "virtual_keys" violates not-null constraint',
            'database_refused: The database refused this with 23502: column "rpm_limit".',
        ),
        ("22003", "integer out of range", "database_refused: The database refused this with 22003."),
        ("P0001", 'no "sk-secret" here', "database_refused: The database refused this with P0001."),
    ],
)
async def test_a_refusal_names_its_constraint_and_nothing_else(code: str, message: str, told: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await execute(Failing(code, message, details="Failing row contains (sk-secret, ana@example.com)."))
    assert (str(caught.value), caught.value.status) == (told, 500)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "PGRST106",
            "schema_not_exposed: The schema that SUPABASE_SCHEMA names is not exposed: add it to the ",
        ),
        (
            "PGRST202",
            "function_missing: The schema that SUPABASE_SCHEMA names lacks a function of Keyfund's: ",
        ),
    ],
)
async def test_where_keyfund_is_elsewhere_it_says_what_to_set(code: str, told: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await execute(Failing(code, "Invalid schema: keyfund_api"))
    assert caught.value.status == 503
    assert str(caught.value).startswith(told)
