"""Fields of a body, read with the type and bounds that the provider asks for; null counts as absent."""

from collections.abc import Collection
from typing import Any

from dev.provider.refusal import JsonObject, invalid, missing, wrong_type


def integer(body: JsonObject, name: str, low: int, high: int) -> int | None:
    """A whole number within bounds; a fraction, a text and a boolean are refused."""
    value = at(body, name)
    if value is None:
        return None
    if type(value) is not int:
        raise wrong_type(name, "an integer")
    if not low <= value <= high:
        raise invalid(name, f"expected {low} to {high}, got {value}")
    return value


def number(body: JsonObject, name: str, low: float, high: float) -> float | None:
    """A number within bounds."""
    value = at(body, name)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise wrong_type(name, "a number")
    if not low <= value <= high:
        raise invalid(name, f"expected {low} to {high}, got {value}")
    return float(value)


def flag(body: JsonObject, name: str) -> bool:
    """True or false; false when absent."""
    value = at(body, name)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(name, "a boolean")
    return value is True


def text(body: JsonObject, name: str) -> str | None:
    """A text."""
    value = at(body, name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "a string")
    return value


def one_of(body: JsonObject, name: str, options: Collection[str]) -> str | None:
    """A text out of a list."""
    value = text(body, name)
    if value is not None and value not in options:
        raise invalid(name, f"expected one of {', '.join(options)}")
    return value


def items(body: JsonObject, name: str) -> list[Any] | None:
    """A list."""
    value = at(body, name)
    if value is not None and not isinstance(value, list):
        raise wrong_type(name, "an array")
    return value


def mapping(body: JsonObject, name: str) -> JsonObject | None:
    """An object."""
    value = at(body, name)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(name, "an object")
    return value


def required(value: Any, name: str) -> Any:
    """The value, which must be there."""
    if value is None:
        raise missing(name)
    return value


def at(body: JsonObject, name: str) -> Any:
    """The value at `name`, which may lead into objects, as in `generationConfig.maxOutputTokens`."""
    value: Any = body
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
