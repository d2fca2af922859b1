"""What the service key may do about LiteLLM: leases, how pushes went, spend, the breaker."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.keys import KeyState, ObservedKey, WantedKey
from core.domain.pushes import Effect, KeyResult, LiveKey, Push, Spender, Verdict
from core.store.calls import Functions, Json
from core.store.routes import read_fences


class PushStore(Functions):
    """Accounts and keys on their way to LiteLLM, and what comes back from there."""

    async def claim_pushes(self, limit: int, lease_seconds: int) -> list[Push]:
        """Lease accounts that are due, blocks and revocations first."""
        rows = await self._call("claim_pushes", limit=limit, lease_seconds=lease_seconds)
        return [read_push(row) for row in rows]

    async def claim_push(self, user_id: str, lease_seconds: int) -> Push | None:
        """Lease one account; None when nothing is due, another has it, or LiteLLM is away."""
        row = await self._call("claim_push", account_id=user_id, lease_seconds=lease_seconds)
        return read_push(row) if row else None

    async def observe_spend(
        self, push: Push, spend_micros: int, *, user_is_missing: bool
    ) -> tuple[Verdict, int]:
        """Report a spend that needs a decision: the verdict, and the budget to push (micro-dollars)."""
        row = await self._call(
            "observe_spend",
            account_id=push.user_id,
            token=push.token,
            spend_micros=spend_micros,
            user_is_missing=user_is_missing,
        )
        return Verdict(row["verdict"]), int(row.get("budget_micros") or 0)

    async def recheck_keys(self, push: Push) -> list[str]:
        """Have all live keys of the account read again soon; returns their hashes."""
        return list(await self._call("recheck_keys", account_id=push.user_id, token=push.token))

    async def list_uncounted(self, limit: int) -> list[str]:
        """Hashes of former strings whose spend is to be read now."""
        return list(await self._call("list_uncounted", limit=limit))

    async def count_share(self, key_hash: str, shown: ObservedKey | None) -> bool:
        """Report what LiteLLM shows of a former string; None: it lost it. False: it is too early to count."""
        return bool(
            await self._call(
                "count_share",
                key_hash=key_hash,
                is_there=shown is not None,
                is_blocked=shown is not None and shown.blocked,
                budget_cents=shown.budget_cents if shown else None,
                spent_cents=-(-shown.spend_micros // 10_000) if shown else None,  # up: no cap is exceeded
                resets_at=shown.resets_at.isoformat() if shown and shown.resets_at else None,
            )
        )

    async def retire_keys(self, limit: int) -> int:
        """Revoke former strings whose overlap is over, and end periods; returns how many."""
        return int(await self._call("retire_keys", limit=limit))

    async def finish_push(
        self,
        push: Push,
        *,
        spend_micros: int,
        keys: Sequence[KeyResult],
        effect: Effect,
        cache_seconds: int,
    ) -> bool:
        """Record a confirmed wallet and how each key went. False: the lease was lost."""
        return bool(
            await self._call(
                "finish_push",
                account_id=push.user_id,
                token=push.token,
                revision=push.revision,
                spend_micros=spend_micros,
                keys=[_result(one) for one in keys],
                effective=effect.value,
                cache_seconds=cache_seconds,
            )
        )

    async def fail_push(
        self,
        push: Push,
        *,
        kind: str,
        error: str,
        retry_after_seconds: int | None = None,
        keys: Sequence[KeyResult] = (),
    ) -> bool:
        """Record that the wallet could not be confirmed: transient, unknown or refused."""
        return bool(
            await self._call(
                "fail_push",
                account_id=push.user_id,
                token=push.token,
                kind=kind,
                error=error,
                retry_after_seconds=retry_after_seconds,
                keys=[_result(one) for one in keys],
            )
        )

    async def release_push(self, push: Push) -> bool:
        """Give an untouched account back."""
        return bool(await self._call("release_push", account_id=push.user_id, token=push.token))

    async def settle_usage(self, asked_at: datetime, spenders: Sequence[Spender]) -> int:
        """Book users' spends; returns for how many there was something to book."""
        rows = [{"user_id": one.user_id, "spend_micros": one.spend_micros} for one in spenders]
        return int(await self._call("settle_usage", spenders=rows, asked_at=asked_at.isoformat()))

    async def claim_probe(self) -> bool:
        """True for the one process that may ask an absent LiteLLM whether it is back."""
        return bool(await self._call("claim_probe", name="litellm"))

    async def report_gateway(self, *, ok: bool, error: str | None = None) -> None:
        await self._call("report_gateway", name="litellm", ok=ok, error=error)

    async def record_warnings(self, warnings: Sequence[str]) -> None:
        """Keep what endangers wallets, in sentences for an administrator."""
        await self._call("record_warnings", name="litellm", warnings=list(warnings))

    async def list_deletions(self, limit: int) -> dict[str, str]:
        """Keys that have been blocked in LiteLLM for a day: hashes by id."""
        return {row["id"]: row["key_hash"] for row in await self._call("list_deletions", limit=limit)}

    async def finish_deletions(self, ids: Sequence[str]) -> None:
        await self._call("finish_deletions", ids=list(ids))


def read_push(row: Json) -> Push:
    return Push(
        user_id=row["user_id"],
        token=row["token"],
        revision=row["revision"],
        budget_micros=row["budget_micros"],
        seen_micros=row["seen_micros"],
        confirmed=row["confirmed"],
        keys=tuple(_wanted(row, key) for key in row["keys"]),
        live_keys=tuple(LiveKey(one["key"], tuple(one["models"])) for one in row["live_keys"]),
        waits_for_effect=row["waits_for_effect"],
        rpm_limit=row["rpm_limit"],
        tpm_limit=row["tpm_limit"],
    )


def _wanted(account: Json, key: Json) -> WantedKey:
    return WantedKey(
        id=key["id"],
        user_id=account["user_id"],
        installation_id=account["installation_id"],
        key=key["key"],
        key_hash=key["key_hash"],
        name=key["name"],
        state=KeyState(key["state"]),
        budget_cents=key["budget_cents"],
        budget_duration=key["budget_duration"],
        rpm_limit=key["rpm_limit"],
        tpm_limit=key["tpm_limit"],
        revision=key["revision"],
        confirmed=key["confirmed"],
        maybe_created=key["maybe_created"],
        fences=read_fences(account["fences"]),
        suspended=account["suspended"],
        of_key=key["of_key"],
        models=tuple(key["models"]),
        expires_at=read_time(key["expires_at"]),
        previous_hash=key["previous_hash"],
    )


def read_time(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)


def _result(result: KeyResult) -> Json:
    return {
        "id": result.id,
        "key_hash": result.key_hash,
        "revision": result.revision,
        "outcome": result.outcome.value,
        "error": result.error,
        "retry_after_seconds": result.retry_after_seconds,
    }
