"""HTTP with LiteLLM: what is repeated and bounded, and what an answer that does not come means."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import httpx
import stamina

from core.errors import RefusedError, TransientError
from core.gateways.answers import ForbiddenError, Json, read_answer
from core.metrics import CALL_SECONDS
from core.refusals import refused, unavailable


class Wire:
    """Calls of one LiteLLM with one key; all raise what ``LiteLLM`` says.

    Reads are repeated inside a call; a write only when it was certainly not sent, because two writes on their
    way at once may land in either order.
    """

    def __init__(self, base_url: str, key: str, timeout_seconds: float, client: httpx.AsyncClient) -> None:
        self.base_url = base_url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout_seconds = timeout_seconds
        self._client = client

    async def read(self, path: str, params: Mapping[str, str]) -> Json | None:
        """GET; None for LiteLLM's own 404. Repeated a few times within the call's time."""
        async for attempt in stamina.retry_context(
            on=TransientError, attempts=3, timeout=self._timeout_seconds, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                try:
                    return await self.send("GET", f"{self.base_url}{path}", params=params)
                except RefusedError as refusal:
                    if refusal.vendor_status == httpx.codes.NOT_FOUND:
                        return None
                    raise
        raise AssertionError("stamina always returns or raises")

    async def write(self, url: str, body: Json) -> None:
        """POST. All attempts together take no longer than one call may: a lease has room for no more."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async for attempt in stamina.retry_context(
                    on=_certainly_not_sent, attempts=3, timeout=None, wait_initial=0.1, wait_max=1.0
                ):
                    with attempt:
                        await self._post(url, body)
        except TimeoutError:
            raise _no_answer() from None

    async def _post(self, url: str, body: Json) -> None:
        try:
            await self.send("POST", url, json=body)
        except RefusedError as refusal:
            if refusal.vendor_status == httpx.codes.BAD_REQUEST:
                await self._check_reads()
            raise
        except ForbiddenError:
            await self._check_reads()
            raise refused("litellm_forbidden", vendor_status=403) from None

    async def _check_reads(self) -> None:
        """Tell a refusal from an outage or a wrong key.

        Without its database LiteLLM answers its writes with 400 and its reads with 500; a wrong key gets 401
        or 403 for both. Each raises TransientError here; a user that does not exist is a 404.
        """
        with contextlib.suppress(RefusedError):
            await self.send("GET", f"{self.base_url}/v2/user/info", params={"user_id": "keyfund-is-it-there"})

    async def send(self, method: str, url: str, **request: Any) -> Json:
        headers = {**self._headers, **request.pop("headers", {})}
        began = time.monotonic()
        outcome = "failed"
        try:
            # One bound over all of it: httpx's own timeouts are per step, and a lease must outlast a call.
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.request(method, url, headers=headers, **request)
            outcome = f"{response.status_code // 100}xx"
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise unavailable("litellm_unreachable") from None
        except (httpx.TransportError, TimeoutError):
            raise _no_answer() from None
        finally:
            CALL_SECONDS.labels("litellm", outcome).observe(time.monotonic() - began)
        return read_answer(response)


def _certainly_not_sent(error: Exception) -> bool:
    return isinstance(error, TransientError) and error.code == "litellm_unreachable"


def _no_answer() -> TransientError:
    return unavailable("litellm_no_answer", outcome_unknown=True)
