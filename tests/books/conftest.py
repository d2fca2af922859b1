"""A stack of its own with a ledger of 5 000 accounts, written in one go into all three systems."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev.stack import Stack
from tests.books.ledger import Ledger

ACCOUNTS = 20_000 if os.environ.get("LONG") else 5_000


@pytest.fixture(scope="package")
def ledger(homes: Path) -> Iterator[Ledger]:
    with Stack(homes / "books") as stack:
        stack.unhurry()
        stack.stop_part("worker")  # it would mend what the tests break before anybody could name it
        with (
            psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db,
            psycopg.connect(stack.superuser_url("litellm"), autocommit=True) as litellm,
        ):
            ledger = Ledger(stack, db, litellm)
            ledger.fill(ACCOUNTS)
            yield ledger
