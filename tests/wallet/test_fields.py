"""Nothing that a request may carry spends more than the wallet, or is done for nothing."""

import os

import pytest

from tests.wallet.audit import Audit, says_why
from tests.wallet.customers import Registry
from tests.wallet.fields import Json, volleys
from tests.wallet.routes import installed
from tests.wallet.site import Site

LONG = bool(os.environ.get("LONG"))
PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
BODIES: dict[str, Json] = {
    "chat": {"model": "live-large", "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "live-large", "prompt": "Hi"},
    "embeddings": {"model": "live-embed", "input": "Hi"},
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("route", PATHS)
def test_no_field_header_or_parameter_spends_more_than_the_wallet(
    site: Site, registry: Registry, route: str
) -> None:
    audit, wrong = Audit(site, registry.fresh(max_budget=100_000)), []
    body = BODIES[route] | ({"max_tokens": 1} if route != "embeddings" else {})
    for volley in volleys(installed("pinned"), route, thorough=LONG):
        attacked = audit.attack(PATHS[route], [each.request(body) for each in volley])
        wrong += [f"{volley[0]} …: {what}" for what in attacked.wrong]
        wrong += [
            f"{each} -> {answer.status_code} {answer.text[:200]}"
            for each, answer in zip(volley, attacked.answers, strict=True)
            if not says_why(answer, each.name)
        ]
    assert wrong == []
