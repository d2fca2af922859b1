"""PostgreSQL's SQL cut into tokens: enough to tell a name from a string, a comment or a function's body."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    SPACE = "space"
    COMMENT = "comment"
    BODY = "body"
    STRING = "string"
    QUOTED = "quoted"
    WORD = "word"
    NUMBER = "number"
    SIGN = "sign"


class TokenError(ValueError):
    """A string, a comment or a body has no end."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text as it stands there; all pieces in order are the text."""

    kind: Kind
    text: str

    @property
    def name(self) -> str:
        """An identifier's or keyword's name as PostgreSQL folds it; a sign itself."""
        if self.kind is Kind.QUOTED:
            return self.text[1:-1].replace('""', '"')
        return self.text.lower() if self.kind is Kind.WORD else self.text

    @property
    def content(self) -> str:
        """What a plain string says, or what stands between the tags of a body."""
        if self.kind is Kind.BODY:
            tag = self.tag
            return self.text[len(tag) : -len(tag)]
        return self.text[self.text.index("'") + 1 : -1].replace("''", "'")

    @property
    def tag(self) -> str:
        """What a dollar-quoted body begins and ends with."""
        return self.text[: self.text.index("$", 1) + 1]

    def holding(self, content: str) -> "Token":
        """The same string or body with another content."""
        if self.kind is Kind.BODY:
            return Token(self.kind, f"{self.tag}{content}{self.tag}")
        opening = self.text[: self.text.index("'") + 1]
        return Token(self.kind, opening + content.replace("'", "''") + "'")


LETTER = r"A-Za-z_\u0080-\U0010ffff"
PATTERN = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*)
  | (?P<body>(?P<tag>\$(?:[{LETTER}][{LETTER}0-9]*)?\$).*?(?P=tag))
  | (?P<string>[eE]'(?:[^'\\]|\\.|'')*' | (?:[uU]&|[bBxXnN])?'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[{LETTER}][{LETTER}0-9$]*)
  | (?P<number>[0-9][{LETTER}0-9.]*)
  | (?P<sign>::|:=|<>|!=|\$(?![{LETTER}$])|[^'"$])
    """,
    re.VERBOSE | re.DOTALL,
)
MARK = re.compile(r"/\*|\*/")


def scan(text: str) -> Iterator[Token]:
    """The tokens of some SQL, spaces and comments among them.

    Raises:
        TokenError: something that begins has no end.
    """
    at = 0
    while at < len(text):
        token = _block(text, at) if text.startswith("/*", at) else _match(text, at)
        yield token
        at += len(token.text)


def _match(text: str, at: int) -> Token:
    found = PATTERN.match(text, at)
    if found is None:
        raise TokenError(f"What begins in line {_line(text, at)} has no end.")
    kind = next(kind for kind in Kind if found[kind.value] is not None)
    return Token(kind, found[0])


def _block(text: str, at: int) -> Token:
    """A comment between /* and */, which may hold others."""
    depth = 0
    for mark in MARK.finditer(text, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return Token(Kind.COMMENT, text[at : mark.end()])
    raise TokenError(f"The comment that begins in line {_line(text, at)} has no end.")


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
