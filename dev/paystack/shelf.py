"""Keeps the book across restarts, as Paystack keeps its own."""

import asyncio
import logging
import pickle
import time
from pathlib import Path
from typing import Final

from dev.paystack.book import Book
from dev.paystack.errand import Errands

_log = logging.getLogger(__name__)
_SHARE: Final = 20  # writing takes at most a twentieth of the time, however large the book grows


class Shelf:
    """A file with the last state, replaced as a whole; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._changed = False
        self._saving = False
        self._rest_until = 0.0

    @property
    def saved(self) -> bool:
        """Whether a crash now would lose nothing."""
        return self._path is not None and not self._changed

    def load(self) -> Book | None:
        """The book as it was last saved, if it was."""
        if self._path is None or not self._path.exists():
            return None
        try:
            book = pickle.loads(self._path.read_bytes())  # noqa: S301 - see above
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError):
            _log.warning("paystack_sandbox.state_unreadable")  # written by other code: begin anew
            return None
        return book if isinstance(book, Book) else None

    def save(self, book: Book) -> None:
        """Write the whole book; a crash in between leaves the earlier one."""
        if self._path is None:
            return
        began = time.monotonic()
        draft = self._path.with_suffix(".draft")
        draft.touch(mode=0o600)  # it holds what cards can be charged with
        draft.write_bytes(pickle.dumps(book))
        draft.replace(self._path)
        self._changed = False
        self._rest_until = time.monotonic() + (time.monotonic() - began) * _SHARE

    def save_soon(self, book: Book, errands: Errands) -> None:
        """Write it as soon as the caller's step is done, or once for several steps if they come fast."""
        self._changed = True
        if self._path is not None and not self._saving:
            self._saving = True
            errands.start(self._save_while_changing(book))

    async def _save_while_changing(self, book: Book) -> None:
        try:
            while self._changed:
                await asyncio.sleep(max(self._rest_until - time.monotonic(), 0))
                self.save(book)
        finally:
            self._saving = False
