"""What the guard adds to a call inside LiteLLM: in memory, and with a Redis."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.measure import Fact, Row, Series
from dev import litellm, redis
from dev.child import Child
from dev.stack import ROOT, free_port
from tests.guard.cases import HELLO, MARK, MODELS
from tests.guard.worker import Json, Worker, worker

CALLS = 10_000
CALL = {
    "call_type": "acompletion",
    "body": {"model": "small", "messages": HELLO, "max_tokens": 1},
    "mark": MARK,
    "wallet": 1_000_000.0,
}
GUARD = ROOT / "guard" / "keyfund_guard.py"


def measure(runs: int, scale: float) -> list[Row]:
    litellm.install(ROOT, print)
    python = litellm.environment(ROOT, "pinned") / "bin" / "python"
    calls = int(CALLS * scale)
    with worker(python, GUARD, MODELS) as one:
        alone = _milliseconds(one, runs, calls)
    with _redis() as server, worker(python, GUARD, MODELS, redis=server) as one:
        shared = _milliseconds(one, runs, calls)
    return [
        Fact(f"guard, p50 of {calls:,} calls", "ms", Series.of(alone), aim="≤0.2"),
        Fact(f"guard with Redis, p50 of {calls:,} calls", "ms", Series.of(shared), aim="≤1"),
    ]


def _milliseconds(one: Worker, runs: int, calls: int) -> list[float]:
    return [1000 * median(one.ask("time", call=CALL, times=calls)) for _ in range(runs)]


@contextmanager
def _redis() -> Iterator[Json]:
    with TemporaryDirectory() as folder:
        port, password = free_port(), secrets.token_hex(16)
        child = Child(redis.part(Path(folder), port=port, password=password), Path(folder) / "log", {})
        child.spawn()
        try:
            child.wait_ready()
            yield {"host": "127.0.0.1", "port": port, "password": password}
        finally:
            child.stop()
