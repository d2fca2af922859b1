"""A rotated key's new string waits until LiteLLM shows what the former one spent."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from core.domain.keys import KeyState, ObservedKey, WantedKey
from core.domain.pushes import Outcome, Push
from core.errors import TransientError
from core.flows.push import Pusher, _Attempt, _Lease
from tests.unit.test_decisions import FENCES
from worker.jobs.sync import CountShares

SHOWN = ObservedKey("user", None, True, 50, "30d", None, None, spend_micros=420_001)
WANTED = WantedKey(
    id="key",
    user_id="user",
    installation_id="here",
    key="sk-new",
    key_hash="new",
    name="Key",
    state=KeyState.ACTIVE,
    budget_cents=50,
    budget_duration="30d",
    rpm_limit=None,
    tpm_limit=None,
    revision=7,
    confirmed=False,
    maybe_created=False,
    fences=FENCES,
    previous_hash="old",
)


@dataclass
class Shelf:
    """A database with former strings to count, and a LiteLLM that shows them, or is away."""

    uncounted: list[str]
    shown: dict[str, ObservedKey]
    away: set[str] = field(default_factory=set)
    counted: list[tuple[str, ObservedKey | None]] = field(default_factory=list)

    async def list_uncounted(self, limit: int) -> list[str]:
        return self.uncounted[:limit]

    async def read_key(self, key_hash: str) -> ObservedKey | None:
        if key_hash in self.away:
            raise TransientError("litellm_unreachable", "LiteLLM cannot be reached.")
        return self.shown.get(key_hash)

    async def count_share(self, key_hash: str, shown: ObservedKey | None) -> bool:
        self.counted.append((key_hash, shown))
        return shown is None or shown.blocked


async def count(shelf: Shelf, at_once: int = 9) -> int:
    return await CountShares(cast(Any, shelf), cast(Any, shelf), at_once).run_once()


async def test_each_former_string_is_told_as_litellm_shows_it_lost_ones_too() -> None:
    alive = replace(SHOWN, blocked=False)
    shelf = Shelf(["one", "two", "lost", "later"], {"one": SHOWN, "two": alive})
    assert await count(shelf, at_once=3) == 2
    assert shelf.counted == [("one", SHOWN), ("two", alive), ("lost", None)]


async def test_while_litellm_is_away_nothing_is_taken_for_lost() -> None:
    shelf = Shelf(["one", "two"], {"one": SHOWN, "two": SHOWN}, away={"one"})
    assert await count(shelf) == 0
    assert shelf.counted == []


@pytest.mark.parametrize("state", [KeyState.BLOCKED, KeyState.REVOKED])
async def test_a_string_that_is_stopped_waits_for_nothing(state: KeyState) -> None:
    with pytest.raises(AttributeError):  # it goes on to LiteLLM, of which there is none here
        await attempt()._push_key(replace(WANTED, state=state, maybe_created=True))


async def test_a_string_that_waits_is_not_shown_to_litellm() -> None:
    result = await attempt()._push_key(WANTED)
    assert result is not None
    assert (result.key_hash, result.revision, result.outcome) == ("new", 7, Outcome.WAITS)


def attempt() -> _Attempt:
    """A push without anything outside."""
    pusher = Pusher(cast(Any, None), cast(Any, None), 40, 12, 0, cast(Any, _Free()))
    return _Attempt(pusher, Push("user", "token", 7, 0, 0, True, (), (), False), _Lease(0, 12))


class _Free:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_error: object) -> None: ...
