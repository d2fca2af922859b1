"""What is assembled: the parts that people ask much of are out of the way of those that move money."""

import asyncio
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from datetime import date
from typing import Any

from core.assembly import assemble
from core.domain.usage import Question
from tests.unit.service import make_settings
from tests.unit.test_http import Server, serving

USER = "01a215d6-9ef5-7c60-8a7b-eb6ba7b42801"


async def slow_for_usage(server: Server, reader: Reader, writer: Writer) -> None:
    """A LiteLLM that has much to count: only what a push asks is answered."""
    while True:
        request = await server.read(reader)
        if b" /v2/user/info" not in request:
            await reader.readexactly(1)
        body = json.dumps({"user_id": USER, "spend": 0.0, "max_budget": 1.0}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def test_a_crowd_that_looks_at_usage_and_estimates_keeps_no_push_waiting() -> None:
    async with serving(slow_for_usage) as litellm:
        settings = make_settings(litellm_base_url=litellm.url, litellm_master_key="sk-master")
        async with assemble(settings) as parts:
            assert parts.usage is not None
            assert parts.litellm is not None
            day = date(2026, 11, 26)
            question = Question(USER, "mock-small", "x", None, 0)
            crowd: list[asyncio.Task[Any]] = []
            for _ in range(50):
                crowd.append(asyncio.create_task(parts.usage.refresh(USER, day, day)))
                crowd.append(asyncio.create_task(parts.estimator.estimate(question)))
            await asyncio.sleep(0.5)
            async with asyncio.timeout(2):
                assert await parts.litellm.read_user(USER) is not None
            for one in crowd:
                one.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
