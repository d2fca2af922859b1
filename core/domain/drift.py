"""What LiteLLM holds of our keys and wallets against what it should hold, and how the two differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.domain.keys import ADMIN_ROLES, KeyState, ObservedKey, ObservedUser, WantedKey, differences
from core.domain.money import dollars_from_micros

SHOWN = 200
ESCAPES = {"user_id", "team_id", "allowed_routes", "metadata"}
"""What takes a key out of the account's wallet: another owner, a team, further routes, no marks."""


class Kind(StrEnum):
    """How the two sides differ. The values are names in reports and metrics."""

    MISSING = "missing"
    DIFFERENT = "different"
    ALIVE = "alive"
    ESCAPED = "escaped"
    BACKWARDS = "backwards"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as LiteLLM tells of it; ``user`` is None where it has no such row, or was not asked.

    ``installation_id`` is the mark of whoever made it through Keyfund; money in micro-dollars.
    """

    key_hash: str
    shown: ObservedKey
    installation_id: str | None
    user: ObservedUser | None = None
    preview: str | None = None
    kind: str | None = None
    budget_micros: int | None = None
    spend_micros: int = 0


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page of all keys, and how many pages and keys there are, as LiteLLM counts them just then."""

    keys: tuple[ListedKey, ...]
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key as the database has it, and what its account's wallet should be.

    ``settled``: LiteLLM showed the key as it is wanted now. ``parked``: LiteLLM refused it for good.
    ``resting``: nobody is pushing the account, and nothing about it is on its way or unsettled.
    ``leads``: the one key of its account at which the wallet is compared.
    """

    wanted: WantedKey
    settled: bool
    parked: bool
    account_revision: int
    resting: bool
    leads: bool
    budget_micros: int
    seen_micros: int
    rpm_limit: int | None = None
    tpm_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: what LiteLLM shows, what it should, and what was done about it.

    ``certain``: no change on its way could want this, so nothing has to come to rest before it is named.
    """

    kind: Kind
    subject: str
    found: str
    expected: str
    done: str = ""
    certain: bool = False


@dataclass(slots=True)
class DriftReport:
    """What one comparison found. The first differences are kept by name, all are counted.

    ``waiting``: not compared because it is on its way; ``stopped``: extras that are blocked already;
    ``others``: keys in the same LiteLLM that are none of ours; ``skipped``: why not all was compared;
    ``call_seconds``: how long LiteLLM took to answer, all calls together, where that was measured.
    """

    began_at: datetime
    compared: int = 0
    waiting: int = 0
    others: int = 0
    stopped: int = 0
    skipped: str | None = None
    call_seconds: float = 0.0
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    named: list[Drift] = field(default_factory=list)

    def add(self, drift: Drift) -> None:
        self.counts[drift.kind] += 1
        if len(self.named) < SHOWN:
            self.named.append(drift)

    def add_all(self, part: "DriftReport") -> None:
        """Count in what was found in a part of the keys."""
        self.compared += part.compared
        self.waiting += part.waiting
        self.others += part.others
        self.stopped += part.stopped
        self.named += part.named[: SHOWN - len(self.named)]
        for kind, count in part.counts.items():
            self.counts[kind] += count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def is_complete(self) -> bool:
        """Whether all was compared: a zero of a comparison that was cut short says nothing."""
        return self.skipped is None

    def as_json(self) -> dict[str, Any]:
        return {
            "began_at": self.began_at.isoformat(),
            "complete": self.is_complete,
            "skipped": self.skipped,
            "differences": self.total,
            "compared": self.compared,
            "waiting": self.waiting,
            "others": self.others,
            "stopped_extras": self.stopped,
            "call_seconds": round(self.call_seconds, 3),
            "kinds": {kind.value: count for kind, count in self.counts.items()},
            "named": [
                {"kind": one.kind, "subject": one.subject, "found": one.found, "expected": one.expected}
                | {"done": one.done}
                for one in self.named
            ],
        }


def read_report(told: Mapping[str, Any]) -> DriftReport:
    """A comparison that is under way, as ``as_json`` told it."""
    report = DriftReport(
        datetime.fromisoformat(told["began_at"]),
        compared=told["compared"],
        waiting=told["waiting"],
        others=told["others"],
        stopped=told["stopped_extras"],
        call_seconds=told["call_seconds"],
    )
    report.counts.update({Kind(kind): count for kind, count in told["kinds"].items()})
    report.named += [Drift(**one | {"kind": Kind(one["kind"])}) for one in told["named"]]
    return report


@dataclass(frozen=True, slots=True)
class DriftSlice:
    """Some keys that are ours to compare: those that LiteLLM lists from a page on, after that hash.

    ``at``: the database's time when it was claimed; ``report``: what the round has found so far.
    """

    token: str
    page: int
    after: str
    at: datetime
    installation_id: str
    report: DriftReport


@dataclass(frozen=True, slots=True)
class DriftStep:
    """How far a slice came: where the next one begins, and of how many pages there are."""

    page: int
    after: str
    pages: int
    ends_round: bool = False


