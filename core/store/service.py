"""Supabase with the service key: one method, one SQL function. Dicts end here; values go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from core.domain.keys import KeyState, WantedKey
from core.domain.payments import Credit, Dispute, Event, Order, Review
from core.domain.pushes import Effect, KeyResult, Push, Reading, Spender, Verdict
from core.errors import TransientError
from core.http import make_client
from core.settings import Settings
from core.store.calls import execute

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that is ours to handle."""

    id: int
    token: str
    name: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that a checkout can be opened for."""

    order: Order
    email: str


class ServiceStore:
    """What the service and the worker may do with the service key.

    All methods raise TransientError or RefusedError; all are safe to repeat.
    """

    def __init__(self, supabase: AsyncClient) -> None:
        self._supabase = supabase

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await execute(self._supabase.rpc(function, {f"p_{k}": v for k, v in arguments.items()}))

    # ---------------------------------------------------------------- process

    async def check_installation(self, credit_value_cents: int) -> None:
        """Refuse to start with another credit value than the database counts in."""
        await self._call("check_installation", credit_value_cents=credit_value_cents)

    async def beat_worker(self, name: str) -> None:
        await self._call("beat_worker", name=name)

    async def heal_accounts(self, limit: int) -> Json:
        return dict(await self._call("heal_accounts", limit=limit))

    async def redact_events(self, limit: int) -> int:
        """Take personal data out of events that were handled long ago; returns of how many."""
        return int(await self._call("redact_events", limit=limit))

    async def list_deletions(self, limit: int) -> dict[str, str]:
        """Keys that have been blocked in LiteLLM for a day: hashes by id."""
        return {row["id"]: row["key_hash"] for row in await self._call("list_deletions", limit=limit)}

    async def finish_deletions(self, ids: Sequence[str]) -> None:
        await self._call("finish_deletions", ids=list(ids))

    async def read_status(self) -> Json:
        return dict(await self._call("read_status"))

    # ----------------------------------------------------------------- pushes

    async def claim_pushes(self, limit: int, lease_seconds: int) -> list[Push]:
        """Lease accounts that are due, blocks and revocations first."""
        rows = await self._call("claim_pushes", limit=limit, lease_seconds=lease_seconds)
        return [_push(row) for row in rows]

    async def claim_push(self, user_id: str, lease_seconds: int) -> Push | None:
        """Lease one account; None when nothing is due, another has it, or LiteLLM is away."""
        row = await self._call("claim_push", user_id=user_id, lease_seconds=lease_seconds)
        return _push(row) if row else None

    async def observe_spend(
        self, push: Push, spend_micros: int, *, user_is_missing: bool
    ) -> tuple[Verdict, int]:
        """Report a spend that needs a decision: the verdict, and the budget to push (micro-dollars)."""
        row = await self._call(
            "observe_spend",
            user_id=push.user_id,
            token=push.token,
            spend_micros=spend_micros,
            user_is_missing=user_is_missing,
        )
        return Verdict(row["verdict"]), int(row.get("budget_micros") or 0)

    async def recheck_keys(self, push: Push) -> list[str]:
        """Have all live keys of the account read again soon; returns their hashes."""
        return list(await self._call("recheck_keys", user_id=push.user_id, token=push.token))

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
                user_id=push.user_id,
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
                user_id=push.user_id,
                token=push.token,
                kind=kind,
                error=error,
                retry_after_seconds=retry_after_seconds,
                keys=[_result(one) for one in keys],
            )
        )

    async def release_push(self, push: Push) -> bool:
        """Give an untouched account back."""
        return bool(await self._call("release_push", user_id=push.user_id, token=push.token))

    async def claim_reading(self, gateway: str, every_seconds: int) -> Reading | None:
        """For the one process whose turn it is to read what changed; None for all others."""
        row = await self._call("claim_reading", name=gateway, every_seconds=every_seconds)
        if not row:
            return None
        mark = datetime.fromisoformat(row["mark"]) if row["mark"] else None
        return Reading(mark=mark, asked_at=datetime.fromisoformat(row["asked_at"]))

    async def settle_usage(self, reading: Reading, spenders: Sequence[Spender]) -> int:
        """Book users' spends; returns for how many there was something to book."""
        rows = [{"user_id": one.user_id, "spend_micros": one.spend_micros} for one in spenders]
        return int(await self._call("settle_usage", spenders=rows, asked_at=reading.asked_at.isoformat()))

    async def finish_reading(self, gateway: str, mark: datetime) -> None:
        """All changes up to this time of the gateway's are dealt with."""
        await self._call("finish_reading", name=gateway, mark=mark.isoformat())

    async def claim_probe(self) -> bool:
        """True for the one process that may ask an absent LiteLLM whether it is back."""
        return bool(await self._call("claim_probe", name="litellm"))

    async def report_gateway(
        self, *, ok: bool, error: str | None = None, warnings: Sequence[str] = ()
    ) -> None:
        await self._call("report_gateway", name="litellm", ok=ok, error=error, warnings=list(warnings))

    # --------------------------------------------------------------- payments

    async def open_order(self, user_id: str, package_id: str) -> OpenOrder:
        """Freeze a package's price and credits in a first attempt."""
        return _open_order(await self._call("open_order", user_id=user_id, package_id=package_id))

    async def repeat_order(self, reference: str) -> OpenOrder:
        """Another attempt of the same order under a new reference."""
        return _open_order(await self._call("repeat_order", reference=reference))

    async def record_checkout(self, reference: str, authorization_url: str, access_code: str) -> None:
        await self._call(
            "record_checkout",
            reference=reference,
            authorization_url=authorization_url,
            access_code=access_code,
        )

    async def refuse_checkout(self, reference: str, reason: str) -> None:
        await self._call("refuse_checkout", reference=reference, reason=reason)

    async def get_payment(self, reference: str) -> Order | None:
        """The attempt with this reference; None: not one of ours."""
        row = await self._call("get_payment", reference=reference)
        return _order(row) if row else None

    async def credit_payment(self, order: Order, credit: Credit) -> bool:
        """Grant the order's credits. False: they were granted before."""
        row = await self._call(
            "credit_payment",
            reference=order.reference,
            provider_id=credit.provider_id,
            paid_amount=credit.amount_subunits,
            currency=credit.currency,
            paid_at=credit.paid_at.isoformat() if credit.paid_at else None,
        )
        return bool(row["credited"])

    async def observe_payment(self, reference: str, status: str) -> None:
        await self._call("observe_payment", reference=reference, status=status)

    async def review_payment(self, reference: str, review: Review) -> None:
        await self._call(
            "review_payment",
            reference=reference,
            reason=review.reason,
            provider_id=review.provider_id,
            paid_amount=review.amount_subunits,
        )

    async def record_reversals(
        self, reference: str, refunded_subunits: int, disputes: Sequence[Dispute]
    ) -> int:
        """Book what a payment's refunds and disputes withhold; returns by how many credits that changed."""
        rows = [
            {
                "id": one.id,
                "resolved": one.resolved,
                "resolution": one.resolution,
                "refund_amount": one.refund_subunits,
            }
            for one in disputes
        ]
        told = await self._call(
            "record_reversals", reference=reference, refunded=refunded_subunits, disputes=rows
        )
        return int(told["withheld"])

    async def list_uncredited(self, references: Sequence[str]) -> list[str]:
        """Those that are ours and not credited yet."""
        return list(await self._call("list_uncredited", references=list(references)))

    async def list_changed_reversals(
        self, refunds: Mapping[int, int], disputes: Sequence[Dispute]
    ) -> list[str]:
        """Our payments with refunds (subunits by Paystack's transaction id) or disputes not counted yet."""
        return list(
            await self._call(
                "list_changed_reversals",
                refunds=[{"provider_id": one, "amount": amount} for one, amount in refunds.items()],
                disputes=[
                    {"id": one.id, "reference": one.reference, "resolved": one.resolved} for one in disputes
                ],
            )
        )

    async def claim_verifications(self, limit: int) -> list[Order]:
        """Orders that nobody told us the end of."""
        return [_order(row) for row in await self._call("claim_verifications", limit=limit)]

    # ------------------------------------------------------------------ inbox

    async def receive_event(self, event: Event, lease_seconds: int) -> ClaimedEvent | None:
        """Store an event. Its first receiver is the one to handle it; None: a repetition."""
        row = await self._call(
            "receive_event",
            fingerprint=event.fingerprint,
            event=event.name,
            reference=event.reference,
            body=event.body,
            lease_seconds=lease_seconds,
        )
        if not isinstance(row, dict) or "new" not in row:
            # Something in between answered: never tell Paystack that this is stored.
            raise TransientError("database_unavailable", "The database cannot be reached.")
        if not row["new"]:
            return None
        return ClaimedEvent(id=row["id"], token=row["token"], name=event.name, reference=event.reference)

    async def claim_events(self, limit: int, lease_seconds: int) -> list[ClaimedEvent]:
        """Lease events that are due."""
        rows = await self._call("claim_events", limit=limit, lease_seconds=lease_seconds)
        return [
            ClaimedEvent(id=row["id"], token=row["token"], name=row["event"], reference=row["reference"])
            for row in rows
        ]

    async def finish_event(self, event: ClaimedEvent, outcome: str) -> bool:
        return bool(await self._call("finish_event", id=event.id, token=event.token, outcome=outcome))

    async def fail_event(self, event: ClaimedEvent, error: str) -> bool:
        return bool(await self._call("fail_event", id=event.id, token=event.token, error=error))


