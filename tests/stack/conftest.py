"""The stack's LiteLLM, for the tests of it."""

import pytest

from tests.stack.proxy import Proxy


@pytest.fixture(scope="session")
def proxy(env: dict[str, str]) -> Proxy:
    return Proxy(env)