def pause_seconds(call_seconds: float, pages: int, *, round_seconds: float, share_percent: float) -> float:
    """How long to leave LiteLLM alone after a slice.

    Long enough to keep to the share of LiteLLM's time, and to spread a round over its planned length.
    """
    return max(call_seconds * (100 / share_percent - 1), round_seconds / max(pages, 1))


def compare(held: HeldKey, listed: ListedKey | None, user: ObservedUser | None) -> list[Drift]:
    """Name what LiteLLM holds otherwise than wanted of a key and, where the key leads, of its wallet.

    What it has not confirmed yet is not compared.
    """
    found = [drift for drift in [_compare_key(held, listed)] if drift is not None]
    if held.leads:
        found += [drift for drift in _compare_wallet(held, user) if held.resting or drift.certain]
    return found


def _compare_key(held: HeldKey, listed: ListedKey | None) -> Drift | None:
    wanted, subject = held.wanted, f"key {held.wanted.id}"
    revoked = wanted.state is KeyState.REVOKED
    if not held.settled and not (held.parked and revoked):
        return None
    if listed is None:
        return None if revoked else Drift(Kind.MISSING, subject, "no such key", wanted.state.value)
    wrong = differences(wanted, listed.shown)
    if not wrong:
        return None
    if wanted.blocked:
        why = "suspended" if wanted.state is KeyState.ACTIVE else wanted.state.value
        return Drift(Kind.ALIVE, subject, "not blocked", why, certain=revoked)
    kind = Kind.ESCAPED if _escapes(wanted, listed.shown, wrong) else Kind.DIFFERENT
    expected = "; ".join(f"{name} {_wanted_value(wanted, name)}" for name in wrong)
    return Drift(
        kind, subject, "; ".join(f"{name} {_shown_value(listed.shown, name)}" for name in wrong), expected
    )


def _escapes(wanted: WantedKey, shown: ObservedKey, wrong: Sequence[str]) -> bool:
    is_narrowed = bool(shown.routes) and set(shown.routes) < set(wanted.fences.paths)
    return bool(ESCAPES.intersection(wrong) - ({"allowed_routes"} if is_narrowed else set()))


def _compare_wallet(held: HeldKey, user: ObservedUser | None) -> list[Drift]:
    subject = f"account {held.wanted.user_id}"
    wallet = _dollars(held.budget_micros)
    if user is None:
        return [Drift(Kind.MISSING, subject, "no such user", wallet)]
    found = []
    if user.role in ADMIN_ROLES:
        role = f"role {user.role}"
        found.append(Drift(Kind.ESCAPED, subject, role, "a role that budgets hold for", certain=True))
    if user.spend_micros < held.seen_micros:
        spent = f"{_dollars(user.spend_micros)} spent"
        found.append(Drift(Kind.BACKWARDS, subject, spent, f"{_dollars(held.seen_micros)} or more"))
    if user.budget_micros != held.budget_micros or user.budget_duration is not None:
        shown = _dollars(user.budget_micros)
        shown += f" per {user.budget_duration}" if user.budget_duration else ""
        found.append(Drift(Kind.DIFFERENT, subject, shown, wallet))
    limits, wanted = (user.rpm_limit, user.tpm_limit), (held.rpm_limit, held.tpm_limit)
    if limits != wanted:
        found.append(Drift(Kind.DIFFERENT, subject, f"rpm, tpm {limits}", f"rpm, tpm {wanted}"))
    return found


def extra(listed: ListedKey) -> Drift:
    """A key with our mark that the database does not know."""
    owner = f"of user {listed.shown.user_id}" if listed.shown.user_id else "without a user"
    return Drift(Kind.EXTRA, f"key hash {listed.key_hash}", owner, "no such key")


def _wanted_value(wanted: WantedKey, name: str) -> str:
    if name == "max_budget":
        return _cents(wanted.budget_cents)
    if name == "allowed_routes":
        return ", ".join(wanted.fences.paths)
    if name == "max_parallel_requests":
        return str(wanted.fences.key_max_parallel)
    if name == "models":
        return ", ".join(wanted.models) or "any"
    if name == "expires_at":
        return _time(wanted.expires_at)
    if name == "metadata":
        return "Keyfund's marks"
    return {"team_id": "none", "blocked": "no"}.get(name) or str(getattr(wanted, name))


def _shown_value(shown: ObservedKey, name: str) -> str:
    if name == "max_budget":
        return _cents(shown.budget_cents)
    if name == "allowed_routes":
        return ", ".join(shown.routes) or "any"
    if name == "max_parallel_requests":
        return "any" if shown.max_parallel is None else str(shown.max_parallel)
    if name == "models":
        return ", ".join(shown.models) or "any"
    if name == "expires_at":
        return _time(shown.expires_at)
    if name == "metadata":
        return "other marks"  # never what others keep there
    return "yes" if name == "blocked" else str(getattr(shown, name))


def _time(time: datetime | None) -> str:
    return "never" if time is None else f"{time:%Y-%m-%d %H:%M}"


def _cents(cents: int | None) -> str:
    return "unlimited" if cents is None else f"${cents / 100:.2f}"


def _dollars(micros: int | None) -> str:
    return "unlimited" if micros is None else f"${dollars_from_micros(micros):.6f}"
