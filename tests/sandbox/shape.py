"""Compares what JSON is made of: keys and types, never values."""

from collections.abc import Set
from typing import Any

_NAMES = {type(None): "null", bool: "boolean", int: "integer", float: "float", str: "string"}


def differences(
    actual: Any,
    expected: Any,
    *,
    free: Set[str] = frozenset(),
    nullable: Set[str] = frozenset(),
    at: str = "$",
) -> list[str]:
    """Every place where the two are built differently.

    What is inside a `free` path does not matter; a `nullable` one holds null or what is expected.
    Rows of a list are `[]`.
    """
    if at in nullable and (actual is None or expected is None):
        return []
    if _kind(actual) != _kind(expected):
        return [f"{at}: {_kind(actual)} instead of {_kind(expected)}"]
    if at in free:
        return []
    if isinstance(expected, dict):
        found = [f"{at}.{name}: missing" for name in sorted(expected.keys() - actual.keys())]
        found += [f"{at}.{name}: unknown" for name in sorted(actual.keys() - expected.keys())]
        pairs = [(actual[name], expected[name], f"{at}.{name}") for name in expected if name in actual]
    else:
        found = []
        rows = actual if isinstance(expected, list) and expected else []
        pairs = [(row, expected[0], f"{at}[]") for row in rows]
    for inner, wanted, path in pairs:
        found += differences(inner, wanted, free=free, nullable=nullable, at=path)
    return found


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "object"
    return "list" if isinstance(value, list) else _NAMES[type(value)]
