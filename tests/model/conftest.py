"""Quiet and without waits: a model run goes through thousands of failures."""

import logging
from collections.abc import Iterator

import pytest
import stamina
import structlog


@pytest.fixture(autouse=True)
def in_silence() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    """Retries inside a call go on at once, and as often as they do in production."""
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)
