"""What the log tells of a LiteLLM that goes away and comes back."""

from typing import Any, cast

from structlog.testing import capture_logs

from core.errors import TransientError
from core.gateways.litellm import LiteLLM
from core.store import ServiceStore
from worker.jobs.sync import ProbeLiteLLM


class Database:
    async def claim_probe(self) -> bool:
        return True

    async def report_gateway(self, **_: Any) -> None: ...


class Proxy:
    answers = True

    async def ping(self) -> None:
        if not self.answers:
            raise TransientError("litellm_unreachable", "LiteLLM cannot be reached.")


async def test_the_return_of_litellm_is_logged_once() -> None:
    proxy = Proxy()
    probe = ProbeLiteLLM(cast(ServiceStore, Database()), cast(LiteLLM, proxy))
    with capture_logs() as lines:
        for proxy.answers in (True, False, False, True, True):
            await probe.run_once()
    assert [line["event"] for line in lines] == ["litellm.away", "litellm.away", "litellm.back"]
