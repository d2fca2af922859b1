"""A stack of its own with thousands of keys, written in one go into both databases."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev.stack import Stack
from tests.drift.shelf import Shelf

KEYS = 100_000 if os.environ.get("LONG") else 5_000


@pytest.fixture(scope="package")
def shelf(homes: Path) -> Iterator[Shelf]:
    with Stack(homes / "drift") as stack:
        stack.unhurry()
        stack.stop_part("worker")  # it would mend what the tests break before anybody could name it
        with (
            psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db,
            psycopg.connect(stack.superuser_url("litellm"), autocommit=True) as litellm,
        ):
            shelf = Shelf(stack, db, litellm)
            shelf.fill(KEYS)
            yield shelf
