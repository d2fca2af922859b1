"""The LiteLLMs that are attacked, and the people who do it."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from dev.litellm import Proxy
from dev.stack import Stack
from tests.wallet.beside import beside, site_of
from tests.wallet.customers import Registry
from tests.wallet.site import Site

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Puts a line below the run's results: what an attack came to is worth reading where nothing failed."""
    return lambda line: record_property("said", line)


@pytest.fixture
def registry(stack: Stack) -> Iterator[Registry]:
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        yield Registry(stack.env, db)


@pytest.fixture
def site(stack: Stack) -> Site:
    """The stack's own LiteLLM, with the guard."""
    return site_of(stack)


@pytest.fixture(scope="package")
def unguarded(stack: Stack) -> Iterator[Site]:
    """The same without the guard: it shows what the guard is for."""
    with beside(stack, Proxy(guard=False)) as site:
        yield site
