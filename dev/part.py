"""What the supervisor needs to know about each process of the stack."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """One process of the stack: what to run, and how to tell that it is ready."""

    name: str
    argv: list[str]
    url: str
    ready: Callable[[], bool]  # cheap, never raises; polled until True
    env: dict[str, str] = field(default_factory=dict)  # added to the supervisor's environment
    cwd: Path | None = None
    ready_timeout_seconds: float = 120
