"""What the doctor found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer, and what to change when it is not "ok"."""

    verdict: Verdict
    text: str


def ok(text: str) -> Finding:
    return Finding(Verdict.OK, text)


def warning(text: str) -> Finding:
    return Finding(Verdict.WARNING, text)


def broken(text: str) -> Finding:
    return Finding(Verdict.BROKEN, text)
