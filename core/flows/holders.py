"""LiteLLM's users, on disk while they are compared: there may be more of them than memory."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple
from types import TracebackType
from typing import Self

from core.domain.keys import ObservedUser
from core.domain.pushes import Spender


class Holders:
    """All who have keys, by id, in a file of its own that is gone when this is closed."""

    def __enter__(self) -> Self:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("create table holders (user_id text primary key, shown text) without rowid")
        self._db.execute("begin")  # never committed, so never flushed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def put(self, spenders: Iterable[Spender]) -> None:
        """Keep what was shown last; those without a row are left out."""
        rows = [(one.user_id, json.dumps(astuple(one.user))) for one in spenders if one.user is not None]
        self._db.executemany("insert or replace into holders values (?, ?)", rows)

    def get(self, user_id: str) -> ObservedUser | None:
        row = self._db.execute("select shown from holders where user_id = ?", [user_id]).fetchone()
        return None if row is None else ObservedUser(*json.loads(row[0]))
