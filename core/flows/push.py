"""Pushing one account to LiteLLM: blocks first, then the wallet, then the other keys.

Every write is followed by a read: synced means that LiteLLM shows what we want, never that it said 200.
The caller holds the account's lease; no write is begun that could outlast it.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.domain.keys import (
    KeyState,
    ObservedKey,
    ObservedUser,
    WantedKey,
    any_model_of,
    differences,
    holds_wallet,
)
from core.domain.pushes import Effect, KeyResult, LiveKey, Outcome, Probe, Push, Verdict
from core.errors import KeyfundError, RefusedError, TransientError
from core.gateways.litellm import LiteLLM
from core.logs import get_logger
from core.metrics import KEYS, PUSHES
from core.refusals import refused, unavailable
from core.store import ServiceStore

log = get_logger()


class LeaseLostError(Exception):
    """Another process has the account now, or our lease is about to end: write nothing more."""


@dataclass(frozen=True, slots=True)
class Pusher:
    """Pushes leased accounts; one per process."""

    store: ServiceStore
    litellm: LiteLLM
    lease_seconds: int
    call_seconds: float
    cache_seconds: int
    keys_at_once: asyncio.Semaphore

    async def push_now(self, user_id: str) -> bool:
        """Push one account right away if nobody else does; the worker does it otherwise.

        Never raises for LiteLLM's or the database's sake: what is not pushed stays due.
        """
        claimed_at = time.monotonic()
        try:
            push = await self.store.claim_push(user_id, self.lease_seconds)
        except KeyfundError as error:
            log.warning("sync.push_postponed", user_id=user_id, error=str(error))
            return False
        return push is not None and await self.push_leased(push, claimed_at)

    async def push_leased(self, push: Push, claimed_at: float) -> bool:
        """The same for an account that was leased to us already; the arguments are those of ``run``."""
        try:
            return await self.run(push, claimed_at)
        except KeyfundError as error:
            log.warning("sync.push_postponed", user_id=push.user_id, error=str(error))
            return False

    async def run(self, push: Push, claimed_at: float) -> bool:
        """Carry out one leased push and record how it went. True: the wallet is confirmed.

        Args:
            push: what to push.
            claimed_at: ``time.monotonic()`` from before the claim was sent.

        Raises:
            KeyfundError: the database could not record it; the lease then runs out and it is done again.
        """
        lease = _Lease(claimed_at + self.lease_seconds, self.call_seconds)
        try:
            return await _Attempt(self, push, lease).carry_out()
        except LeaseLostError:  # and nothing was written
            log.warning("sync.lease_lost", user_id=push.user_id)
            await self.store.release_push(push)
            return False


@dataclass(slots=True)
class _Lease:
    """Until when we may write. The clock goes on while a process is stopped, so a late one notices."""

    ends_at: float
    call_seconds: float
    used: bool = False

    def check(self) -> None:
        """Before each write."""
        if time.monotonic() + self.call_seconds >= self.ends_at:
            raise LeaseLostError
        self.used = True


class _Attempt:
    """One visit to LiteLLM on behalf of one account."""

    def __init__(self, pusher: Pusher, push: Push, lease: _Lease) -> None:
        self._store, self._litellm = pusher.store, pusher.litellm
        self._pusher, self._push, self._lease = pusher, push, lease
        self._log = log.bind(user_id=push.user_id)

    async def carry_out(self) -> bool:
        stops = [key for key in self._push.keys if key.blocked]
        others = [key for key in self._push.keys if not key.blocked]
        results = await self._push_keys(stops)
        try:
            user = await self._push_wallet()
        except LeaseLostError:
            if not self._lease.used:
                raise
            # What was sent may land after another's: whoever has the lease now has to read it all again.
            ended = unavailable("lease_ended", outcome_unknown=True)
            return await self._fail("unknown", ended, results)
        except TransientError as error:
            kind = "unknown" if error.outcome_unknown else "transient"
            return await self._fail(kind, error, results, error.retry_after_seconds)
        except RefusedError as error:
            return await self._fail("refused", error, results)
        results += await self._push_keys(others)
        effect = await self._probe_effect(user, others, results)
        return await self._finish(user, results, effect)

    async def _finish(self, user: ObservedUser, results: Sequence[KeyResult], effect: Effect) -> bool:
        finished = await self._store.finish_push(
            self._push,
            spend_micros=user.spend_micros,
            keys=results,
            effect=effect,
            cache_seconds=self._pusher.cache_seconds,
        )
        for result in results:
            KEYS.labels(result.outcome).inc()
            if result.outcome not in (Outcome.SYNCED, Outcome.WAITS):
                self._log.warning(
                    "sync.key_failed", key_id=result.id, outcome=result.outcome, error=result.error
                )
        if not finished:
            self._log.warning("sync.lease_lost")
            PUSHES.labels("lease_lost").inc()
            return False
        PUSHES.labels("confirmed").inc()
        self._log.info(
            "sync.pushed",
            budget_micros=user.budget_micros,
            spend_micros=user.spend_micros,
            keys=len(results),
            effect=effect,
        )
        return True

    async def _fail(
        self,
        kind: str,
        error: KeyfundError,
        results: Sequence[KeyResult],
        retry_after_seconds: int | None = None,
    ) -> bool:
        self._log.warning("sync.push_failed", kind=kind, error=str(error))
        PUSHES.labels(kind).inc()
        await self._store.fail_push(
            self._push, kind=kind, error=str(error), retry_after_seconds=retry_after_seconds, keys=results
        )
        return False

    # ----------------------------------------------------------------- wallet

    async def _push_wallet(self) -> ObservedUser:
        """Make LiteLLM's user row the wallet, and return it as read back.

        Raises:
            TransientError, RefusedError: it is not.
        """
        user = await self._litellm.read_user(self._push.user_id)
        budget = await self._decide_budget(user)
        vanished = user is None and self._push.confirmed
        if vanished:
            await self._stop_keys()
        limits = (self._push.rpm_limit, self._push.tpm_limit)
        if user is None or not holds_wallet(user, budget, *limits):
            self._lease.check()
            await self._litellm.write_wallet(self._push.user_id, budget, *limits)
            user = await self._litellm.read_user(self._push.user_id)
        if user is None or not holds_wallet(user, budget, *limits):
            raise refused("litellm_wallet_differs")
        return user

    async def _decide_budget(self, user: ObservedUser | None) -> int:
        """The budget to push, in micro-dollars; spend that went backwards is handled before any raise."""
        spend = user.spend_micros if user is not None else 0
        if spend >= self._push.seen_micros:
            return self._push.budget_micros
        verdict, budget = await self._observe(spend, user_is_missing=user is None)
        if verdict is Verdict.READ_AGAIN:
            again = await self._litellm.read_user(self._push.user_id)
            spend = again.spend_micros if again is not None else 0
            _, budget = await self._observe(spend, user_is_missing=again is None)
        return budget

    async def _observe(self, spend_micros: int, *, user_is_missing: bool) -> tuple[Verdict, int]:
        verdict, budget = await self._store.observe_spend(
            self._push, spend_micros, user_is_missing=user_is_missing
        )
        if verdict is Verdict.LEASE_LOST:
            raise LeaseLostError
        if verdict is Verdict.NEW_EPOCH:
            self._log.error(
                "sync.spend_went_backwards", seen_micros=self._push.seen_micros, now_micros=spend_micros
            )
        return verdict, budget

    async def _stop_keys(self) -> None:
        """Without its user row LiteLLM enforces nothing for a key: block all until the row is back.

        The database knows first that they have to be looked at again, so the next visit unblocks them
        whatever becomes of this process.
        """
        self._log.error("sync.user_vanished")
        hashes = await self._store.recheck_keys(self._push)
        ended = await asyncio.gather(
            *(self._stop_key(key_hash) for key_hash in hashes), return_exceptions=True
        )
        for error in ended:  # only once none is on its way any more
            if error is not None:
                raise error

    async def _stop_key(self, key_hash: str) -> None:
        async with self._pusher.keys_at_once:
            self._lease.check()
            try:
                await self._litellm.block_key(key_hash)
            except RefusedError:
                self._log.warning("sync.key_not_blocked", key_hash=key_hash)  # it vanished, too

    # ------------------------------------------------------------------- keys

    async def _push_keys(self, keys: Sequence[WantedKey]) -> list[KeyResult]:
        """Push keys side by side. One for which no time is left is simply left outstanding."""
        results = await asyncio.gather(*(self._push_key(key) for key in keys))
        return [result for result in results if result is not None]

    async def _push_key(self, key: WantedKey) -> KeyResult | None:
        if key.previous_hash is not None and not key.blocked:
            # What its former string spends of the cap is not known yet: together they could spend more.
            return KeyResult(key.id, key.key_hash, key.revision, Outcome.WAITS)
        async with self._pusher.keys_at_once:
            try:
                observed = await self._converge(key)
            except LeaseLostError:
                return None
            except TransientError as error:
                outcome = Outcome.UNKNOWN if error.outcome_unknown else Outcome.TRANSIENT
                wait = error.retry_after_seconds
                return KeyResult(key.id, key.key_hash, key.revision, outcome, str(error), wait)
            except RefusedError as error:
                return KeyResult(key.id, key.key_hash, key.revision, Outcome.REFUSED, str(error))
        wrong = differences(key, observed) if observed is not None else ()
        if wrong:
            error_text = f"litellm_key_differs: LiteLLM shows another {', '.join(wrong)} than it was given."
            return KeyResult(key.id, key.key_hash, key.revision, Outcome.REFUSED, error_text)
        return KeyResult(key.id, key.key_hash, key.revision, Outcome.SYNCED)

    async def _converge(self, key: WantedKey) -> ObservedKey | None:
        """Make LiteLLM hold the key as wanted; returns it as read back, None if it rightly is not there."""
        observed = None
        if key.confirmed and not key.blocked:
            observed = await self._change_unseen(key)
        elif key.confirmed or key.maybe_created:
            observed = await self._litellm.read_key(key.key_hash)
        if observed is None:
            if key.state is KeyState.REVOKED and (key.confirmed or not key.maybe_created):
                return None  # never made, or gone already
            observed = await self._create(key)
        if differences(key, observed):
            await self._change(key, observed)
            observed = await self._read_back(key)
        return observed

    async def _change_unseen(self, key: WantedKey) -> ObservedKey | None:
        """What changed of a live key is most likely its limits: write them, and look once, afterwards."""
        self._lease.check()
        with contextlib.suppress(RefusedError):  # the look shows what there is to refuse, or that it is gone
            await self._litellm.update_key(key)
        return await self._litellm.read_key(key.key_hash)

    async def _create(self, key: WantedKey) -> ObservedKey:
        if key.confirmed:
            # Created again it would come back with its spend forgotten, and a string is never used twice.
            raise refused("litellm_key_vanished")
        self._lease.check()
        # A revoked key whose create may still be on its way is made, blocked: a late one changes nothing.
        await self._litellm.create_key(key)
        return await self._read_back(key)

    async def _change(self, key: WantedKey, observed: ObservedKey) -> None:
        self._lease.check()
        if key.blocked:
            await self._litellm.block_key(key.key_hash)
            return
        wrong = differences(key, observed)
        if wrong != ("blocked",):
            await self._litellm.update_key(
                key,
                new_period="budget_duration" in wrong,
                found=observed.metadata if "metadata" in wrong else None,
            )
        if observed.blocked:
            await self._litellm.unblock_key(key.key_hash)

    async def _read_back(self, key: WantedKey) -> ObservedKey:
        observed = await self._litellm.read_key(key.key_hash)
        if observed is None:
            raise unavailable("litellm_key_missing")
        return observed

    # ----------------------------------------------------------------- effect

    async def _probe_effect(
        self, user: ObservedUser, keys: Sequence[WantedKey], results: Sequence[KeyResult]
    ) -> Effect:
        """Whether credits that were bought can be spent now, asked with one of the account's own keys."""
        if not self._push.waits_for_effect:
            return Effect.UNKNOWN
        if (user.budget_micros or 0) <= user.spend_micros:
            return Effect.EXHAUSTED
        synced = {result.id for result in results if result.outcome is Outcome.SYNCED}
        fresh = [LiveKey(key.key, key.models) for key in keys if key.id in synced and key.key is not None]
        for candidate in (*fresh, *self._push.live_keys)[:3]:
            try:
                probe = await self._litellm.probe_key(candidate.key, any_model_of(candidate.models))
            except KeyfundError:
                return Effect.UNKNOWN
            if probe is Probe.WALLET_EXCEEDED:
                return Effect.NO
            if probe is Probe.USABLE:
                return Effect.YES
        return Effect.YES  # no key, or each stopped by its own cap or block: the wallet was read back