async def open_store(settings: Settings, client: httpx.AsyncClient) -> ServiceStore:
    """Connect with the service key. Never signs anyone in: the client would then act as that person."""
    options = AsyncClientOptions(
        httpx_client=client, auto_refresh_token=False, persist_session=False, postgrest_client_retry=False
    )
    key = settings.supabase_service_role_key.get_secret_value()
    return ServiceStore(await acreate_client(settings.supabase_url, key, options=options))


def make_supabase_client() -> httpx.AsyncClient:
    return make_client(timeout_seconds=15, connections=40)


def _push(row: Json) -> Push:
    return Push(
        user_id=row["user_id"],
        token=row["token"],
        revision=row["revision"],
        budget_micros=row["budget_micros"],
        seen_micros=row["seen_micros"],
        confirmed=row["confirmed"],
        keys=tuple(_wanted(row, key) for key in row["keys"]),
        live_keys=tuple(row["live_keys"]),
        waits_for_effect=row["waits_for_effect"],
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
    )


def _result(result: KeyResult) -> Json:
    return {
        "id": result.id,
        "revision": result.revision,
        "outcome": result.outcome.value,
        "error": result.error,
        "retry_after_seconds": result.retry_after_seconds,
    }


def _order(row: Json) -> Order:
    return Order(
        reference=row["reference"],
        user_id=row["user_id"],
        amount_subunits=row["amount"],
        currency=row["currency"],
        credits=row["credits"],
        status=row["status"],
        provider_id=row["provider_id"],
        credited=row["credited_at"] is not None,
    )


def _open_order(row: Json) -> OpenOrder:
    return OpenOrder(order=_order(row), email=row["email"])
