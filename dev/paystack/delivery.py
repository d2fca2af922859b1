"""One webhook on its way to the receiver."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from dev.paystack.clock import Clock
from dev.paystack.wire import JsonObject, stamp, stamp_or_null

TIMEOUT_SECONDS: Final = 30.0
# Seconds before each further try. Source: Paystack's webhook documentation.
LADDERS: Final = {
    "live": (180.0,) * 4 + (3600.0,) * 72,
    "test": (3600.0,) * 10,
}


class State(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    HELD = "held"  # kept back to go out behind a later one
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Attempt:
    """One try: the receiver's HTTP status, or why there was none."""

    at: datetime
    status: int | None
    error: str | None = None


@dataclass
class Delivery:
    """A signed body and every try to hand it over."""

    id: int
    event: str
    reference: str | None
    raw: bytes
    signature: str
    ladder: tuple[float, ...]
    next_attempt_at: datetime | None
    state: State = State.WAITING
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def tried(self) -> bool:
        """Whether its first try is over, or will never come by itself."""
        return bool(self.attempts) or self.state is not State.WAITING

    def record(self, attempt: Attempt, clock: Clock) -> None:
        """Note a try. Exactly 200 ends the delivery; anything else climbs the ladder to its end."""
        self.attempts.append(attempt)
        self.next_attempt_at = None
        if attempt.status == 200:
            self.state = State.DELIVERED
        elif len(self.attempts) <= len(self.ladder):
            self.next_attempt_at = clock.after(self.ladder[len(self.attempts) - 1])
        else:
            self.state = State.GIVEN_UP

    def told(self) -> JsonObject:
        """What GET /sandbox/deliveries says about it."""
        return {
            "id": self.id,
            "event": self.event,
            "reference": self.reference,
            "state": self.state.value,
            "attempts": [
                {"at": stamp(attempt.at), "status": attempt.status, "error": attempt.error}
                for attempt in self.attempts
            ],
            "next_attempt_at": stamp_or_null(self.next_attempt_at),
            "signature": self.signature,
            "raw": self.raw.decode(),
        }
