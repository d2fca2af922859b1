"""Pages of a list: by number, or by cursor."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from dev.paystack.refusal import invalid
from dev.paystack.wire import JsonObject, moment_of

_DEFAULT_PER_PAGE: Final = 50
_CURSOR_MARK: Final = "undefined"  # what Paystack's own cursors decode to, before the colon

Query = Mapping[str, str]


class Dated(Protocol):
    """Anything that was made at some time and has a number."""

    @property
    def id(self) -> int: ...

    @property
    def created_at(self) -> datetime: ...


T = TypeVar("T", bound=Dated)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows and what Paystack says about where they stand."""

    rows: Sequence[T]
    meta: JsonObject


def newest_first(rows: Iterable[T], query: Query) -> list[T]:
    """The rows made within `from` and `to`, the newest first."""
    since, until = _moment(query, "from"), _moment(query, "to")
    within = [
        row
        for row in rows
        if (since is None or row.created_at >= since) and (until is None or row.created_at <= until)
    ]
    return sorted(within, key=lambda row: row.id, reverse=True)


def numbered(rows: Sequence[T], query: Query) -> Page[T]:
    """One page by its number. `perPage` comes back as the string it was sent as, or as a number."""
    per_page = _per_page(query)
    number = _positive(query.get("page"), "page", 1)
    skipped = (number - 1) * per_page
    meta = {
        "total": len(rows),
        "skipped": skipped,
        "perPage": query.get("perPage", per_page),
        "page": number,
        "pageCount": -(-len(rows) // per_page),
    }
    return Page(rows[skipped : skipped + per_page], meta)


def cursored(rows: Sequence[T], query: Query) -> Page[T]:
    """The page after `next` or before `previous`; the end is where `next` is null."""
    per_page = _per_page(query)
    start = _start(rows, query, per_page)
    chosen = rows[start : start + per_page]
    more = start + per_page < len(rows)
    meta = {
        "next": _cursor(chosen[-1]) if chosen and more else None,
        "previous": _cursor(chosen[0]) if chosen and start > 0 else None,
        "perPage": per_page,
    }
    return Page(chosen, meta)


def _start(rows: Sequence[T], query: Query, per_page: int) -> int:
    if query.get("next"):
        after = _id_in(query["next"])
        return sum(1 for row in rows if row.id >= after)
    if query.get("previous"):
        before = _id_in(query["previous"])
        return max(sum(1 for row in rows if row.id > before) - per_page, 0)
    return 0


def _cursor(row: Dated) -> str:
    return base64.b64encode(f"{_CURSOR_MARK}:{row.id}".encode()).decode()


def _id_in(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).decode().partition(":")[2])
    except (ValueError, binascii.Error):
        raise invalid("Invalid cursor passed") from None


def _per_page(query: Query) -> int:
    return _positive(query.get("perPage") or query.get("per_page"), "perPage", _DEFAULT_PER_PAGE)


def _positive(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise invalid(f"{name} must be a number")
    return int(text)


def _moment(query: Query, name: str) -> datetime | None:
    if not query.get(name):
        return None
    try:
        return moment_of(query[name])
    except ValueError:
        raise invalid(f"{name} must be a valid date") from None


def matches(shown: Mapping[str, object], query: Query) -> bool:
    """Whether a row passes the filters given for it; compared as text, as in a query string."""
    return all(str(value) == query[name] for name, value in shown.items() if query.get(name))
