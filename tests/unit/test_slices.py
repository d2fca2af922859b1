"""Where a slice of the comparison ends, how long LiteLLM is left alone after it, which keys were lost."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from core.domain.drift import Drift, DriftReport, DriftSlice, DriftStep, Kind, pause_seconds, read_report
from core.domain.pushes import SpendPage, lost_keys
from core.domain.usage import KeySpend
from core.flows.slices import BEYOND, ROWS, next_step

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def digest(number: int) -> str:
    return f"{number:064x}"


def hashes(numbers: Iterable[int]) -> list[str]:
    return [digest(number) for number in numbers]


def at(page: int, after: str) -> DriftSlice:
    return DriftSlice("token", page, after, NOW, "i1", DriftReport(NOW))


# ------------------------------------------------------------------- the ends


def test_a_slice_ends_with_its_page_and_the_next_one_begins_after_it() -> None:
    step = next_step(at(2, digest(100)), 5, hashes(range(101, 201)), hashes(range(101, 150)))
    assert step == DriftStep(3, digest(200), 5)


def test_the_last_page_ends_the_round_and_reaches_beyond_every_hash() -> None:
    step = next_step(at(5, digest(400)), 5, hashes(range(401, 420)), hashes(range(401, 420)))
    assert step == DriftStep(6, BEYOND, 5, ends_round=True)


def test_where_litellm_lost_many_the_same_page_is_compared_with_the_next_of_ours() -> None:
    ours = hashes(range(1, ROWS + 1))
    step = next_step(at(1, ""), 2, hashes([1, 5000]), ours)
    assert step == DriftStep(1, ours[-1], 2)
    step = next_step(at(1, ours[-1]), 2, hashes([1, 5000]), hashes([4000, 4999]))
    assert step == DriftStep(2, digest(5000), 2)


def test_a_list_that_became_shorter_or_empty_ends_the_round_with_all_that_is_ours() -> None:
    assert next_step(at(4, digest(300)), 2, [], hashes([310])).ends_round
    assert next_step(at(1, ""), 0, [], []).ends_round
    assert not next_step(at(1, ""), 0, [], hashes(range(ROWS))).ends_round


def test_a_page_of_keys_that_were_compared_before_is_passed_over() -> None:
    step = next_step(at(3, digest(250)), 5, hashes(range(150, 250)), hashes(range(251, 260)))
    assert step == DriftStep(4, digest(250), 5)


# ------------------------------------------------------------------- the pace


@pytest.mark.parametrize(
    ("call_seconds", "pages", "expected"),
    [
        (0.045, 100, 1.2),  # 10 000 keys in two minutes
        (0.045, 1000, 0.855),  # 5 % of its time: 100 000 in a quarter of an hour
        (0.5, 100, 9.5),  # a slow one is left alone for longer
        (0.01, 1, 120),
        (0.01, 0, 120),
    ],
)
def test_litellm_is_left_alone_in_proportion_to_what_its_calls_took(
    call_seconds: float, pages: int, expected: float
) -> None:
    pause = pause_seconds(call_seconds, pages, round_seconds=120, share_percent=5)
    assert pause == pytest.approx(expected)
    assert call_seconds / (call_seconds + pause) <= 0.05 + 1e-9


# ----------------------------------------------------------------- the report


def test_a_report_under_way_is_read_as_it_was_told_and_counts_its_parts_in() -> None:
    report = DriftReport(NOW, compared=2, waiting=1, others=3, stopped=1, call_seconds=0.5)
    report.add(Drift(Kind.MISSING, "key k1", "no such key", "active", done="due"))
    again = read_report(report.as_json())
    assert again == report
    part = DriftReport(NOW, compared=5)
    part.add(Drift(Kind.EXTRA, "key hash x", "of user u", "no such key"))
    again.add_all(part)
    assert (again.compared, again.total, len(again.named)) == (7, 2, 2)


# ------------------------------------------------------------------ lost keys


def page(seconds: dict[str, int], *, is_last: bool = False) -> SpendPage:
    """Keys by how long ago they changed."""
    keys = [KeySpend(name, 0, None, NOW - timedelta(seconds=age)) for name, age in seconds.items()]
    oldest = NOW - timedelta(seconds=max(seconds.values(), default=0))
    return SpendPage((), oldest, NOW, is_last, tuple(keys))


def test_a_key_that_should_be_among_those_that_changed_last_and_is_not_was_lost() -> None:
    before = page({"lost": 30, "stays": 40, "older": 100})
    assert lost_keys(before, page({"new": 1, "stays": 40, "another": 60})) == ["lost"]


def test_where_one_page_holds_all_keys_each_that_is_missing_was_lost() -> None:
    before = page({"one": 30, "two": 100}, is_last=True)
    assert lost_keys(before, page({"two": 100}, is_last=True)) == ["one"]
    assert lost_keys(before, page({}, is_last=True)) == ["one", "two"]


def test_keys_that_others_pushed_off_the_page_were_not_lost() -> None:
    before = page({"one": 30, "two": 100})
    assert lost_keys(before, page({"new": 1, "newer": 2})) == []
