"""Drift: the two sides side by side, what counts as a difference, and when it may be acted on."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from core.domain.drift import Drift, DriftReport, HeldKey, Kind, ListedKey, ListedPage, compare
from core.domain.keys import KeyState, ObservedUser
from core.errors import TransientError
from core.flows.drift import DriftFinder, pair
from core.gateways.litellm import LiteLLM
from core.store import ServiceStore
from core.store.drift import OpenDrift
from operate.drift import render
from tests.unit.test_decisions import SHOWN, WANTED

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USER = ObservedUser(budget_micros=10_000_000, budget_duration=None, spend_micros=2_000_000, role=None)


def digest(number: int) -> str:
    return f"{number:064x}"


def held(number: int = 1, **changes: Any) -> HeldKey:
    """A key of account u1 that leads, at rest."""
    wanted = replace(WANTED, id=f"k{number}", key=None, key_hash=digest(number), confirmed=True)
    made = HeldKey(wanted, True, False, 5, True, True, 10_000_000, 2_000_000)
    return replace(made, **changes)


def listed(number: int = 1, **changes: Any) -> ListedKey:
    """The same as LiteLLM should show it."""
    shown = replace(SHOWN, metadata={**SHOWN.metadata, "keyfund_key_id": f"k{number}"})
    return replace(ListedKey(digest(number), shown, "i1", USER), **changes)


def shown(**changes: Any) -> ListedKey:
    return listed(shown=replace(SHOWN, **changes))


def in_state(state: KeyState, number: int = 1, **changes: Any) -> HeldKey:
    one = held(number, **{"leads": False} | changes)
    return replace(one, wanted=replace(one.wanted, state=state))


def kinds(found: list[Drift]) -> list[tuple[Kind, str]]:
    return [(one.kind, one.subject) for one in found]


# ------------------------------------------------------------------ decisions


@pytest.mark.parametrize(
    ("wanted", "shows", "found", "expected"),
    [
        ({"models": ("a", "b")}, {"models": ("a",)}, "models a", "models a, b"),
        ({"models": ("a",)}, {}, "models any", "models a"),
        ({}, {"models": ("a",)}, "models a", "models any"),
        ({"expires_at": NOW.replace(year=2100)}, {}, "expires_at never", "expires_at 2100-01-01 00:00"),
        ({}, {"expires_at": NOW}, "expires_at 2026-01-01 00:00", "expires_at never"),
    ],
)
def test_what_its_owner_chose_is_compared_and_named(
    wanted: dict[str, Any], shows: dict[str, Any], found: str, expected: str
) -> None:
    one = held(leads=False)
    (drift,) = compare(replace(one, wanted=replace(one.wanted, **wanted)), shown(**shows), None)
    assert (drift.kind, drift.found, drift.expected) == (Kind.DIFFERENT, found, expected)


def test_what_agrees_is_no_difference() -> None:
    assert compare(held(), listed(), USER) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"budget_cents": None}, Kind.DIFFERENT),
        ({"budget_duration": None}, Kind.DIFFERENT),
        ({"rpm_limit": 5}, Kind.DIFFERENT),
        ({"blocked": True}, Kind.DIFFERENT),
        ({"team_id": "t"}, Kind.ESCAPED),
        ({"user_id": None}, Kind.ESCAPED),
        ({"user_id": "u2"}, Kind.ESCAPED),
        ({"routes": ()}, Kind.ESCAPED),
        ({"routes": ("llm_api_routes",)}, Kind.ESCAPED),
        ({"routes": ("/v1/chat/completions",)}, Kind.DIFFERENT),  # narrower than it should be
        ({"routes": ("/v1/chat/completions",), "metadata": {}}, Kind.ESCAPED),
        ({"metadata": {"team": "blue"}}, Kind.ESCAPED),
        ({"max_parallel": None}, Kind.DIFFERENT),
    ],
)
def test_a_key_that_is_otherwise_is_named(change: dict[str, Any], kind: Kind) -> None:
    (found,) = compare(held(leads=False), shown(**change), None)
    assert (found.kind, found.subject) == (kind, "key k1")
    assert found.found != found.expected


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"budget_micros": None}, Kind.DIFFERENT),
        ({"budget_micros": 11_000_000}, Kind.DIFFERENT),
        ({"budget_duration": "30d"}, Kind.DIFFERENT),
        ({"role": "proxy_admin"}, Kind.ESCAPED),
        ({"spend_micros": 1_999_999}, Kind.BACKWARDS),
    ],
)
def test_a_wallet_that_is_otherwise_is_named_once_at_its_first_key(
    change: dict[str, Any], kind: Kind
) -> None:
    user = replace(USER, **change)
    assert kinds(compare(held(), listed(), user)) == [(kind, "account u1")]
    assert compare(held(leads=False), listed(), user) == []
    on_its_way = compare(held(resting=False), listed(), user)
    assert [one.kind for one in on_its_way] == ([Kind.ESCAPED] if user.role else [])


def test_more_spend_than_booked_is_usage_to_book_and_no_drift() -> None:
    assert compare(held(), listed(), replace(USER, spend_micros=9_000_000)) == []


def test_a_user_row_that_is_gone_is_named() -> None:
    assert kinds(compare(held(), listed(), None)) == [(Kind.MISSING, "account u1")]


def test_a_key_that_is_gone_is_named_unless_it_was_revoked() -> None:
    assert kinds(compare(held(leads=False), None, None)) == [(Kind.MISSING, "key k1")]
    assert compare(in_state(KeyState.REVOKED), None, None) == []


@pytest.mark.parametrize("state", [KeyState.BLOCKED, KeyState.REVOKED])
def test_a_stopped_key_that_is_alive_is_named_and_its_limits_do_not_matter(state: KeyState) -> None:
    assert kinds(compare(in_state(state), listed(), None)) == [(Kind.ALIVE, "key k1")]
    assert compare(in_state(state), shown(blocked=True, rpm_limit=1, team_id="t"), None) == []


def test_what_litellm_has_not_confirmed_yet_is_not_compared_but_a_parked_revocation_is() -> None:
    assert compare(held(settled=False, leads=False), None, None) == []
    assert compare(in_state(KeyState.BLOCKED, settled=False, parked=True), listed(), None) == []
    assert compare(in_state(KeyState.REVOKED, settled=False), listed(), None) == []
    parked = in_state(KeyState.REVOKED, settled=False, parked=True)
    assert kinds(compare(parked, listed(), None)) == [(Kind.ALIVE, "key k1")]


# ----------------------------------------------------------------- merge-join


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def joined(ours: list[int], theirs: list[int]) -> list[tuple[int | None, int | None]]:
    pairs = pair(stream(*map(held, ours)), stream(*map(listed, theirs)))
    return [
        (int(a.wanted.key_hash, 16) if a else None, int(b.key_hash, 16) if b else None)
        async for a, b in pairs
    ]


async def test_each_key_comes_once_with_its_counterpart_or_alone() -> None:
    assert await joined([1, 3, 4], [2, 3, 5]) == [(1, None), (None, 2), (3, 3), (4, None), (None, 5)]
    assert await joined([], [1, 2]) == [(None, 1), (None, 2)]
    assert await joined([1, 2], []) == [(1, None), (2, None)]
    assert await joined([], []) == []


# --------------------------------------------------------------------- fakes


@dataclass
class Fake:
    """The database and LiteLLM in one: lists as they are walked, and what a fresh read shows instead."""

    ours: list[HeldKey] = field(default_factory=list)
    pages: list[list[ListedKey]] = field(default_factory=list)
    fresh_ours: dict[str, HeldKey | None] = field(default_factory=dict)
    fresh_theirs: dict[str, ListedKey | None] = field(default_factory=dict)
    user: ObservedUser | None = USER
    mended: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    between: Callable[["Fake"], None] = lambda _fake: None
    """What happens between the reads of the two sides."""

    async def open_drift(self) -> OpenDrift:
        return OpenDrift(NOW, "i1", len(self.ours))

    async def walk_drift(self, _opened: OpenDrift) -> AsyncIterator[HeldKey]:
        for one in self.ours:
            yield one

    async def read_drift_key(self, key_hash: str) -> HeldKey | None:
        self.reads.append(key_hash)
        now = {one.wanted.key_hash: one for one in self.ours} | self.fresh_ours
        return now.get(key_hash)

    async def mend_drift(self, one: HeldKey) -> bool:
        now = await self.read_drift_key(one.wanted.key_hash)
        if now is None or not now.resting or now.account_revision != one.account_revision:
            return False
        self.mended.append(one.wanted.key_hash)
        return True

    async def list_keys(self) -> AsyncIterator[ListedPage]:
        for keys in self.pages:
            yield ListedPage(tuple(keys), len(self.pages), sum(map(len, self.pages)))

    async def find_key(self, key_hash: str) -> ListedKey | None:
        self.between(self)
        there = {one.key_hash: one for page in self.pages for one in page} | self.fresh_theirs
        one = there.get(key_hash)
        if one is not None and key_hash in self.blocked:
            one = replace(one, shown=replace(one.shown, blocked=True))
        return one

    async def read_user(self, _user_id: str) -> ObservedUser | None:
        return self.user

    async def block_key(self, key_hash: str) -> None:
        self.blocked.append(key_hash)

    async def find(self, *, mend: bool = False) -> DriftReport:
        return await DriftFinder(cast(ServiceStore, self), cast(LiteLLM, self)).find(mend=mend)


def counted(report: DriftReport) -> dict[str, int]:
    return {kind.value: count for kind, count in report.counts.items() if count}


async def test_nothing_is_read_again_where_all_agrees_and_others_are_left_alone() -> None:
    stranger = listed(9, installation_id=None, shown=replace(SHOWN, user_id="somebody", rpm_limit=1))
    other = listed(8, installation_id="i2")
    odd = replace(stranger, key_hash="litellm-internal")
    fake = Fake([held(1), held(2)], [[listed(1), listed(2)], [other, stranger, odd]])
    report = await fake.find(mend=True)
    assert (report.compared, report.others, report.total, report.is_complete) == (2, 3, 0, True)
    assert (fake.reads, fake.mended, fake.blocked) == ([], [], [])


async def test_keys_that_come_twice_are_taken_once() -> None:
    """A key that was made during the walk pushed two others to the next page."""
    fake = Fake([held(1), held(2), held(3)], [[listed(1), listed(2)], [listed(1), listed(2), listed(3)]])
    report = await fake.find()
    assert (report.compared, report.total, fake.reads) == (3, 0, [])


async def test_keys_that_a_page_left_out_are_asked_for_before_they_count_as_missing() -> None:
    fake = Fake([held(1), held(2)], [[listed(2)]], fresh_theirs={digest(1): listed(1)})
    report = await fake.find(mend=True)
    assert (report.compared, report.total, fake.mended) == (2, 0, [])


async def test_keys_out_of_order_end_the_comparison() -> None:
    fake = Fake([held(1), held(2)], [[listed(2), listed(1)]])
    report = await fake.find(mend=True)
    assert report.skipped == "LiteLLM did not list its keys in order."
    assert (report.is_complete, fake.mended, fake.blocked) == (False, [], [])


async def test_a_difference_is_only_shown_unless_it_is_to_be_mended() -> None:
    fake = Fake([held()], [[shown(rpm_limit=5)]])
    report = await fake.find()
    assert counted(report) == {"different": 1}
    assert (fake.mended, [one.done for one in report.named]) == ([], [""])
    report = await fake.find(mend=True)
    assert (fake.mended, [one.done for one in report.named]) == ([digest(1)], ["due"])


async def test_a_difference_that_is_gone_at_the_second_look_was_none() -> None:
    fake = Fake([held()], [[shown(rpm_limit=5)]], fresh_theirs={digest(1): listed()})
    report = await fake.find(mend=True)
    assert (report.compared, report.total, fake.mended) == (1, 0, [])


@pytest.mark.parametrize("change", [{"account_revision": 6}, {"resting": False}])
@pytest.mark.parametrize("mend", [True, False])
async def test_an_account_that_changes_between_the_reads_is_on_its_way(
    change: dict[str, Any], mend: bool
) -> None:
    def touch(fake: Fake) -> None:
        fake.fresh_ours[digest(1)] = held(**change)

    fake = Fake([held()], [[shown(rpm_limit=5)]], between=touch)
    report = await fake.find(mend=mend)
    assert (report.waiting, report.total, fake.mended) == (1, 0, [])


async def test_with_one_key_of_an_account_all_of_it_is_due() -> None:
    def touch(fake: Fake) -> None:
        if fake.mended:  # as the database does
            fake.fresh_ours[digest(2)] = held(2, resting=False, leads=False)

    pages = [[shown(rpm_limit=5), replace(listed(2), shown=replace(listed(2).shown, rpm_limit=6))]]
    fake = Fake([held(1), held(2, leads=False)], pages, between=touch)
    report = await fake.find(mend=True)
    assert counted(report) == {"different": 2}
    assert {one.done for one in report.named} == {"due"}


@pytest.mark.parametrize("resting", [True, False])
async def test_a_revoked_key_that_is_alive_is_blocked_on_sight(resting: bool) -> None:
    fake = Fake([in_state(KeyState.REVOKED, resting=resting)], [[listed()]])
    report = await fake.find()
    assert (counted(report), fake.blocked) == ({"alive": 1}, [])
    report = await fake.find(mend=True)
    assert (counted(report), fake.blocked) == ({"alive": 1}, [digest(1)])
    assert fake.mended == ([digest(1)] if resting else [])
    assert report.named[0].done == "blocked"


async def test_a_role_that_no_push_can_take_back_is_named_even_while_the_wallet_is_parked() -> None:
    user = replace(USER, role="proxy_admin", budget_micros=1)
    fake = Fake([held(resting=False)], [[listed(user=user)]], user=user)
    report = await fake.find(mend=True)
    assert counted(report) == {"escaped": 1}
    assert (fake.mended, report.named[0].done) == ([], "")


async def test_an_extra_with_our_mark_is_blocked_and_named_and_never_deleted() -> None:
    fake = Fake([], [[listed(7)]])
    report = await fake.find(mend=True)
    assert counted(report) == {"extra": 1}
    assert report.named[0].subject == f"key hash {digest(7)}"
    assert (fake.blocked, report.named[0].done) == ([digest(7)], "blocked")


async def test_a_blocked_extra_is_counted_and_left() -> None:
    fake = Fake([], [[listed(7, shown=replace(SHOWN, blocked=True))]])
    report = await fake.find(mend=True)
    assert (report.total, report.stopped, fake.blocked) == (0, 1, [])


async def test_a_key_that_was_made_during_the_walk_is_no_extra() -> None:
    fake = Fake([], [[listed(7)]], fresh_ours={digest(7): held(7, settled=False)})
    report = await fake.find(mend=True)
    assert (report.waiting, report.total, fake.blocked) == (1, 0, [])


async def test_an_extra_whose_mark_is_another_s_at_the_second_look_is_left_alone() -> None:
    fake = Fake([], [[listed(7)]], fresh_theirs={digest(7): listed(7, installation_id=None)})
    report = await fake.find(mend=True)
    assert (report.others, report.total, fake.blocked) == (1, 0, [])


async def test_the_page_for_a_person_names_what_differs_and_what_was_done() -> None:
    fake = Fake([held(1)], [[shown(rpm_limit=5), listed(7)]])
    lines = render(await fake.find(mend=True)).splitlines()
    assert lines[0] == "1 keys compared, 0 on their way; 0 of others left alone"
    assert "different there                        1" in lines
    assert lines[-2:] == [
        "  different: key k1: found rpm_limit 5, expected rpm_limit 100; its account is due",
        f"  extra: key hash {digest(7)}: found of user u1, expected no such key; blocked",
    ]


async def test_litellm_going_away_half_way_is_no_zero() -> None:
    class Away(Fake):
        async def list_keys(self) -> AsyncIterator[ListedPage]:
            yield ListedPage((listed(1),), 2, 2)
            raise TransientError("litellm_unreachable", "LiteLLM cannot be reached.")

    report = await Away([held(1), held(2)]).find()
    assert (report.compared, report.skipped) == (1, "LiteLLM cannot be reached.")
    assert report.as_json()["complete"] is False
