"""Warnings for operators: a missing or old guard, and proofs made on another LiteLLM version."""

import re
from dataclasses import dataclass

from core.domain.routes import PROOFLESS, RouteReport

MISSING = (
    "Keyfund's guard is not loaded into LiteLLM, so nothing bounds what an account spends beyond its "
    "wallet. Load it as docs/guard.md says."
)
OUTDATED = (
    "LiteLLM runs Keyfund's guard {}, and this Keyfund comes with {}. Replace keyfund_guard.py beside "
    "LiteLLM's configuration, and restart LiteLLM."
)
STALE = "Open, but not proved for LiteLLM {} with its guard: {}. Run: python -m operate doctor --prove ROUTE."


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What LiteLLM has loaded, as far as it matters. ``guard_version`` is None where no guard is."""

    guard_version: str | None


def describe_guard(seen: str | None, shipped: str | None) -> str | None:
    """What is wrong with the guard that was seen in LiteLLM; None: nothing. ``shipped`` is this Keyfund's."""
    if seen is None:
        return MISSING
    if shipped is not None and _number(seen) < _number(shipped):
        return OUTDATED.format(seen, shipped)
    return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version))


def stale_routes(
    report: RouteReport, litellm_version: str | None, guard_version: str | None
) -> tuple[str, ...]:
    """The open routes that need a proof and have none for these versions.

    A proof that was made with a guard counts with any guard: its operator is told of an outdated one apart.
    """
    proved = {
        proof.route
        for proof in report.proofs
        if proof.litellm_version == litellm_version
        and (proof.guard_version is None or guard_version is not None)
    }
    return tuple(
        route for route in report.fences.open_routes if route not in proved and route not in PROOFLESS
    )


def describe_routes(
    report: RouteReport, litellm_version: str | None, guard_version: str | None
) -> str | None:
    stale = stale_routes(report, litellm_version, guard_version)
    return STALE.format(litellm_version, ", ".join(stale)) if litellm_version and stale else None
