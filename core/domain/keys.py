"""What we want LiteLLM to hold for a key, what it shows, and how the two differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from core.domain.routes import Fences

ADMIN_ROLES = ("proxy_admin", "proxy_admin_viewer")  # LiteLLM holds these to no budget
EXPIRY_TOLERANCE = timedelta(minutes=1)
"""LiteLLM is told how long a key lives, not until when: it counts from when the request comes."""
MANAGING = ("*", "/*", "/key", "/user", "/team", "/organization", "/budget", "/customer", "/config")


class KeyState(StrEnum):
    ACTIVE = "active"
    BLOCKED = "blocked"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class WantedKey:
    """A key as its owner wants it, within the fences. ``key`` is None once a revocation was confirmed.

    ``suspended``: its account is, so LiteLLM must hold it blocked whatever its owner wants.
    """

    id: str
    user_id: str
    installation_id: str
    key: str | None
    key_hash: str
    name: str
    state: KeyState
    budget_cents: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    revision: int
    confirmed: bool
    maybe_created: bool
    fences: Fences
    suspended: bool = False
    models: tuple[str, ...] = ()
    """The only models that the key may use; empty: all."""
    expires_at: datetime | None = None
    """From then on LiteLLM refuses the key; None: never."""
    of_key: str | None = None
    """The id of the key that this was the string of, if it is a former one; None: it is the key's own."""
    previous_hash: str | None = None
    """The string before this one, whose spend is not counted yet: until it is, this one waits."""

    @property
    def blocked(self) -> bool:
        """Revoked is blocked in LiteLLM: deleting would let a late create bring the key back to life."""
        return self.suspended or self.state is not KeyState.ACTIVE

    @property
    def marks(self) -> dict[str, Any]:
        """Our part of the key's metadata in LiteLLM; others may have theirs beside it."""
        return {
            "keyfund": self.installation_id,
            "keyfund_key_id": self.of_key or self.id,
            "keyfund_guard": self.fences.told_guard,
        }


@dataclass(frozen=True, slots=True)
class ObservedKey:
    """A key as LiteLLM shows it when read."""

    user_id: str | None
    team_id: str | None
    blocked: bool
    budget_cents: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: tuple[str, ...] = ()
    expires_at: datetime | None = None
    spend_micros: int = field(default=0, compare=False)
    resets_at: datetime | None = field(default=None, compare=False)
    routes: tuple[str, ...] = ()
    """The paths that it may call; empty: all that its user may."""
    max_parallel: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def can_manage(self) -> bool:
        """Whether it may do more than call models, such as make keys of its own."""
        managing = (route == "management_routes" or route.startswith(MANAGING) for route in self.routes)
        return not self.routes or any(managing)


@dataclass(frozen=True, slots=True)
class ObservedUser:
    """A LiteLLM user as it is shown when read; money in micro-dollars."""

    budget_micros: int | None
    budget_duration: str | None
    spend_micros: int
    role: str | None
    rpm_limit: int | None = None
    tpm_limit: int | None = None


def differences(wanted: WantedKey, observed: ObservedKey) -> tuple[str, ...]:
    """Name what LiteLLM holds otherwise than wanted; empty means synced.

    A blocked or revoked key only has to be blocked: its limits matter again when it is unblocked.
    """
    if wanted.blocked:
        return () if observed.blocked else ("blocked",)
    pairs = {
        "user_id": (wanted.user_id, observed.user_id),
        "team_id": (None, observed.team_id),
        "blocked": (False, observed.blocked),
        "max_budget": (wanted.budget_cents, observed.budget_cents),
        "budget_duration": (wanted.budget_duration, observed.budget_duration),
        "rpm_limit": (wanted.rpm_limit, observed.rpm_limit),
        "tpm_limit": (wanted.tpm_limit, observed.tpm_limit),
        "models": (sorted(wanted.models), sorted(observed.models)),
        "expires_at": (True, _expire_alike(wanted.expires_at, observed.expires_at)),
        "allowed_routes": (set(wanted.fences.paths), set(observed.routes)),
        "max_parallel_requests": (wanted.fences.key_max_parallel, observed.max_parallel),
        "metadata": (wanted.marks, {name: observed.metadata.get(name) for name in wanted.marks}),
    }
    return tuple(name for name, (want, have) in pairs.items() if want != have)


def _expire_alike(wanted: datetime | None, shown: datetime | None) -> bool:
    """Whether both say the same to the minute, or are both over."""
    if wanted is None or shown is None:
        return wanted is shown
    return abs(wanted - shown) <= EXPIRY_TOLERANCE or max(wanted, shown) <= datetime.now(UTC)


def opens_all(models: Sequence[str]) -> bool:
    """Whether a key's list is LiteLLM's for every model."""
    return not models or "all-proxy-models" in models


def any_model_of(models: Sequence[str]) -> str | None:
    """The name of one model that a key with this list may use; None: the list has only patterns."""
    return next((name for name in models if "*" not in name), None)


def holds_wallet(
    observed: ObservedUser | None,
    budget_micros: int,
    rpm_limit: int | None = None,
    tpm_limit: int | None = None,
) -> bool:
    """Whether LiteLLM's user row is the wallet: the amount, for life, and a role that is subject to it."""
    return (
        observed is not None
        and observed.budget_micros == budget_micros
        and observed.budget_duration is None
        and (observed.rpm_limit, observed.tpm_limit) == (rpm_limit, tpm_limit)
        and observed.role not in ADMIN_ROLES
    )
