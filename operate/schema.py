"""The schema of the API's tables and functions: its name, and the migrations written for it."""

import re
from collections.abc import Sequence

from core.domain.schema import PUBLIC, objection
from core.errors import RefusedError
from operate.tokens import Kind, Token, scan

KEYWORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both
    case cast char character check coalesce collate collation column concurrently constraint create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign
    freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect
    interval into is isnull join json json_array json_arrayagg json_object json_objectagg lateral leading
    least left like limit localtime localtimestamp national natural nchar none normalize not notnull null
    nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real
    references returning right row select session_user setof similar smallint some substring symmetric
    system_user table tablesample then time timestamp to trailing treat trim true union unique user using
    values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split()
)
"""What PostgreSQL takes for a name only between double quotes."""

COLUMNS = frozenset(
    """
    nspname schemaname table_schema routine_schema specific_schema trigger_schema constraint_schema
    event_object_schema schema_name search_path
    """.split()
)
"""What a schema's name is compared with."""

TAKERS = re.compile(
    r"to_reg[a-z]+|has_[a-z]+_privilege|pg_get_serial_sequence|nextval|currval|setval|parse_ident"
)
"""Functions whose text arguments name things."""

QUALIFIED = re.compile(r'(public|"public")(?=\s*\.)')


def check_name(name: str) -> str:
    """The name of a schema that may hold Keyfund's API.

    Raises:
        RefusedError: it cannot; the message says why.
    """
    if (reason := objection(name)) is not None:
        raise RefusedError("bad_schema", f"{name!r} cannot be the schema's name: {reason}.")
    return name


def quote(name: str) -> str:
    """The name as PostgreSQL itself writes it: between double quotes only where it needs them."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def rename_schema(text: str, name: str) -> str:
    """SQL that was written for the schema ``public``, for the schema ``name``.

    Comments, prose, the role PUBLIC and other schemas' things stay as they are. Strings are changed only
    where they are names or code: cast to a regclass and its like, given to a function that looks a name up,
    compared with a schema's name, or executed.
    """
    if name == PUBLIC:
        return text
    return Renaming(name).code(text)


class Renaming:
    """How one text is written anew."""

    def __init__(self, name: str) -> None:
        self.name = name

    def code(self, text: str) -> str:
        tokens = list(scan(text))
        where = [at for at, token in enumerate(tokens) if token.kind not in (Kind.SPACE, Kind.COMMENT)]
        seen = Sentence([tokens[at] for at in where])
        for place, at in enumerate(where):
            tokens[at] = self.token(seen, place)
        return "".join(token.text for token in tokens)

    def token(self, seen: "Sentence", place: int) -> Token:
        token = seen.tokens[place]
        match token.kind:
            case Kind.WORD | Kind.QUOTED if token.name == PUBLIC and seen.is_schema(place):
                return Token(Kind.QUOTED, quote(self.name))
            case Kind.BODY if seen.is_code(place):
                return token.holding(self.code(token.content))
            case Kind.STRING if PUBLIC in token.text.lower():
                return self.string(seen, place)
        return token

    def string(self, seen: "Sentence", place: int) -> Token:
        token = seen.tokens[place]
        executed = seen.is_executed(place)
        if token.content == PUBLIC and (executed or seen.is_compared(place) or seen.is_looked_up(place)):
            return token.holding(quote(self.name) if seen.is_parsed(place) else self.name)
        if executed:
            return token.holding(self.code(token.content))
        if seen.is_looked_up(place):
            return token.holding(QUALIFIED.sub(lambda _: quote(self.name), token.content))
        return token


class Sentence:
    """The tokens that mean something, and what a place among them tells."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens

    def name(self, place: int) -> str:
        return self.tokens[place].name if 0 <= place < len(self.tokens) else ""

    def is_schema(self, place: int) -> bool:
        """Whether `public` names the schema here, and not the role, a column or a part of another name."""
        if self.name(place - 1) == ".":
            return False
        if self.name(place + 1) == ".":
            return True
        first = self.first_of_list(place)
        before = self.name(first - 1)
        if before == "exists":  # schema if exists, schema if not exists
            return "schema" in (self.name(first - 3), self.name(first - 4))
        return before == "schema" or (before in ("=", "to") and self.name(first - 2) == "search_path")

    def first_of_list(self, place: int) -> int:
        while self.name(place - 1) == ",":
            place -= 2
        return place

    def is_code(self, place: int) -> bool:
        """Whether a body between dollars is a function's, or is executed."""
        before = self.name(place - 1)
        return before in ("as", "do") or self.name(place - 2) == "language" or self.is_executed(place)

    def is_executed(self, place: int) -> bool:
        """Whether a string belongs to what plpgsql's EXECUTE runs."""
        for at in range(place - 1, -1, -1):
            word = self.name(at)
            if word in (";", "using", "begin", "then", "loop", "else"):
                return False
            if word == "execute":
                return self.name(at + 1) not in ("on", "function", "procedure")
        return False

    def is_parsed(self, place: int) -> bool:
        """Whether a looked up name is read as SQL is, so that it needs its quotes."""
        return self.is_cast(place) or self.name(place - 2).startswith("to_reg")

    def is_cast(self, place: int) -> bool:
        after = self.name(place + 2) if self.name(place + 1) == "::" else ""
        return after.startswith("reg") or self.name(place - 1).startswith("reg")

    def is_looked_up(self, place: int) -> bool:
        """Whether a string is a name that PostgreSQL looks up."""
        if self.is_cast(place):
            return True
        at = place - 1
        while at >= 0 and (self.tokens[at].kind is Kind.STRING or self.name(at) in (",", "current_user")):
            at -= 1
        return self.name(at) == "(" and TAKERS.fullmatch(self.name(at - 1)) is not None

    def is_compared(self, place: int) -> bool:
        """Whether a string is compared with a schema's name, alone or in a list."""
        at = place - 1
        while at >= 0 and (
            self.tokens[at].kind is Kind.STRING
            or self.name(at) in (",", "(", "[", "array", "any", "all", "in", "not", "=", "<>", "!=", "to")
        ):
            at -= 1
        return at < place - 1 and self.name(at) in COLUMNS
