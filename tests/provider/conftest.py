"""A provider inside the test, without a port."""

from collections.abc import AsyncIterator

import pytest

from dev.provider import Desk

from .client import KEY, Client, client_of


@pytest.fixture
def desk() -> Desk:
    return Desk(KEY)


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    async with client_of(desk) as client:
        yield client
