"""What LiteLLM's answers mean: its rows as our values, its errors as ours."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from core.domain.drift import ListedKey
from core.domain.keys import ObservedKey, ObservedUser
from core.domain.money import cents_from_dollars, micros_from_dollars
from core.domain.pushes import Spender
from core.domain.usage import KeySpend
from core.errors import RefusedError, TransientError
from core.http import retry_after_seconds
from core.refusals import REFUSALS, refused, unavailable

Json = dict[str, Any]
BUDGET_OWNER = re.compile(r"\b(Key|User)=")


class BudgetRefusedError(RefusedError):
    """A budget is used up; ``owner`` is Key or User."""

    def __init__(self, owner: str) -> None:
        refusal = REFUSALS["litellm_budget_exceeded"]
        super().__init__("litellm_budget_exceeded", refusal.say(), status=refusal.status)
        self.owner = owner


class WrongCredentialsError(TransientError):
    """LiteLLM does not accept the key of this call."""

    def __init__(self) -> None:
        code = "litellm_unauthorised"
        super().__init__(code, REFUSALS[code].say(), retry_after_seconds=30)


class ForbiddenError(WrongCredentialsError):
    """LiteLLM answers 403: the key is wrong, or a setting forbids this request to every key."""


# -------------------------------------------------------------------------- rows


def is_account(user_id: object) -> bool:
    """Our accounts are Supabase users, so their ids are UUIDs; others on the same LiteLLM are not ours."""
    try:
        return isinstance(user_id, str) and str(UUID(user_id)) == user_id
    except ValueError:
        return False


def spender_of(key: Mapping[str, Any]) -> Spender:
    user = key.get("user")
    return Spender(key["user_id"], observed_user(user) if isinstance(user, Mapping) else None)


def key_spend_of(key: Mapping[str, Any]) -> KeySpend:
    return KeySpend(
        str(key.get("token")),
        micros_from_dollars(key.get("spend") or 0.0),
        _time(key.get("budget_reset_at")),
        _time(key.get("updated_at")),
    )


def observed_user(row: Mapping[str, Any]) -> ObservedUser:
    budget = row.get("max_budget")
    return ObservedUser(
        budget_micros=None if budget is None else micros_from_dollars(budget),
        budget_duration=row.get("budget_duration"),
        spend_micros=micros_from_dollars(row.get("spend") or 0.0),
        role=row.get("user_role"),
        rpm_limit=row.get("rpm_limit"),
        tpm_limit=row.get("tpm_limit"),
    )


def observed_key(row: Mapping[str, Any]) -> ObservedKey:
    budget, metadata = row.get("max_budget"), row.get("metadata")
    return ObservedKey(
        user_id=row.get("user_id"),
        team_id=row.get("team_id"),
        blocked=bool(row.get("blocked")),
        budget_cents=None if budget is None else cents_from_dollars(budget),
        budget_duration=row.get("budget_duration"),
        rpm_limit=row.get("rpm_limit"),
        tpm_limit=row.get("tpm_limit"),
        models=tuple(row.get("models") or ()),
        expires_at=_time(row.get("expires")),
        routes=tuple(str(route) for route in row.get("allowed_routes") or ()),
        max_parallel=row.get("max_parallel_requests"),
        metadata=metadata if isinstance(metadata, Mapping) else {},
        spend_micros=micros_from_dollars(row.get("spend") or 0.0),
        resets_at=_time(row.get("budget_reset_at")),
    )


def listed_key(key_hash: str, row: Mapping[str, Any]) -> ListedKey:
    """A key with all that a comparison or an adoption asks of it."""
    shown, user, budget = observed_key(row), row.get("user"), row.get("max_budget")
    return ListedKey(
        key_hash=key_hash,
        shown=shown,
        installation_id=shown.metadata.get("keyfund"),
        user=observed_user(user) if isinstance(user, Mapping) else None,
        preview=row.get("key_name"),
        kind=row.get("key_type"),
        budget_micros=None if budget is None else micros_from_dollars(budget),
        spend_micros=micros_from_dollars(row.get("spend") or 0.0),
    )


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def check_about(have: object, wanted: str) -> None:
    """A document about something else is not LiteLLM's answer: what it lacks means nothing."""
    if have != wanted:
        raise unreadable()


# ------------------------------------------------------------------------ errors


def read_answer(response: httpx.Response) -> Json:
    """Translate LiteLLM's answers, in all of its three error envelopes, into ours."""
    status = response.status_code
    body = _json(response)
    if response.is_success:
        if body is None:
            raise unreadable()
        return body
    if _error_type(body) == "budget_exceeded":
        # By its type, never by its status: that is configurable.
        owner = BUDGET_OWNER.search(str(body))
        raise BudgetRefusedError(owner.group(1) if owner else "Key")
    if status == 403:
        raise ForbiddenError
    if status == 401:
        raise WrongCredentialsError
    if status in (408, 429) or status >= 500 or status < 400:
        raise unavailable(
            "litellm_failed",
            status,
            # The answer of a gateway in between says nothing of what LiteLLM does with the request.
            outcome_unknown=status in (408, 500, 502, 504),
            retry_after_seconds=retry_after_seconds(response),
        )
    if not _is_its_own(body):
        # A 404 of some ingress taken for "no such user" would begin an epoch and charge the spend again.
        raise unavailable("litellm_not_itself", status, outcome_unknown=True)
    raise refused("litellm_refused", status, vendor_status=status)


def _is_its_own(body: Json | None) -> bool:
    """Whether LiteLLM wrote this error; FastAPI's answer to an unknown address means a wrong base URL."""
    return body is not None and ("error" in body or body.get("detail", "Not Found") != "Not Found")


def unreadable() -> TransientError:
    """A proxy's page, perhaps: whether LiteLLM ever saw the request is anyone's guess."""
    return unavailable("litellm_unreadable", outcome_unknown=True)


def _json(response: httpx.Response) -> Json | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _error_type(body: Json | None) -> str | None:
    error = (body or {}).get("error") or (body or {}).get("detail")
    return error.get("type") if isinstance(error, dict) else None
