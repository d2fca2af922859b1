"""What workers are told of what there is to do."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Look:
    """Which kinds of work are due, whether this worker is the one that looks, and when it asks again."""

    due: tuple[str, ...]
    looks: bool
    again_in_seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A chore that is ours to do: up to where it is done, and when it was given us (the database's clock)."""

    chore: str
    token: str
    mark: datetime | None
    asked_at: datetime
