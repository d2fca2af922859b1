"""The one door to LiteLLM's management API.

Facts about its behaviour that this file relies on were observed on litellm 1.106: a repeated
``/key/generate`` with the same key answers 200 and changes nothing; ``/user/update`` is an upsert;
explicit nulls clear; a 200 proves nothing about values, so everything is read back.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from core.domain.drift import ListedKey, ListedPage
from core.domain.keys import ObservedKey, ObservedUser, WantedKey
from core.domain.money import dollars_from_cents, dollars_from_micros, micros_from_dollars
from core.domain.pushes import Probe, SpendPage
from core.domain.usage import UsedDay
from core.errors import RefusedError
from core.gateways.answers import (
    BudgetRefusedError,
    Json,
    WrongCredentialsError,
    check_about,
    is_account,
    key_spend_of,
    listed_key,
    observed_key,
    observed_user,
    spender_of,
    unreadable,
)
from core.gateways.state import StateReader
from core.gateways.usage import tells_all_keys, used_days
from core.gateways.wire import Wire
from core.http import make_client
from core.refusals import refused, unavailable
from core.settings import Settings

PAGE_SIZE = 100  # the largest that LiteLLM gives
MOST_BACKS = 100
MOST_KEYS = "1000"  # the most that LiteLLM names in one answer about usage
LARGEST_COST = 1_000_000_000.0  # dollars
BY_HASH = {"sort_by": "token", "sort_order": "asc"}  # an order that use does not disturb
WITH_USERS = {"size": str(PAGE_SIZE), "return_full_object": "true", "expand": "user"}


class LiteLLM(StateReader):
    """Speaks to one LiteLLM with the master key.

    All methods raise TransientError (not reachable, 5xx, 408, 429, an answer that cannot be read,
    our own credentials wrong) or RefusedError (any other 4xx).
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        if settings.litellm_base_url is None or settings.litellm_master_key is None:
            raise ValueError("LiteLLM is not configured")
        self._base_url = settings.litellm_base_url
        self._generate_url = settings.litellm_key_generate_url or f"{self._base_url}/key/generate"
        self._update_url = settings.litellm_key_update_url or f"{self._base_url}/key/update"
        key = settings.litellm_master_key.get_secret_value()
        self._wire = Wire(self._base_url, key, settings.litellm_timeout_seconds, client)
        self._model: str | None = None

    # ------------------------------------------------------------------ users

    async def read_user(self, user_id: str) -> ObservedUser | None:
        """The user as LiteLLM shows it; None when there is no such row."""
        body = await self._wire.read("/v2/user/info", {"user_id": user_id})
        if body is None:
            return None
        check_about(body.get("user_id"), user_id)
        return observed_user(body)

    async def write_wallet(
        self, user_id: str, budget_micros: int, rpm_limit: int | None = None, tpm_limit: int | None = None
    ) -> None:
        """Make the user's budget this amount for life, creating the row where it is missing.

        The limits are per minute over all keys together; None: none.

        Never a role or an e-mail: with a role LiteLLM adds resets of its own. ``spend`` is never written.
        """
        if budget_micros < 0:
            raise ValueError("a wallet is never below 0")
        body = {
            "user_id": user_id,
            "max_budget": dollars_from_micros(budget_micros),
            "budget_duration": None,
            "rpm_limit": rpm_limit,
            "tpm_limit": tpm_limit,
        }
        await self._wire.write(f"{self._base_url}/user/update", body)

    async def put_back_user(self, user_id: str, before: ObservedUser | None) -> None:
        """Give a user the limits of before; None: there was no such user, so nothing limits it."""
        body = {
            "user_id": user_id,
            "max_budget": None if before is None else _dollars(before.budget_micros),
            "budget_duration": None if before is None else before.budget_duration,
            "rpm_limit": None if before is None else before.rpm_limit,
            "tpm_limit": None if before is None else before.tpm_limit,
        }
        await self._wire.write(f"{self._base_url}/user/update", body)

    # ------------------------------------------------------------------- keys

    async def create_key(self, wanted: WantedKey) -> None:
        """Create a key under the string we chose. Repeating it is harmless until the key is deleted.

        Never with a ``key_type``: LiteLLM would put that type's routes in the place of ours.
        """
        body = {
            "key": wanted.key,
            "user_id": wanted.user_id,
            "metadata": wanted.marks,
            "blocked": wanted.blocked,
            **_limits(wanted),
        }
        try:
            await self._wire.write(self._generate_url, body)
        except RefusedError as refusal:
            if refusal.vendor_status != httpx.codes.FORBIDDEN:
                raise
            raise refused("litellm_custom_keys_disabled") from None

    async def read_key(self, key_hash: str) -> ObservedKey | None:
        """The key as LiteLLM shows it; None when it never existed or was deleted."""
        info = await self._read_info(key_hash)
        return None if info is None else observed_key(info)

    async def find_key(self, key_hash: str) -> ListedKey | None:
        """The same with all that LiteLLM tells of it but its user."""
        info = await self._read_info(key_hash)
        return None if info is None else listed_key(key_hash, info)

    async def _read_info(self, key_hash: str) -> Mapping[str, Any] | None:
        body = await self._wire.read("/key/info", {"key": key_hash})
        if body is None:
            return None
        check_about(body.get("key"), key_hash)
        info = body.get("info")
        if not isinstance(info, Mapping):
            raise unreadable()
        return None if info.get("status") == "deleted" else info

    async def update_key(
        self, wanted: WantedKey, *, new_period: bool = False, found: Mapping[str, Any] | None = None
    ) -> None:
        """Set the key's owner, limits and routes; its spend and state stay.

        ``new_period``: set how often its cap begins anew, too. LiteLLM then counts from now even where
        nothing changes, and a reset that was just due never comes. ``found``: the metadata that LiteLLM
        shows; it is written back with our marks, since LiteLLM replaces metadata whole. None: not written.
        """
        body = {"key": wanted.key_hash, "user_id": wanted.user_id, "team_id": None, **_limits(wanted)}
        if not new_period:
            del body["budget_duration"]
        if found is not None:
            body["metadata"] = {**found, **wanted.marks}
        await self._wire.write(self._update_url, body)

    async def put_back_key(self, before: ListedKey, now: ListedKey) -> None:
        """Give a key the owner, limits, routes and metadata of before; its spend stays, and its end."""
        shown = before.shown
        body = {
            "key": before.key_hash,
            "user_id": shown.user_id,
            "max_budget": _dollars(before.budget_micros),
            "rpm_limit": shown.rpm_limit,
            "tpm_limit": shown.tpm_limit,
            "max_parallel_requests": shown.max_parallel,
            "allowed_routes": list(shown.routes),
            "models": list(shown.models),
            "metadata": dict(shown.metadata),
        }
        if now.shown.budget_duration != shown.budget_duration:  # told, LiteLLM begins the period anew
            body["budget_duration"] = shown.budget_duration
        await self._wire.write(self._update_url, body)
        if now.shown.blocked and not shown.blocked:
            await self.unblock_key(before.key_hash)

    async def block_key(self, key_hash: str) -> None:
        await self._wire.write(f"{self._base_url}/key/block", {"key": key_hash})

    async def unblock_key(self, key_hash: str) -> None:
        await self._wire.write(f"{self._base_url}/key/unblock", {"key": key_hash})

    async def delete_key(self, key_hash: str) -> None:
        """Forget a key that has long been blocked; one that is not there is gone already."""
        try:
            await self._wire.write(f"{self._base_url}/key/delete", {"keys": [key_hash]})
        except RefusedError as refusal:
            if refusal.vendor_status != httpx.codes.NOT_FOUND:
                raise

    # ------------------------------------------------------------------ spend

    async def read_changes(self) -> SpendPage:
        """The users behind the hundred keys that changed last.

        It cannot be paged further: one flush stamps its whole batch with one millisecond, and ties lose
        rows between pages. Where it does not reach back far enough, walk all keys instead.
        """
        return await self._read_keys({"sort_by": "updated_at", "sort_order": "desc"}, page=1)

    async def walk_keys(self) -> AsyncIterator[SpendPage]:
        """The users behind all keys, page by page, in an order that use does not disturb."""
        page = 1
        while True:
            answer = await self._read_keys(BY_HASH, page)
            yield answer
            if answer.is_last:
                return
            page += 1

    async def _read_keys(self, order: Mapping[str, str], page: int) -> SpendPage:
        body = await self._wire.read("/key/list", {**order, **WITH_USERS, "page": str(page)})
        keys = [key for key in (body or {}).get("keys") or [] if isinstance(key, Mapping)]
        times = [datetime.fromisoformat(key["updated_at"]) for key in keys if key.get("updated_at")]
        spenders = {key["user_id"]: spender_of(key) for key in keys if is_account(key.get("user_id"))}
        return SpendPage(
            spenders=tuple(spenders.values()),
            oldest=min(times, default=None),
            newest=max(times, default=None),
            is_last=page >= int((body or {}).get("total_pages") or 0),
            keys=tuple(key_spend_of(key) for key in keys if is_account(key.get("user_id"))),
        )

    # ------------------------------------------------------------------ usage

    async def read_days(self, user_id: str, start: date, end: date) -> tuple[UsedDay, ...]:
        """What the user used on these days (inclusive, UTC), by public model name and key.

        Where LiteLLM would leave keys out, it is asked for fewer days at once.
        """
        window = {"start_date": start.isoformat(), "end_date": end.isoformat(), "timezone": "0"}
        body = await self._wire.send(
            "GET",
            f"{self._base_url}/user/daily/activity/aggregated",
            params={"user_id": user_id, "api_key_limit": MOST_KEYS, **window},
        )
        days = used_days(body, start, end)
        if start == end or tells_all_keys(body):
            return days
        middle = start + (end - start) // 2
        first = await self.read_days(user_id, start, middle)
        return first + await self.read_days(user_id, middle + timedelta(days=1), end)

    async def list_models(self) -> tuple[str, ...]:
        """The public names of all models; one with an asterisk stands for many."""
        body = await self._wire.send("GET", f"{self._base_url}/models")
        models = [entry.get("id") for entry in body.get("data") or [] if isinstance(entry, Mapping)]
        return tuple(dict.fromkeys(name for name in models if isinstance(name, str)))

    async def count_tokens(
        self, model: str, *, prompt: str | None, messages: Sequence[Mapping[str, str]] | None
    ) -> int:
        """How many tokens this is, as LiteLLM counts by itself: no provider is asked."""
        asked = {"prompt": prompt} if messages is None else {"messages": list(messages)}
        body = await self._wire.send(
            "POST", f"{self._base_url}/utils/token_counter", **_plain({"model": model, **asked})
        )
        check_about(body.get("request_model"), model)
        tokens = body.get("total_tokens")
        if not isinstance(tokens, int) or tokens < 0:
            raise unreadable()
        return tokens

    async def estimate_cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> int | None:
        """What so many tokens cost, in micro-dollars; None: LiteLLM knows no price."""
        asked = {"model": model, "input_tokens": prompt_tokens, "output_tokens": completion_tokens}
        try:
            body = await self._wire.send("POST", f"{self._base_url}/cost/estimate", **_plain(asked))
        except (RefusedError, WrongCredentialsError):
            return None  # a key of fewer rights may not ask either
        check_about(body.get("model"), model)
        cost = body.get("cost_per_request")
        if not isinstance(cost, int | float) or not 0 <= cost < LARGEST_COST:
            raise unreadable()
        return micros_from_dollars(cost)

    # ---------------------------------------------------------------- listing

    async def list_keys(self) -> AsyncIterator[ListedPage]:
        """All keys with their users, page by page, in the order of their hashes.

        Keys that are made meanwhile push others to the next page, so that some come twice. Keys that are
        deleted pull others to a page that was read already: it is read again when the total shows it, but
        only so often, lest the walk never end. So one that did not come may be there all the same.

        Raises:
            TransientError: a page came short; what it left out would be taken for missing.
        """
        page, total, shorts, full, backs = 1, 0, 0, 0, 0
        while True:
            answer = await self.list_page(page)
            if answer.total < total and backs < MOST_BACKS:
                backs += 1
                page = max(1, page - 1 - (total - answer.total) // PAGE_SIZE)
                total = answer.total
                continue
            full = full or len(answer.keys)
            if len(answer.keys) < full and page < answer.pages:
                if (shorts := shorts + 1) > 2:
                    raise unreadable()
                continue
            total, shorts = answer.total, 0
            yield answer
            if page >= answer.pages:
                return
            page += 1

    async def list_page(self, page: int) -> ListedPage:
        """One page of all keys with their users, in the order of their hashes."""
        body = await self._wire.read("/key/list", {**BY_HASH, **WITH_USERS, "page": str(page)}) or {}
        rows, pages, total = body.get("keys"), body.get("total_pages"), body.get("total_count")
        if not isinstance(rows, list) or not isinstance(pages, int) or not isinstance(total, int):
            raise unreadable()
        if any(not isinstance(row, Mapping) or not isinstance(row.get("token"), str) for row in rows):
            raise unreadable()
        return ListedPage(tuple(listed_key(row["token"], row) for row in rows), pages, total)

    # ----------------------------------------------------------------- health

    async def ping(self) -> None:
        """Whether LiteLLM would take a push now: up, its database connected, our key accepted.

        Raises:
            TransientError: it would not.
        """
        body = await self._wire.send("GET", f"{self._base_url}/health/readiness")
        if body.get("db") not in (None, "connected"):
            raise unavailable("litellm_database_down")
        await self._wire.send("GET", f"{self._base_url}/models")

    async def probe_key(self, key: str, model: str | None = None) -> Probe:
        """Ask, free of charge and off the rate limit, whether this key may spend on that model, or on any."""
        try:
            model = model or await self._any_model()
            await self._wire.send(
                "POST",
                f"{self._base_url}/utils/token_counter",
                json={"model": model, "prompt": "x"},
                headers={"Authorization": f"Bearer {key}"},
            )
        except BudgetRefusedError as refusal:
            return Probe.WALLET_EXCEEDED if refusal.owner == "User" else Probe.CAP_EXCEEDED
        except (RefusedError, WrongCredentialsError):
            return Probe.KEY_REFUSED
        return Probe.USABLE

    async def _any_model(self) -> str:
        if self._model is None:
            names = [name for name in await self.list_models() if "*" not in name]
            if not names:
                raise refused("litellm_without_models")
            self._model = names[0]
        return self._model


def make_litellm_client(settings: Settings) -> httpx.AsyncClient:
    return make_client(
        timeout_seconds=settings.litellm_timeout_seconds, connections=2 * settings.push_concurrency + 4
    )


def _dollars(micros: int | None) -> float | None:
    return None if micros is None else dollars_from_micros(micros)


def _limits(wanted: WantedKey) -> Json:
    return {
        "max_budget": None if wanted.budget_cents is None else dollars_from_cents(wanted.budget_cents),
        "budget_duration": wanted.budget_duration,
        "rpm_limit": wanted.rpm_limit,
        "tpm_limit": wanted.tpm_limit,
        "max_parallel_requests": wanted.fences.key_max_parallel,
        "allowed_routes": list(wanted.fences.paths),
        "models": list(wanted.models),
        "duration": _time_left(wanted.expires_at),
    }


def _time_left(expires_at: datetime | None) -> str | None:
    """How long the key lives from now, which is all that LiteLLM takes; an explicit null: for ever."""
    if expires_at is None:
        return None
    return f"{max(0, int((expires_at - datetime.now(UTC)).total_seconds()))}s"


def _plain(body: Json) -> Json:
    """A body in ASCII: half of a surrogate pair is valid in JSON, but not in UTF-8."""
    return {"content": json.dumps(body).encode(), "headers": {"content-type": "application/json"}}
