"""What LiteLLM held of keys and users before they were taken over: looked at, kept, put back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from core.domain.drift import ListedKey
from core.domain.keys import ObservedKey, ObservedUser
from core.errors import RefusedError
from core.gateways.litellm import LiteLLM, make_litellm_client
from core.settings import Settings
from operate.theirs import Plan, Seen, Theirs

AT_ONCE = 8
T = TypeVar("T")


async def look(settings: Settings, theirs: Theirs) -> Seen:
    """Ask LiteLLM about every key and person of before.

    Raises:
        RefusedError: it is not configured, and there are keys.
        TransientError: it could not be asked.
    """
    hashes = {one.key_hash for one in theirs.requests}
    if settings.litellm_base_url is None:
        if hashes:
            raise RefusedError(
                "litellm_missing", "LITELLM_BASE_URL and LITELLM_MASTER_KEY are not set, and there are keys."
            )
        return Seen({}, {})
    async with make_litellm_client(settings) as client:
        litellm = LiteLLM(settings, client)
        keys = await ask_all(litellm.find_key, hashes)
        # Last: what is spent while this is read counts as spent after the takeover.
        return Seen(keys, await ask_all(litellm.read_user, [one.id for one in theirs.people]))


async def ask_all(ask: Callable[[str], Awaitable[T]], names: Iterable[str]) -> Mapping[str, T]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(name: str) -> tuple[str, T]:
        async with turns:
            return name, await ask(name)

    return dict(await asyncio.gather(*(in_turn(name) for name in names)))


# --- kept ---------------------------------------------------------------------------------------------------


def keep(plan: Plan, seen: Seen) -> dict[str, Any]:
    """What it takes to put everything back that pushes will change; as JSON."""
    listed = (seen.keys[one.request.key_hash] for one in plan.adoptions)
    return {
        "keys": [_told_key(key) for key in listed if key is not None],
        "users": {one.id: _told_user(seen.users.get(one.id)) for one in plan.people},
    }


def _told_key(key: ListedKey) -> dict[str, Any]:
    shown = key.shown
    return {
        "key_hash": key.key_hash,
        "budget_micros": key.budget_micros,
        "user_id": shown.user_id,
        "budget_duration": shown.budget_duration,
        "rpm_limit": shown.rpm_limit,
        "tpm_limit": shown.tpm_limit,
        "models": list(shown.models),
        "routes": list(shown.routes),
        "max_parallel": shown.max_parallel,
        "metadata": dict(shown.metadata),
        "blocked": shown.blocked,
    }


def _told_user(user: ObservedUser | None) -> dict[str, Any] | None:
    if user is None:
        return None
    return {
        "budget_micros": user.budget_micros,
        "budget_duration": user.budget_duration,
        "rpm_limit": user.rpm_limit,
        "tpm_limit": user.tpm_limit,
    }


def read_key(told: Mapping[str, Any]) -> ListedKey:
    shown = ObservedKey(
        user_id=told["user_id"],
        team_id=None,
        blocked=told["blocked"],
        budget_cents=None,
        budget_duration=told["budget_duration"],
        rpm_limit=told["rpm_limit"],
        tpm_limit=told["tpm_limit"],
        models=tuple(told["models"]),
        routes=tuple(told["routes"]),
        max_parallel=told["max_parallel"],
        metadata=told["metadata"],
    )
    return ListedKey(told["key_hash"], shown, None, budget_micros=told["budget_micros"])


def read_user(told: Mapping[str, Any] | None) -> ObservedUser | None:
    return None if told is None else ObservedUser(**told, spend_micros=0, role=None)


# --- put back -----------------------------------------------------------------------------------------------


async def put_back(litellm: LiteLLM, held: Mapping[str, Any]) -> int:
    """Put all keys and users back; returns how many keys. Safe to repeat."""
    count = 0
    for told in held.get("keys", ()):
        before = read_key(told)
        now = await litellm.find_key(before.key_hash)
        if now is not None:
            await litellm.put_back_key(before, now)
            count += 1
    for user_id, told in held.get("users", {}).items():
        if await litellm.read_user(user_id) is not None:
            await litellm.put_back_user(user_id, read_user(told))
    return count
