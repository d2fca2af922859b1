"""Drift: every key and wallet in LiteLLM against the database, and back on its way what differs.

Both sides are walked once, each in the order of the keys' hashes, so neither is ever held as a whole. What
differs at the first sight is read afresh on both sides before it counts: keys come and go during the walk.
Nothing is mended here: an account that differs is made due, and its ordinary push does it. The one write to
LiteLLM is a block, of keys that nobody may use: extras with our mark, and revoked ones that are alive.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from core.domain.drift import DriftReport, HeldKey, ListedKey, ListedPage, compare, extra
from core.domain.keys import KeyState, ObservedUser
from core.errors import KeyfundError, RefusedError
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.refusals import unavailable
from core.store import ServiceStore
from core.store.drift import OpenDrift

log = get_logger()
AT_ONCE = 8
SUSPECTS_AT_ONCE = 64
SAY_EVERY = 5_000
HASH = re.compile(r"[0-9a-f]{64}")
Progress = Callable[[str], None]
Pair = tuple[HeldKey | None, ListedKey | None]


def _silent(_text: str) -> None:
    """Progress that nobody watches."""


class Keys(Protocol):
    """What a comparison asks of LiteLLM about single keys."""

    async def find_key(self, key_hash: str) -> ListedKey | None: ...

    async def read_user(self, user_id: str) -> ObservedUser | None: ...

    async def block_key(self, key_hash: str) -> None: ...


@dataclass(frozen=True, slots=True)
class DriftFinder:
    """Compares everything; one per process."""

    store: ServiceStore
    litellm: LiteLLM

    async def find(self, *, mend: bool, progress: Progress = _silent) -> DriftReport:
        """Compare all keys; with ``mend`` make what differs due, and block what nobody may use.

        Raises:
            KeyfundError: the database does not answer at all. What ends a comparison half-way, on either
                side, is said in the report.
        """
        opened = await self.store.open_drift()
        search = Search(self.store, self.litellm, opened, mend, DriftReport(opened.at))
        try:
            await search.compare(self.store.walk_drift(opened), self._walk_litellm(search.report), progress)
        except KeyfundError as error:
            search.report.skipped = error.message
        return search.report

    async def _walk_litellm(self, report: DriftReport) -> AsyncIterator[ListedKey]:
        """All keys there, each once and ascending."""
        last = ""
        async for page in self.litellm.list_keys():
            for key in sorted_keys(page, report):
                if key.key_hash > last:  # else it has come before, on the page before
                    yield key
                    last = key.key_hash

    async def look_at(self, key_hashes: Sequence[str]) -> DriftReport:
        """Compare these keys alone, and make due what differs.

        Raises:
            KeyfundError: the database or LiteLLM could not be asked.
        """
        opened = await self.store.open_drift()
        search = Search(self.store, self.litellm, opened, mend=True, report=DriftReport(opened.at))
        await search.confirm_all(key_hashes)
        return search.report


def tell(report: DriftReport) -> None:
    """Log each difference that is named."""
    for one in report.named:
        log.error(
            "drift.found",
            kind=one.kind,
            subject=one.subject,
            found=one.found,
            expected=one.expected,
            done=one.done,
        )


def sorted_keys(page: ListedPage, report: DriftReport) -> list[ListedKey]:
    """The keys of a page that may be ours: what is no hash cannot be, and counts as another's.

    Raises:
        TransientError: they are out of order; what came too early would be taken for missing.
    """
    keys = [key for key in page.keys if HASH.fullmatch(key.key_hash)]
    report.others += len(page.keys) - len(keys)
    if any(one.key_hash >= two.key_hash for one, two in pairwise(keys)):
        raise unavailable("litellm_unsorted")
    return keys


@dataclass(slots=True)
class Search:
    """One comparison. ``due``: the accounts that it has made due."""

    store: ServiceStore
    litellm: Keys
    opened: OpenDrift
    mend: bool
    report: DriftReport
    due: set[str] = field(default_factory=set)

    async def compare(
        self, ours: AsyncIterator[HeldKey], theirs: AsyncIterator[ListedKey], progress: Progress = _silent
    ) -> None:
        """Compare the same range of hashes of both sides."""
        suspects: list[str] = []
        seen = 0
        async for held, listed in pair(ours, theirs):
            if self._is_suspect(held, listed):
                suspects.append(_hash_of(held, listed))
            if len(suspects) >= SUSPECTS_AT_ONCE:
                await self.confirm_all(suspects)
                suspects.clear()
            seen += held is not None
            if held is not None and seen % SAY_EVERY == 0:
                progress(f"{seen} of {self.opened.keys} keys compared")
        await self.confirm_all(suspects)

    def _is_suspect(self, held: HeldKey | None, listed: ListedKey | None) -> bool:
        """Whether the two have to be read again; counts those that have not."""
        if held is None:
            assert listed is not None  # noqa: S101 (a pair has one side at least)
            if listed.installation_id != self.opened.installation_id:
                self.report.others += 1
                return False
            if listed.shown.blocked:
                self.report.stopped += 1
            return not listed.shown.blocked
        if compare(held, listed, listed.user if listed is not None else None):
            return True
        self._count(held)
        return False

    def _count(self, held: HeldKey) -> None:
        if held.settled and held.resting:
            self.report.compared += 1
        else:
            self.report.waiting += 1

    async def confirm_all(self, suspects: Sequence[str]) -> None:
        for start in range(0, len(suspects), AT_ONCE):
            some = suspects[start : start + AT_ONCE]
            ended = await asyncio.gather(*(self._confirm(one) for one in some), return_exceptions=True)
            for error in ended:  # only once none is on its way any more
                if error is not None:
                    raise error

    async def _confirm(self, key_hash: str) -> None:
        """Read the database, then LiteLLM; the database once more decides whether that still holds."""
        held = await self.store.read_drift_key(key_hash)
        listed = await self.litellm.find_key(key_hash)
        if held is None:
            if listed is not None:
                await self._judge_extra(listed)
            return
        user = await self.litellm.read_user(held.wanted.user_id) if held.leads else None
        found = compare(held, listed, user)
        if not found:
            self._count(held)
            return
        done = await self._act(held)
        if done is None:
            found, done = [drift for drift in found if drift.certain], ""
        if self.mend and held.wanted.state is KeyState.REVOKED and found:
            # For good, so whatever else is on its way, blocking is right, and at once.
            done = await self._block(held.wanted.key_hash)
        for drift in found:
            self.report.add(replace(drift, done=done))
        if found:
            self._count(held)
        else:
            self.report.waiting += 1

    async def _act(self, held: HeldKey) -> str | None:
        """What was done about the account; None: something about it is on its way."""
        user_id = held.wanted.user_id
        if user_id in self.due:
            return "due"  # with the first of its keys the whole account was
        if not self.mend:
            again = await self.store.read_drift_key(held.wanted.key_hash)
            return "" if again is not None and _is_unchanged(held, again) else None
        if await self.store.mend_drift(held):
            self.due.add(user_id)
        return "due" if user_id in self.due else None

    async def _judge_extra(self, listed: ListedKey) -> None:
        if listed.installation_id != self.opened.installation_id:
            self.report.others += 1
        elif listed.shown.blocked:
            self.report.stopped += 1
        else:
            done = await self._block(listed.key_hash) if self.mend else ""
            self.report.add(replace(extra(listed), done=done))

    async def _block(self, key_hash: str) -> str:
        """Block a key and read it back; it is never deleted: that could bring a late create back to life."""
        try:
            await self.litellm.block_key(key_hash)
        except RefusedError:
            log.warning("drift.not_blocked", key_hash=key_hash)  # it vanished, perhaps
        now = await self.litellm.find_key(key_hash)
        return "" if now is not None and not now.shown.blocked else "blocked"


async def pair(ours: AsyncIterator[HeldKey], theirs: AsyncIterator[ListedKey]) -> AsyncIterator[Pair]:
    """Both sides in one order: what both have together, what only one has alone. Holds one of each."""
    held, listed = await anext(ours, None), await anext(theirs, None)
    while held is not None or listed is not None:
        if listed is None or (held is not None and held.wanted.key_hash < listed.key_hash):
            yield held, None
            held = await anext(ours, None)
        elif held is None or listed.key_hash < held.wanted.key_hash:
            yield None, listed
            listed = await anext(theirs, None)
        else:
            yield held, listed
            held, listed = await anext(ours, None), await anext(theirs, None)


def _is_unchanged(before: HeldKey, now: HeldKey) -> bool:
    return now.resting and now.account_revision == before.account_revision


def _hash_of(held: HeldKey | None, listed: ListedKey | None) -> str:
    if held is not None:
        return held.wanted.key_hash
    assert listed is not None  # noqa: S101 (a pair has one side at least)
    return listed.key_hash
