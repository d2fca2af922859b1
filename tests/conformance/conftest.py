"""The same cases against the stand-in, in this process, and against the real LiteLLM, without the guard."""

from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from core.gateways.litellm import LiteLLM
from dev.litellm import releases
from dev.stack import ROOT, Stack
from tests.conformance.app import create_app
from tests.conformance.standin import StandIn
from tests.conformance.subject import Subject, settings_for

STACKS = {"pinned": "unguarded", "newest": "unguarded_newest"}
"""The stack's fixture for each real LiteLLM."""


@pytest.fixture(params=["standin", *releases(ROOT)])
def real_one(request: pytest.FixtureRequest) -> Stack | None:
    if request.param == "standin":
        return None
    running: Stack = request.getfixturevalue(STACKS[request.param])
    return running


@pytest.fixture
async def subject(real_one: Stack | None) -> AsyncIterator[Subject]:
    standin = StandIn()
    if real_one is None:
        url, master_key = "http://litellm.test", standin.master_key
        client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(standin)), base_url=url)
    else:
        url, master_key = real_one.env["LITELLM_BASE_URL"], real_one.env["LITELLM_MASTER_KEY"]
        client = httpx.AsyncClient(base_url=url, timeout=30)
    client.headers["authorization"] = f"Bearer {master_key}"

    async def lose_user(user_id: str) -> None:
        if real_one is None:
            standin.lose_user(user_id)
            return
        with psycopg.connect(real_one.address.url("litellm", "litellm"), autocommit=True) as database:
            database.execute('delete from "LiteLLM_UserTable" where user_id = %s', [user_id])

    async with client:
        yield Subject(client, LiteLLM(settings_for(url, master_key), client), lose_user)
