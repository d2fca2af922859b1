"""The nightly comparisons: time for each row, and memory, at a small and a large size."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import psycopg

from bench.measure import Line, Row, Series
from dev.stack import ROOT, Stack
from tests.books.ledger import Ledger
from tests.drift.shelf import Ended, Shelf
from tests.support import Connection

SIZES = (4_000, 16_000)
Runs = tuple[list[float], list[float]]
"""Milliseconds for each row beyond what an empty comparison takes, and the most memory held, in MB."""


def measure(runs: int, scale: float) -> list[Row]:
    sizes = [int(size * min(1, scale)) for size in SIZES]
    runs = min(runs, 3)
    drift = [_compare_keys(size, runs) for size in sizes]
    books = [_compare_books(size, runs) for size in sizes]
    return [*_describe("drift", "keys", sizes, drift), *_describe("reconciliation", "accounts", sizes, books)]


def _describe(what: str, unit: str, sizes: list[int], runs: list[Runs]) -> Iterator[Row]:
    small, large = (f"{size:,} {unit}" for size in sizes)
    (few_times, few_peaks), (many_times, many_peaks) = runs
    yield Line(f"{what}, {large}", "ms/row", Series.of(many_times), small, Series.of(few_times), "≤1.2")
    yield Line(f"{what}, {large}", "MB at most", Series.of(many_peaks), small, Series.of(few_peaks), "≤1.2")


def _compare_keys(keys: int, runs: int) -> Runs:
    with _stack(f"drift-{keys}") as (stack, db, litellm):
        shelf = Shelf(stack, db, litellm)
        return _time(shelf.drift, lambda: shelf.fill(keys), keys, runs)


def _compare_books(accounts: int, runs: int) -> Runs:
    with _stack(f"books-{accounts}") as (stack, db, litellm):
        ledger, shelf = Ledger(stack, db, litellm), Shelf(stack, db, litellm)
        return _time(lambda: shelf.operate("reconcile"), lambda: ledger.fill(accounts), accounts, runs)


def _time(compare: Callable[[], Ended], fill: Callable[[], None], rows: int, runs: int) -> Runs:
    empty = median(_seconds(compare)[0] for _ in range(3))
    fill()
    ended = [_seconds(compare) for _ in range(runs)]
    return [(seconds - empty) * 1000 / rows for seconds, _ in ended], [peak for _, peak in ended]


def _seconds(compare: Callable[[], Ended]) -> tuple[float, float]:
    """How long it took, and the most memory that it held."""
    began = time.perf_counter()
    ended = compare()
    assert ended.status == 0, ended.out + ended.err
    return time.perf_counter() - began, ended.peak_mb


@contextmanager
def _stack(name: str) -> Iterator[tuple[Stack, Connection, Connection]]:
    with Stack(ROOT / ".stack" / "bench" / name, say=lambda _: None) as stack:
        stack.unhurry()
        stack.stop_part("worker")
        with (
            psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db,
            psycopg.connect(stack.superuser_url("litellm"), autocommit=True) as litellm,
        ):
            yield stack, db, litellm
