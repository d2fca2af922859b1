"""The guard beside the real LiteLLM's counters, without a proxy around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import litellm
from dev.litellm import Release, releases
from dev.stack import ROOT
from tests.guard.cases import FALLBACKS, MODELS
from tests.guard.worker import Worker, worker

GUARD = ROOT / "guard" / "keyfund_guard.py"


@pytest.fixture(scope="session")
def litellm_python() -> Path:
    return python_of("pinned")


def python_of(release: Release) -> Path:
    litellm.install(ROOT, print, release)
    return litellm.environment(ROOT, release) / "bin" / "python"


@pytest.fixture(scope="session")
def a_worker(litellm_python: Path) -> Iterator[Worker]:
    with worker(litellm_python, GUARD, MODELS, router={"fallbacks": FALLBACKS}) as one:
        yield one


@pytest.fixture
def desk(a_worker: Worker) -> Worker:
    """A worker of the pinned LiteLLM that has the product's guard."""
    a_worker.ask("load", guard=str(GUARD))
    return a_worker


@pytest.fixture(scope="session", params=releases(ROOT))
def each_worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    with worker(python_of(request.param), GUARD, MODELS, router={"fallbacks": FALLBACKS}) as one:
        yield one


@pytest.fixture
def each_desk(each_worker: Worker) -> Worker:
    """The same of each LiteLLM."""
    each_worker.ask("load", guard=str(GUARD))
    return each_worker
