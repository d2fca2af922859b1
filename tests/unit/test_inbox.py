"""Deliveries that come together are stored together, and none pays for another."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from core.domain.payments import Event, Kind, Provider
from core.errors import KeyfundError, RefusedError, TransientError
from core.refusals import refused
from core.store import ServiceStore
from core.store.payments import ClaimedEvent, Delivery
from webhook import inbox
from webhook.inbox import LANES, MOST_EVENTS, Inbox


@dataclass
class Store:
    """Stores events; nothing goes on while ``gate`` is shut."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[str]] = field(default_factory=list)
    stored: dict[str, int] = field(default_factory=dict)
    poisoned: str | None = None
    down: BaseException | None = None

    async def receive_events(
        self, provider: Provider, deliveries: Sequence[Delivery]
    ) -> list[ClaimedEvent | None]:
        assert provider is Provider.PAYSTACK
        names = [one.event.fingerprint for one in deliveries]
        assert len(set(names)) == len(names)
        self.batches.append(names)
        await self.gate.wait()
        if self.down is not None:
            raise self.down
        if self.poisoned in names:
            raise refused("database_refused", "22P05", "")
        return [self._take(name) for name in names]

    def _take(self, name: str) -> ClaimedEvent | None:
        if name in self.stored:
            return None
        self.stored[name] = len(self.stored)
        return ClaimedEvent(self.stored[name], "token", "charge.success", Kind.PAYMENT, name)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def box(store: Store) -> Inbox:
    return Inbox(cast(ServiceStore, store), Provider.PAYSTACK)


def event(name: str, size: int = 2) -> Event:
    return Event(name="charge.success", reference=name, fingerprint=name, body="x" * size)


def send(box: Inbox, *names: str, size: int = 2) -> list["asyncio.Task[ClaimedEvent | None]"]:
    return [asyncio.create_task(box.receive(event(name, size), 40)) for name in names]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_alone_waits_for_nobody(store: Store, box: Inbox) -> None:
    store.gate.set()
    claimed = await box.receive(event("a"), 40)
    assert claimed is not None
    assert claimed.reference == "a"
    assert store.batches == [["a"]]


async def test_those_that_come_meanwhile_go_together(store: Store, box: Inbox) -> None:
    first = send(box, "a")
    await settle()
    others = send(box, "b")
    await settle()
    others += send(box, "c", "d", "e")
    await settle()
    assert store.batches == [["a"], ["b"]]
    store.gate.set()
    claimed = await asyncio.gather(*first, *others)
    assert [one.reference for one in claimed if one] == ["a", "b", "c", "d", "e"]
    assert store.batches[LANES:] == [["c", "d", "e"]]
    assert not box.waiting


async def test_a_repetition_is_told_from_the_first(store: Store, box: Inbox) -> None:
    blockers = send(box, "x", "y")
    await settle()
    twins = send(box, "a", "a", "a", "b")
    await settle()
    store.gate.set()
    claimed = await asyncio.gather(*twins)
    assert sorted(one.reference or "" for one in claimed if one) == ["a", "b"]
    await asyncio.gather(*blockers)


async def test_a_poisoned_event_fails_alone(store: Store, box: Inbox) -> None:
    send(box, "x", "y")
    await settle()
    tasks = send(box, "a", "poison", "b")
    store.poisoned = "poison"
    await settle()
    store.gate.set()
    a, poison, b = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(poison, RefusedError)
    assert isinstance(a, ClaimedEvent)
    assert isinstance(b, ClaimedEvent)
    assert store.batches.count(["poison"]) == 1


async def test_one_alone_that_is_refused_is_not_asked_for_twice(store: Store, box: Inbox) -> None:
    store.gate.set()
    store.poisoned = "a"
    with pytest.raises(RefusedError):
        await box.receive(event("a"), 40)
    assert store.batches == [["a"]]


@pytest.mark.parametrize("trouble", [TransientError("database_unavailable", "Away."), KeyError("a bug")])
async def test_whatever_goes_wrong_everybody_hears_of_it_and_the_next_are_stored(
    store: Store, box: Inbox, trouble: BaseException
) -> None:
    tasks = send(box, "a", "b", "c", "d")
    await settle()
    store.down = trouble
    store.gate.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, KeyfundError | KeyError) for one in ended)
    store.down = None
    assert await box.receive(event("e"), 40) is not None


async def test_a_sender_that_goes_away_leaves_its_event_stored(store: Store, box: Inbox) -> None:
    first, second, third = send(box, "a", "b", "c")
    await settle()
    first.cancel()
    third.cancel()
    await settle()
    store.gate.set()
    assert await second is not None
    await settle()
    assert set(store.stored) == {"a", "b", "c"}


async def test_a_database_that_hangs_does_not_fill_the_memory(
    store: Store, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_WAITING", 5)
    monkeypatch.setattr(inbox, "WAIT_SECONDS", 0.05)
    tasks = []
    for number in range(20):
        tasks += send(box, str(number))
        await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, TransientError) and one.outcome_unknown for one in ended)
    assert len(box.waiting) == 5


async def test_a_call_carries_so_many_and_no_more_than_a_megabyte(store: Store, box: Inbox) -> None:
    send(box, "x", "y")
    await settle()
    large = send(box, "a", "b", "c", size=400_000)
    small = send(box, *(f"small {number}" for number in range(MOST_EVENTS + 20)))
    await settle()
    store.gate.set()
    await asyncio.gather(*large, *small)
    assert max(len(batch) for batch in store.batches) <= MOST_EVENTS
    assert ["a", "b"] in store.batches


async def test_what_comes_in_the_moment_when_all_lanes_end_is_stored_too(
    store: Store, box: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WAIT_SECONDS", 0.2)
    last: list[asyncio.Task[ClaimedEvent | None]] = []

    class Waiting(deque[Any]):
        def __bool__(self) -> bool:
            if len(self) == 0 and len(store.batches) == LANES and not last:
                last.extend(send(box, "last"))  # it runs after the lanes' last look, before they are gone
            return len(self) > 0

    box.waiting = Waiting()
    first = []
    for number in range(LANES):
        first += send(box, f"lane {number}")
        await settle()
    store.gate.set()
    await asyncio.gather(*first)
    assert await last[0] is not None
