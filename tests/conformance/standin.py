"""A LiteLLM in memory, as far as Keyfund uses it: users, keys, budgets, spend, and what it can lose.

`tests.conformance` runs the same cases against this and the real proxy; that is why it may be trusted.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Json = dict[str, Any]

LONGEST_PAGE: Final = 100
CHAT: Final = "/v1/chat/completions"
COSTS: Final = {"mock-small": 0.00048, "mock-large": 0.048, "mock-costly": 1.0008}
"""What one call of each model of the stack's LiteLLM costs, in dollars, with the prompt that tests send."""

_ROUTES: Final = {"llm_api": "llm_api_routes", "management": "management_routes", "read_only": "info_routes"}
_DURATION: Final = re.compile(r"\d+(s|m|h|d|w|mo)|hourly|daily|weekly|monthly")
_KEY_FIELDS: Final = (
    "user_id", "team_id", "max_budget", "budget_duration", "rpm_limit", "tpm_limit", "metadata", "models",
    "key_type", "allowed_routes", "max_parallel_requests",
)  # fmt: skip


class RefusalError(Exception):
    """LiteLLM says no, in its own words."""

    def __init__(self, status: int, message: str, kind: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": str(status)}}


@dataclass
class UserRow:
    """An internal user; money in dollars, as LiteLLM keeps it."""

    user_id: str
    max_budget: float | None = None
    budget_duration: str | None = None
    user_role: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    spend: float = 0.0


@dataclass
class KeyRow:
    """A virtual key, known by the sha256 of its string."""

    token: str
    key_name: str
    updated_at: datetime
    user_id: str | None = None
    team_id: str | None = None
    max_budget: float | None = None
    budget_duration: str | None = None
    budget_reset_at: datetime | None = None
    expires: datetime | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    metadata: Json = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    key_type: str | None = "default"
    allowed_routes: list[str] = field(default_factory=list)
    blocked: bool = False
    spend: float = 0.0
    deleted: bool = False

    def told(self) -> Json:
        fields = {name: value for name, value in vars(self).items() if name != "deleted"}
        return fields | {
            "updated_at": self.updated_at.isoformat(),
            "budget_reset_at": _told(self.budget_reset_at),
            "expires": _told(self.expires),
        }


@dataclass
class StandIn:
    """LiteLLM's state and rules, with `fail_closed_budget_enforcement` as the stack sets it."""

    master_key: str = "sk-master-of-the-stand-in"
    longest_page: int = LONGEST_PAGE
    users: dict[str, UserRow] = field(default_factory=dict)
    rows: dict[str, KeyRow] = field(default_factory=dict)
    stale: dict[str, float] = field(default_factory=dict)
    elapsed: timedelta = timedelta()
    ticks: int = 0
    """``stale``: what the next read shows of a user's spend, as a replica that lags would."""

    # ------------------------------------------------------------------ users

    def update_user(self, body: Mapping[str, Any]) -> UserRow:
        """`POST /user/update`: an upsert; explicit nulls clear."""
        user_id = str(body["user_id"])
        _check_budget(body, least=-math.inf)
        row = self.users.setdefault(user_id, UserRow(user_id))
        for name in ("max_budget", "budget_duration", "user_role", "rpm_limit", "tpm_limit", "spend"):
            if name in body:
                setattr(row, name, body[name])
        return row

    def find_user(self, user_id: str) -> UserRow:
        row = self.users.get(user_id)
        if row is None:
            raise RefusalError(404, f"User not found: {user_id}", "internal_server_error")
        shown = min(row.spend, self.stale.pop(user_id, row.spend))
        return UserRow(**(vars(row) | {"spend": shown}))

    # ------------------------------------------------------------------- keys

    @property
    def keys(self) -> dict[str, KeyRow]:
        """Keys that are not deleted."""
        return {token: row for token, row in self.rows.items() if not row.deleted}

    def generate_key(self, body: Mapping[str, Any]) -> KeyRow:
        """`POST /key/generate` under the caller's string: a repetition changes nothing."""
        key = str(body["key"])
        if not key.startswith("sk-") or len(key) < 16:
            raise RefusalError(400, "{'error': 'Invalid key format.'}", "internal_server_error")
        _check_budget(body, least=0)
        token = hash_of(key)
        if token in self.keys:
            return self.keys[token]
        row = KeyRow(token, f"sk-...{key[-4:]}", self._tick(), blocked=bool(body.get("blocked")))
        self.rows[token] = _merged(row, body)
        if body.get("key_type") is not None:  # whatever list was given
            row.allowed_routes = [_ROUTES[str(body["key_type"])]]
        return row

    def find_key(self, given: str, *, deleted_too: bool = False) -> KeyRow:
        """By the string itself or by its hash."""
        row = self.rows.get(given) or self.rows.get(hash_of(given))
        if row is None or (row.deleted and not deleted_too):
            raise RefusalError(404, "Key not found.", "not_found_error", "key")
        return row

    def update_key(self, body: Mapping[str, Any]) -> KeyRow:
        """`POST /key/update`: omitted is kept, null clears."""
        row = self.find_key(str(body["key"]))
        _check_budget(body, least=0)
        row.updated_at = self._tick()
        return _merged(row, body)

    def block_key(self, given: str, *, blocked: bool) -> KeyRow:
        row = self.find_key(given)
        row.blocked, row.updated_at = blocked, self._tick()
        return row

    def delete_keys(self, given: list[str]) -> None:
        known = [one for one in given if one in self.keys or hash_of(one) in self.keys]
        if not known:
            raise RefusalError(404, "{'error': 'No keys found'}", "internal_server_error")
        for one in known:
            self.find_key(one).deleted = True

    def list_keys(self, page: int, size: int, sort_by: str, *, descending: bool) -> Json:
        """`GET /key/list` with `expand=user`."""
        size = min(size, self.longest_page)
        rows = sorted(self.keys.values(), key=lambda row: getattr(row, sort_by), reverse=descending)
        shown = rows[(page - 1) * size : page * size]
        return {
            "keys": [row.told() | {"user": self._told_user(row.user_id)} for row in shown],
            "total_count": len(rows),
            "current_page": page,
            "total_pages": -(-len(rows) // size),
        }

    def _told_user(self, user_id: str | None) -> Json | None:
        row = self.users.get(user_id or "")
        return dict(vars(row)) if row else None

    # ------------------------------------------------------------------ spend

    def admit(self, key: str, dollars: float = 0.0, path: str = CHAT) -> KeyRow:
        """Let a call of this price pass, or refuse it as LiteLLM does. Nothing is charged."""
        row = self.keys.get(hash_of(key))
        if row is None:
            raise RefusalError(401, "Authentication Error, Invalid token.", "token_not_found_in_db", "key")
        if row.blocked:
            raise RefusalError(401, "Authentication Error, Key is blocked.", "auth_error", "None")
        if row.expires is not None and row.expires < datetime.now(UTC):
            raise RefusalError(401, "Authentication Error - Expired Key.", "expired_key")
        if not _is_open(row.allowed_routes, path):
            raise RefusalError(403, "Virtual key is not allowed to call this route.", "auth_error", "None")
        user = self.users.get(row.user_id or "")
        for owner, budgeted in ((f"Key=key ({row.key_name})", row), (f"User={row.user_id}", user)):
            if budgeted is not None and _is_over(budgeted, dollars):
                raise RefusalError(422, f"Budget has been exceeded! {owner}", "budget_exceeded")
        return row

    def check_model(self, key: str, model: str) -> None:
        """A key with a list of models may use no other."""
        models = self.keys[hash_of(key)].models
        if models and model not in models:
            raise RefusalError(403, "key not allowed to access model.", "key_model_access_denied", "model")

    def spend(self, key: str, dollars: float, path: str = CHAT) -> bool:
        """Use a key for so many dollars. True: it is on the user's bill, too (it is not without a row)."""
        row = self.admit(key, dollars, path)
        row.spend += dollars
        row.updated_at = self._tick()
        user = self.users.get(row.user_id or "")
        if user is not None:
            user.spend += dollars
        return user is not None

    # ----------------------------------------------------------------- losses

    def snapshot(self) -> tuple[dict[str, UserRow], dict[str, KeyRow]]:
        return deepcopy((self.users, self.rows))

    def restore(self, snapshot: tuple[dict[str, UserRow], dict[str, KeyRow]]) -> None:
        """All that happened since is forgotten."""
        self.users, self.rows = deepcopy(snapshot)

    def set_back(self, user_id: str, dollars: float) -> None:
        """The user's spend, as of an older backup."""
        self.users[user_id].spend = dollars

    def lose_user(self, user_id: str) -> None:
        """The row is gone; the keys go on without a wallet."""
        self.users.pop(user_id, None)

    def empty(self) -> None:
        """Another database: it never knew anybody."""
        self.users.clear()
        self.rows.clear()

    # ------------------------------------------------------------------- time

    def let_pass(self, seconds: float) -> None:
        """Everything on record becomes so much older."""
        self.elapsed += timedelta(seconds=seconds)
        for row in self.rows.values():
            row.updated_at -= timedelta(seconds=seconds)
            row.expires = row.expires and row.expires - timedelta(seconds=seconds)

    def _tick(self) -> datetime:
        """Now, and later than ever before."""
        self.ticks += 1
        return datetime.now(UTC) + timedelta(microseconds=self.ticks)


def _told(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _is_over(budgeted: UserRow | KeyRow, dollars: float) -> bool:
    budget, spend = budgeted.max_budget, budgeted.spend
    return budget is not None and (spend >= budget or spend + dollars > budget + 1e-9)


def _is_open(routes: list[str], path: str) -> bool:
    """A listed path opens itself and all below it; no list, everything."""
    opens = ("llm_api_routes", path)
    return not routes or any(route in opens or path.startswith(f"{route}/") for route in routes)


def _merged(row: KeyRow, body: Mapping[str, Any]) -> KeyRow:
    for name in _KEY_FIELDS:
        if name in body:
            setattr(row, name, body[name])
    if "budget_duration" in body:  # counted from now, even where it is the one that it had
        row.budget_reset_at = _reset_after(row.budget_duration)
    if "duration" in body:
        duration = body["duration"]
        row.expires = None if duration is None else datetime.now(UTC) + timedelta(seconds=int(duration[:-1]))
    return row


def _reset_after(duration: str | None) -> datetime | None:
    """LiteLLM's own for hours and less; what it aligns with the calendar it does not matter here."""
    if duration is None:
        return None
    number, unit = re.match(r"(\d*)(\w+)", duration).groups()  # type: ignore[union-attr]
    seconds = {"s": 1, "m": 60, "h": 3600}.get(unit, 86_400)
    return datetime.now(UTC) + timedelta(seconds=int(number or 1) * seconds)


def _check_budget(body: Mapping[str, Any], *, least: float) -> None:
    budget, duration = body.get("max_budget"), body.get("budget_duration")
    if budget is not None and not (math.isfinite(budget) and budget >= least):
        raise RefusalError(
            400, "{'error': 'max_budget must be a non-negative number.'}", "internal_server_error"
        )
    if duration is not None and not _DURATION.fullmatch(duration):
        raise RefusalError(400, "{'error': 'Invalid budget_duration.'}", "internal_server_error")
