"""Compares all keys with LiteLLM all day: one page of its list at a time, against the same range of hashes.

LiteLLM's list can only be paged by number. Keys that are made meanwhile move others to the next page, where
those that were compared before are passed over; keys that are deleted move others to a page that was read
before, so that they seem to be missing: each is asked for alone before it counts.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from core.domain.drift import DriftSlice, DriftStep, ListedKey, ListedPage
from core.domain.keys import ObservedUser
from core.flows.drift import Keys, Search, sorted_keys
from core.store import ServiceStore
from core.store.drift import OpenDrift

T = TypeVar("T")
ROWS = 200
"""Keys of ours that are compared at once, at most: twice a page, since LiteLLM may have lost some."""
BEYOND = "g"
"""Sorts after every hash."""


class Pages(Keys, Protocol):
    async def list_page(self, page: int) -> ListedPage: ...


@dataclass(slots=True)
class TimedPages:
    """The same, with a count of the seconds that its calls took, failed ones too."""

    litellm: Pages
    clock: Callable[[], float] = time.monotonic
    seconds: float = 0.0

    async def list_page(self, page: int) -> ListedPage:
        return await self._time(self.litellm.list_page(page))

    async def find_key(self, key_hash: str) -> ListedKey | None:
        return await self._time(self.litellm.find_key(key_hash))

    async def read_user(self, user_id: str) -> ObservedUser | None:
        return await self._time(self.litellm.read_user(user_id))

    async def block_key(self, key_hash: str) -> None:
        await self._time(self.litellm.block_key(key_hash))

    async def _time(self, call: Awaitable[T]) -> T:
        began = self.clock()
        try:
            return await call
        finally:
            self.seconds += self.clock() - began


async def compare_slice(store: ServiceStore, litellm: Pages, one: DriftSlice) -> DriftStep:
    """Compare the slice, make due what differs, block what nobody may use; all of it goes into its report.

    Raises:
        KeyfundError: the database or LiteLLM could not be asked; the slice has to be compared again.
    """
    page = await litellm.list_page(one.page)
    listed = sorted_keys(page, one.report)
    held = await store.read_drift(one.after, ROWS, one.at)
    step = next_step(one, page.pages, [key.key_hash for key in listed], [key.wanted.key_hash for key in held])
    opened = OpenDrift(one.at, one.installation_id, len(held))
    search = Search(store, litellm, opened, mend=True, report=one.report)
    theirs = (key for key in listed if one.after < key.key_hash <= step.after)
    await search.compare(_each(key for key in held if key.wanted.key_hash <= step.after), _each(theirs))
    return step


def next_step(one: DriftSlice, pages: int, listed: list[str], held: list[str]) -> DriftStep:
    """Up to which hash both sides have told all, and where the next slice begins."""
    is_last = one.page >= pages
    told = BEYOND if is_last else max([one.after, *listed])
    after = min(told, held[-1] if len(held) == ROWS else BEYOND)
    if after < told:
        return DriftStep(one.page, after, pages)  # there are more of ours in its range
    return DriftStep(one.page + 1, after, pages, ends_round=is_last)


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
