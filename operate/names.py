"""What the migrations make, by name: read from their text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.domain.schema import PUBLIC
from operate.tokens import Kind, Token, scan

RELATIONS = {"table", "view", "sequence", "type"}
"""What shares one space of names in a schema, as indexes do, too."""

PASSED_OVER = {
    "or", "replace", "unlogged", "temp", "temporary", "materialized", "recursive", "unique", "index",
    "concurrently", "if", "not", "exists",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """Names in the API's schema that the migrations choose; those that PostgreSQL chooses are never taken."""

    tables: frozenset[str]
    relations: frozenset[str]
    functions: frozenset[str]
    types: frozenset[str]


def read_names(texts: Iterable[str]) -> Names:
    """The names of all that is there once these files are applied in order."""
    kept: dict[tuple[str, str], None] = {}
    for text in texts:
        for statement in statements(text):
            change(kept, statement)
    by_kind: dict[str, set[str]] = {}
    for kind, name in kept:
        by_kind.setdefault(kind, set()).add(name)
    tables = by_kind.get("table", set()) | by_kind.get("view", set())
    relations = set().union(
        *(by_kind.get(kind, set()) for kind in ("table", "view", "sequence", "index", "type"))
    )
    return Names(
        *map(frozenset, (tables, relations, by_kind.get("function", set()), by_kind.get("type", set())))
    )


def statements(text: str) -> Iterator[list[Token]]:
    """The statements outside bodies, without spaces and comments."""
    statement: list[Token] = []
    for token in scan(text):
        if token.text == ";":
            yield statement
            statement = []
        elif token.kind not in (Kind.SPACE, Kind.COMMENT):
            statement.append(token)
    if statement:
        yield statement


def change(kept: dict[tuple[str, str], None], statement: Sequence[Token]) -> None:
    """Add what a statement makes, take away what it drops."""
    words = [token.name for token in statement]
    match words[:1]:
        case ["create"]:
            kept.update(dict.fromkeys(made_by(words)))
        case ["drop"]:
            for one in named(words[1:]):
                kept.pop(one, None)
        case ["alter"]:
            kept.update(dict.fromkeys(constraints(words)))


def made_by(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    if words[1:2] == ["index"] or words[1:3] == ["unique", "index"]:
        if followed(words, "on") == PUBLIC:
            yield "index", next(word for word in words[1:] if word not in PASSED_OVER)
        return
    found = next(named(words[1:]), None)
    if found is None:
        return
    yield found
    if found[0] == "table":
        yield from constraints(words)


def named(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The kind and name of what stands first, if it is in the API's schema."""
    rest = [word for word in words[:8] if word not in PASSED_OVER]
    kind = "function" if rest[:1] == ["procedure"] else rest[0] if rest else ""
    if kind in RELATIONS | {"function", "index"} and rest[1:3] == [PUBLIC, "."]:
        yield kind, rest[3]


def constraints(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Named constraints that make an index, on a table of the API's schema."""
    if PUBLIC not in words[:7]:
        return
    for at, word in enumerate(words[:-2]):
        if word == "constraint" and words[at + 2] in ("unique", "primary", "exclude"):
            yield "index", words[at + 1]


def followed(words: Sequence[str], word: str) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""
