"""The one table of refusals: everything that says no takes its status and its sentence from there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.refusals import DATABASE, REFUSALS, SERVICE, refused, unavailable
from dev.stack import ROOT
from webhook.documents import DOCUMENTS, VALUES

SAYS = {"refused", "unavailable", "switched_off", "refusal_answer"}
ERRORS = {"RefusedError", "TransientError", "NotConfiguredError"}


def calls(*rooms: str) -> Iterator[tuple[Path, str, ast.expr | None]]:
    """Every call of a plain name in these folders: where, which, and its first argument."""
    for room in rooms:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield file, node.func.id, node.args[0] if node.args else None


def test_no_code_is_in_both_halves() -> None:
    assert not DATABASE.keys() & SERVICE.keys()
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in REFUSALS)


def test_what_the_processes_say_is_in_the_table_and_nothing_in_the_table_is_never_said() -> None:
    said = {
        first.value
        for _, name, first in calls("core", "webhook", "worker")
        if name in SAYS and isinstance(first, ast.Constant)
    }
    assert not said - REFUSALS.keys()
    text = "".join(
        file.read_text() for room in ("core", "webhook", "worker") for file in (ROOT / room).rglob("*.py")
        if file.name not in ("refusals.py", "documents.py")
    )  # fmt: skip
    # A part of one code is put together: what Paystack calls it.
    unsaid = {code for code in SERVICE if f'"{code}"' not in text and not code.startswith("paystack_")}
    assert unsaid == set()


def test_no_error_of_the_processes_has_a_sentence_of_its_own() -> None:
    own = [
        (file.name, ast.unparse(first))
        for file, name, first in calls("core", "webhook", "worker")
        if name in ERRORS and isinstance(first, ast.Constant)
    ]
    assert own == []


@pytest.mark.parametrize("route", sorted(DOCUMENTS))
def test_a_route_tells_of_codes_that_there_are(route: str) -> None:
    codes = DOCUMENTS[route].errors
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert REFUSALS[code].say(*VALUES.get(code, ()))


def test_values_fill_the_sentence() -> None:
    assert refused("too_many_keys", 1000).message == "An account has at most 1000 keys. Revoke one first."
    assert refused("too_many_keys", 1000).status == 409
    assert unavailable("paystack_failed", 502).message == "Paystack answered with 502."
