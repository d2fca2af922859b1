"""The guard beside the real LiteLLM's counters, without a proxy around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.cases import FALLBACKS, MODELS
from tests.guard.worker import Worker, worker
from tests.support import ROOT

GUARD = ROOT / "guard" / "keyfund_guard.py"


@pytest.fixture(scope="session")
def litellm_python() -> Path:
    return ROOT / ".stack" / "litellm-venv" / "bin" / "python"


@pytest.fixture(scope="session")
def a_worker(litellm_python: Path) -> Iterator[Worker]:
    with worker(litellm_python, GUARD, MODELS, router={"fallbacks": FALLBACKS}) as one:
        yield one


@pytest.fixture
def desk(a_worker: Worker) -> Worker:
    """A worker that has the product's guard."""
    a_worker.ask("load", guard=str(GUARD))
    return a_worker
