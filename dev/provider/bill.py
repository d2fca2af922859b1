"""The provider's bill, which is also its log: every request that arrived, what it asked for, what it cost."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from dev.provider.refusal import JsonObject

WORKING, ANSWERED, REFUSED, FAILED, CUT_OFF = "working", "answered", "refused", "failed", "cut_off"


@dataclass
class Call:
    """One request. `cost_micros` grows while a stream is generated.

    `outcome` is `working` until the answer has ended; then `answered`, `refused` (nothing is billed),
    `failed` (the provider broke off) or `cut_off` (the connection ended before the answer did).
    """

    route: str
    model: str = ""
    cost_micros: int = 0
    outcome: str = WORKING
    status: int | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    batch: str | None = None
    """The batch that the call is a line of: it then costs half."""
    id: str = field(default_factory=lambda: uuid4().hex)

    def charge(self, model: str, cost_micros: int, **asked: Any) -> None:
        """Bill the call so much, and note what for."""
        self.model = model
        self.cost_micros = cost_micros if self.batch is None else cost_micros // 2
        self.asked |= asked

    def end(self, outcome: str) -> None:
        """Close the call, unless it was closed before."""
        if self.outcome == WORKING:
            self.outcome = outcome


class Bill:
    """The calls since the bill was last started anew, the oldest first."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def open(self, route: str) -> Call:
        """A call that has arrived just now."""
        self.calls.append(call := Call(route))
        return call

    def clear(self) -> None:
        """Start anew. A call in the making ends on the bill that it began on, which nobody sees any more."""
        self.calls = []

    def told(self) -> JsonObject:
        """The bill in micro-dollars: the sum of all, what of it was not answered in full, each call."""
        return {
            "total_micros": sum(call.cost_micros for call in self.calls),
            "failed_micros": self._sum(FAILED),
            "cut_off_micros": self._sum(CUT_OFF),
            "calls": [asdict(call) for call in self.calls],
        }

    def _sum(self, outcome: str) -> int:
        return sum(call.cost_micros for call in self.calls if call.outcome == outcome)
