"""Every route that LiteLLM accepts is in the table of `docs/routes.md`, and does what the table says."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from dev.litellm import Proxy, Release
from dev.stack import Stack
from tests.integration.world import until
from tests.wallet.asking import Answer, ask, ask_all
from tests.wallet.beside import beside, operator_settings, site_of
from tests.wallet.customers import Customer, Registry
from tests.wallet.filling import Filler, Json
from tests.wallet.routes import Route, Verdict, described, installed, openapi, written
from tests.wallet.site import Site
from tests.wallet.victim import Victim

TABLE = written()
CHAT: Json = {"model": "live-small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
BODIES: dict[str, Json] = {
    "chat": CHAT,
    "completions": {"model": "live-small", "prompt": "Hello", "max_tokens": 10},
    "embeddings": {"model": "live-embed", "input": "Hello"},
}
"""Honest bodies, by what a path ends on."""

SPELLINGS = (
    "{path}/",
    "/{path}",
    "/v1{path}",
    "{path}//",
    "{path}/x",
    "{path}/live-small",
    "{path}/../files",
    "{path}%2f..%2ffiles",
    "{path}:generateContent",
    "{path};x=1",
    "/./{path}",
    "/engines/live-small{path}",
    "/openai/deployments/live-small{path}",
    "/openai{path}",
    "/openai/v1{path}",
    "/{upper}",
)


@dataclass(frozen=True)
class Scene:
    """A LiteLLM of one release, somebody who attacks, and somebody who owns things there."""

    release: Release
    site: Site
    registry: Registry
    attacker: Customer
    victim: Victim
    filler: Filler
    routes: frozenset[Route]

    def having(self, *verdicts: Verdict) -> list[Route]:
        """The release's routes to which the table gives one of these verdicts."""
        return sorted(route for route in self.routes if TABLE.get(route) in verdicts)


@pytest.fixture(scope="module", params=get_args(Release))
def scene(request: pytest.FixtureRequest, homes: Path, run_lock: None) -> Iterator[Scene]:
    with ExitStack() as doors:
        stack, site = doors.enter_context(stage(request, homes))
        db = doors.enter_context(psycopg.connect(stack.superuser_url("keyfund"), autocommit=True))
        registry = Registry(stack.env, db)
        attacker, owner = registry.some(2)
        victim = Victim.of(site, owner)
        document = openapi(site.litellm_url)
        routes = described(document) | installed(request.param).routes
        yield Scene(
            request.param, site, registry, attacker, victim, Filler(document, victim.ids), routes
        )


def stage(request: pytest.FixtureRequest, homes: Path) -> Any:
    raise NotImplementedError
