"""A sandbox inside the test: no ports, and a clock that the test moves."""

from collections.abc import AsyncIterator

import httpx
import pytest

from dev.paystack import ManualClock, Sandbox, Settings, create_app

from .merchant import SECRET_KEY, WEBHOOK_URL, Merchant, Receiver


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def sandbox(clock: ManualClock, receiver: Receiver) -> AsyncIterator[Sandbox]:
    settings = Settings(secret_key=SECRET_KEY, webhook_url=WEBHOOK_URL)
    sender = httpx.AsyncClient(transport=httpx.MockTransport(receiver))
    sandbox = Sandbox(settings, clock=clock, sender=sender)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture
async def merchant(sandbox: Sandbox) -> AsyncIterator[Merchant]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(sandbox)),
        base_url="http://paystack.example",
        headers={"Authorization": f"Bearer {SECRET_KEY}"},
    ) as http:
        yield Merchant(http)
