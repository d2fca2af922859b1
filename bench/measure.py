"""Series of measurements, and the ratio of one to its limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True)
class Series:
    """The same figure over several runs."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Series":
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(min(self.values))}–{short(max(self.values))})"


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure, its limit, and the ratio of each run to the limit of the same run.

    ``aim``: what the ratio should be, at least for throughput (``≥``), at most for times (``≤``).
    """

    what: str
    unit: str
    ours: Series
    limit_is: str
    limit: Series
    aim: str = ""

    @property
    def ratio(self) -> Series:
        pairs = zip(self.ours.values, self.limit.values, strict=True)
        return Series.of([one / other if other else float("inf") for one, other in pairs])

    @property
    def holds(self) -> bool | None:
        """Whether the aim is met by the median; None: there is none."""
        return meets(self.aim, self.ratio.median)


@dataclass(frozen=True)
class Fact:
    """One line that has no limit of the same run; ``aim`` is what its median should be, in its own unit."""

    what: str
    unit: str
    value: Series
    aim: str = ""

    @property
    def holds(self) -> bool | None:
        return meets(self.aim, self.value.median)


Row = Line | Fact


def meets(aim: str, value: float) -> bool | None:
    if not aim:
        return None
    return value >= float(aim[1:]) if aim[0] == "≥" else value <= float(aim[1:])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies (nearest rank)."""
    ranked = sorted(values)
    return ranked[ceil(share * len(ranked)) - 1]


def short(value: float) -> str:
    """Three digits that mean something."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
