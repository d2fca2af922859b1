"""The one door to LiteLLM's management API.

Facts about its behaviour that this file relies on were observed on litellm 1.106: a repeated
``/key/generate`` with the same key answers 200 and changes nothing; ``/user/update`` is an upsert;
explicit nulls clear; a 200 proves nothing about values, so everything is read back.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import stamina

from core.domain.keys import ObservedKey, ObservedUser, WantedKey
from core.domain.money import cents_from_dollars, dollars_from_cents, dollars_from_micros, micros_from_dollars
from core.domain.pushes import Probe, Spender, SpendPage
from core.errors import RefusedError, TransientError
from core.http import make_client, retry_after_seconds
from core.metrics import CALL_SECONDS
from core.settings import Settings

Json = dict[str, Any]
PAGE_SIZE = 100  # the largest that LiteLLM gives
BUDGET_OWNER = re.compile(r"\b(Key|User)=")


class LiteLLM:
    """Speaks to one LiteLLM with the master key.

    All methods raise TransientError (not reachable, 5xx, 408, 429, rubbish, our own credentials wrong) or
    RefusedError (any other 4xx). Reads are repeated inside a call; a write only when it was certainly not
    sent, because two writes on their way at once may land in either order.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        if settings.litellm_base_url is None or settings.litellm_master_key is None:
            raise ValueError("LiteLLM is not configured")
        self._base_url = settings.litellm_base_url
        self._headers = {"Authorization": f"Bearer {settings.litellm_master_key.get_secret_value()}"}
        self._generate_url = settings.litellm_key_generate_url or f"{self._base_url}/key/generate"
        self._update_url = settings.litellm_key_update_url or f"{self._base_url}/key/update"
        self._timeout_seconds = settings.litellm_timeout_seconds
        self._client = client
        self._model: str | None = None

    # ------------------------------------------------------------------ users

    async def read_user(self, user_id: str) -> ObservedUser | None:
        """The user as LiteLLM shows it; None when there is no such row."""
        body = await self._read("/v2/user/info", {"user_id": user_id})
        if body is None:
            return None
        _check_about(body.get("user_id"), user_id)
        return _observed_user(body)

    async def write_wallet(self, user_id: str, budget_micros: int) -> None:
        """Make the user's budget this amount for life, creating the row where it is missing.

        Never a role or an e-mail: with a role LiteLLM adds resets of its own. ``spend`` is never written.
        """
        if budget_micros < 0:
            raise ValueError("a wallet is never below 0")
        body = {
            "user_id": user_id,
            "max_budget": dollars_from_micros(budget_micros),
            "budget_duration": None,
        }
        await self._write(f"{self._base_url}/user/update", body)

    # ------------------------------------------------------------------- keys

    async def create_key(self, wanted: WantedKey) -> None:
        """Create a key under the string we chose. Repeating it is harmless until the key is deleted."""
        body = {
            "key": wanted.key,
            "user_id": wanted.user_id,
            "key_type": "llm_api",  # or the key could mint keys without a budget for itself
            "metadata": {"keyfund": wanted.installation_id, "keyfund_key_id": wanted.id},
            "blocked": wanted.blocked,
            **_limits(wanted),
        }
        await self._write(self._generate_url, body)

    async def read_key(self, key_hash: str) -> ObservedKey | None:
        """The key as LiteLLM shows it; None when it never existed or was deleted."""
        body = await self._read("/key/info", {"key": key_hash})
        if body is None:
            return None
        _check_about(body.get("key"), key_hash)
        info = body.get("info")
        if not isinstance(info, Mapping):
            raise _rubbish()
        if info.get("status") == "deleted":
            return None
        budget = info.get("max_budget")
        return ObservedKey(
            user_id=info.get("user_id"),
            team_id=info.get("team_id"),
            blocked=bool(info.get("blocked")),
            budget_cents=None if budget is None else cents_from_dollars(budget),
            budget_duration=info.get("budget_duration"),
            rpm_limit=info.get("rpm_limit"),
            tpm_limit=info.get("tpm_limit"),
        )

    async def update_key(self, wanted: WantedKey) -> None:
        """Set the key's owner and limits; its spend and state stay."""
        body = {"key": wanted.key_hash, "user_id": wanted.user_id, "team_id": None, **_limits(wanted)}
        await self._write(self._update_url, body)

    async def block_key(self, key_hash: str) -> None:
        await self._write(f"{self._base_url}/key/block", {"key": key_hash})

    async def unblock_key(self, key_hash: str) -> None:
        await self._write(f"{self._base_url}/key/unblock", {"key": key_hash})

    async def delete_key(self, key_hash: str) -> None:
        """Forget a key that has long been blocked; one that is not there is gone already."""
        try:
            await self._write(f"{self._base_url}/key/delete", {"keys": [key_hash]})
        except RefusedError as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
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
            answer = await self._read_keys({"sort_by": "token", "sort_order": "asc"}, page)
            yield answer
            if answer.is_last:
                return
            page += 1

    async def _read_keys(self, order: Mapping[str, str], page: int) -> SpendPage:
        fixed = {"size": str(PAGE_SIZE), "return_full_object": "true", "expand": "user"}
        body = await self._read("/key/list", {**order, **fixed, "page": str(page)})
        keys = [key for key in (body or {}).get("keys") or [] if isinstance(key, Mapping)]
        times = [datetime.fromisoformat(key["updated_at"]) for key in keys if key.get("updated_at")]
        spenders = {key["user_id"]: _spender(key) for key in keys if _is_account(key.get("user_id"))}
        return SpendPage(
            spenders=tuple(spenders.values()),
            oldest=min(times, default=None),
            newest=max(times, default=None),
            is_last=page >= int((body or {}).get("total_pages") or 0),
        )

    # ----------------------------------------------------------------- health

    async def ping(self) -> None:
        """Whether LiteLLM would take a push now: up, its database connected, our key accepted.

        Raises:
            TransientError: it would not.
        """
        body = await self._send("GET", f"{self._base_url}/health/readiness")
        if body.get("db") not in (None, "connected"):
            raise TransientError("litellm_database_down", "LiteLLM is up, but its database is not.")
        await self._send("GET", f"{self._base_url}/models")

    async def find_unpriced_models(self) -> tuple[str, ...]:
        """Models whose use costs nothing as LiteLLM sees it: outside every wallet, unless it blocks them."""
        body = await self._send("GET", f"{self._base_url}/model_group/info")
        groups = [group for group in body.get("data") or [] if isinstance(group, Mapping)]
        return tuple(sorted(str(group.get("model_group")) for group in groups if not _has_price(group)))

    async def probe_key(self, key: str) -> Probe:
        """Ask, free of charge and off the rate limit, whether this key may spend now."""
        try:
            model = await self._any_model()
            await self._send(
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
            body = await self._send("GET", f"{self._base_url}/models")
            models = [entry.get("id") for entry in body.get("data") or [] if isinstance(entry, Mapping)]
            names = [name for name in models if isinstance(name, str) and "*" not in name]
            if not names:
                raise RefusedError("litellm_without_models", "LiteLLM offers no model.")
            self._model = names[0]
        return self._model

    # --------------------------------------------------------------- transport

    async def _read(self, path: str, params: Mapping[str, str]) -> Json | None:
        """GET; None for LiteLLM's own 404. Repeated a few times within the call's time."""
        async for attempt in stamina.retry_context(
            on=TransientError, attempts=3, timeout=self._timeout_seconds, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                try:
                    return await self._send("GET", f"{self._base_url}{path}", params=params)
                except RefusedError as refusal:
                    if refusal.status == httpx.codes.NOT_FOUND:
                        return None
                    raise
        raise AssertionError("stamina always returns or raises")

    async def _write(self, url: str, body: Json) -> None:
        async for attempt in stamina.retry_context(
            on=_certainly_not_sent, attempts=3, timeout=self._timeout_seconds, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                try:
                    await self._send("POST", url, json=body)
                except RefusedError as refusal:
                    if refusal.status == httpx.codes.BAD_REQUEST:
                        await self._check_database()
                    raise

    async def _check_database(self) -> None:
        """Tell a refusal from an outage: without its database LiteLLM answers its writes with 400.

        Reads answer 500 then, which raises TransientError here; a user that does not exist is a 404.
        """
        with contextlib.suppress(RefusedError):
            await self._send(
                "GET", f"{self._base_url}/v2/user/info", params={"user_id": "keyfund-is-it-there"}
            )

    async def _send(self, method: str, url: str, **request: Any) -> Json:
        headers = {**self._headers, **request.pop("headers", {})}
        began = time.monotonic()
        outcome = "failed"
        try:
            # One bound over all of it: httpx's own timeouts are per step, and a lease must outlast a call.
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.request(method, url, headers=headers, **request)
            outcome = f"{response.status_code // 100}xx"
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise TransientError("litellm_unreachable", "LiteLLM cannot be reached.") from None
        except (httpx.TransportError, TimeoutError):
            raise TransientError(
                "litellm_no_answer", "LiteLLM did not answer in time.", outcome_unknown=True
            ) from None
        finally:
            CALL_SECONDS.labels("litellm", outcome).observe(time.monotonic() - began)
        return _read_answer(response)


class BudgetRefusedError(RefusedError):
    """A budget is used up; ``owner`` is Key or User."""

    def __init__(self, owner: str) -> None:
        super().__init__("litellm_budget_exceeded", "The budget is used up.", status=422)
        self.owner = owner


class WrongCredentialsError(TransientError):
    """LiteLLM does not accept the key of this call."""

    def __init__(self) -> None:
        super().__init__(
            "litellm_unauthorised",
            "LiteLLM does not accept our key: check LITELLM_MASTER_KEY.",
            retry_after_seconds=30,
        )


def make_litellm_client(settings: Settings) -> httpx.AsyncClient:
    return make_client(
        timeout_seconds=settings.litellm_timeout_seconds, connections=2 * settings.push_concurrency + 4
    )


def _limits(wanted: WantedKey) -> Json:
    return {
        "max_budget": None if wanted.budget_cents is None else dollars_from_cents(wanted.budget_cents),
        "budget_duration": wanted.budget_duration,
        "rpm_limit": wanted.rpm_limit,
        "tpm_limit": wanted.tpm_limit,
    }


def _has_price(group: Mapping[str, Any]) -> bool:
    return bool(group.get("input_cost_per_token") or group.get("output_cost_per_token"))


def _is_account(user_id: object) -> bool:
    """Our accounts are Supabase users, so their ids are UUIDs; others on the same LiteLLM are not ours."""
    try:
        return isinstance(user_id, str) and str(UUID(user_id)) == user_id
    except ValueError:
        return False


def _spender(key: Mapping[str, Any]) -> Spender:
    user = key.get("user")
    return Spender(key["user_id"], _observed_user(user) if isinstance(user, Mapping) else None)


def _observed_user(row: Mapping[str, Any]) -> ObservedUser:
    budget = row.get("max_budget")
    return ObservedUser(
        budget_micros=None if budget is None else micros_from_dollars(budget),
        budget_duration=row.get("budget_duration"),
        spend_micros=micros_from_dollars(row.get("spend") or 0.0),
        role=row.get("user_role"),
    )


def _certainly_not_sent(error: Exception) -> bool:
    return isinstance(error, TransientError) and error.code == "litellm_unreachable"


def _read_answer(response: httpx.Response) -> Json:
    """Translate LiteLLM's answers, in all of its three error envelopes, into ours."""
    status = response.status_code
    body = _json(response)
    if response.is_success:
        if body is None:
            raise _rubbish()
        return body
    if _error_type(body) == "budget_exceeded":
        # By its type, never by its status: that is configurable.
        owner = BUDGET_OWNER.search(str(body))
        raise BudgetRefusedError(owner.group(1) if owner else "Key")
    if status in (401, 403):
        raise WrongCredentialsError
    if status in (408, 429) or status >= 500 or status < 400:
        raise TransientError(
            f"litellm_http_{status}",
            f"LiteLLM answered {status}.",
            # The answer of a gateway in between says nothing of what LiteLLM does with the request.
            outcome_unknown=status in (408, 500, 502, 504),
            retry_after_seconds=retry_after_seconds(response),
        )
    if not _is_its_own(body):
        # A 404 of some ingress taken for "no such user" would begin an epoch and charge the spend again.
        raise TransientError(
            "litellm_not_itself", f"Something in front of LiteLLM answered {status}.", outcome_unknown=True
        )
    raise RefusedError(f"litellm_http_{status}", f"LiteLLM refused with {status}.", status=status)


def _is_its_own(body: Json | None) -> bool:
    """Whether LiteLLM wrote this error; FastAPI's answer to an unknown address means a wrong base URL."""
    return body is not None and ("error" in body or body.get("detail", "Not Found") != "Not Found")


def _check_about(have: object, wanted: str) -> None:
    """A document about something else is not LiteLLM's answer: what it lacks means nothing."""
    if have != wanted:
        raise _rubbish()


def _rubbish() -> TransientError:
    """A proxy's page, perhaps: whether LiteLLM ever saw the request is anyone's guess."""
    return TransientError(
        "litellm_rubbish", "LiteLLM answered with something unexpected.", outcome_unknown=True
    )


def _json(response: httpx.Response) -> Json | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _error_type(body: Json | None) -> str | None:
    error = (body or {}).get("error") or (body or {}).get("detail")
    return error.get("type") if isinstance(error, dict) else None
