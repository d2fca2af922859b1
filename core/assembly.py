"""What both processes are assembled from: clients made at start, closed at stop, passed as arguments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from core.domain.usage import FlatRate
from core.flows.adopt import Adopter
from core.flows.drift import DriftFinder
from core.flows.estimate import Estimator
from core.flows.push import Pusher
from core.flows.reconcile import Reconciler
from core.flows.settle import Settler
from core.flows.usage import UsageReader
from core.gateways.litellm import LiteLLM, make_litellm_client
from core.payments.paystack import Paystack, make_paystack_client
from core.settings import Settings
from core.store import ServiceStore
from core.store.service import make_supabase_client, open_store


@dataclass(frozen=True, slots=True)
class Assembly:
    """One of each per process. What belongs to a feature that is not configured is None."""

    settings: Settings
    supabase: httpx.AsyncClient
    store: ServiceStore
    litellm: LiteLLM | None
    pusher: Pusher | None
    paystack: Paystack | None
    settler: Settler | None
    reconciler: Reconciler
    drift_finder: DriftFinder | None
    adopter: Adopter | None
    usage: UsageReader | None
    estimator: Estimator


@asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Assembly]:
    """Make all clients that the settings call for. Nothing is asked yet, so a start waits for nobody."""
    async with AsyncExitStack() as stack:
        supabase = await stack.enter_async_context(make_supabase_client())
        store = await open_store(settings, supabase)
        litellm = asked = pusher = paystack = settler = None
        if settings.litellm_base_url is not None:
            litellm = LiteLLM(settings, await stack.enter_async_context(make_litellm_client(settings)))
            # Connections of their own: a crowd that looks at usage and estimates keeps no push waiting.
            asked = LiteLLM(settings, await stack.enter_async_context(make_litellm_client(settings)))
            pusher = Pusher(
                store=store,
                litellm=litellm,
                lease_seconds=settings.lease_seconds,
                call_seconds=settings.litellm_timeout_seconds,
                cache_seconds=settings.litellm_cache_seconds,
                keys_at_once=asyncio.Semaphore(settings.push_concurrency),
            )
        if settings.paystack_secrets:
            paystack = Paystack(settings, await stack.enter_async_context(make_paystack_client(settings)))
            settler = Settler(
                store, paystack, settings.paystack_mode, pusher, settings.paystack_fees_borne_by
            )
        reconciler = Reconciler(store, litellm, paystack)
        drift_finder = DriftFinder(store, litellm) if litellm is not None else None
        adopter = Adopter(store, litellm) if litellm is not None else None
        usage = UsageReader(store, asked) if asked is not None else None
        flat = FlatRate(settings.flat_characters_per_token, settings.flat_micros_per_1000_tokens)
        yield Assembly(
            settings,
            supabase,
            store,
            litellm,
            pusher,
            paystack,
            settler,
            reconciler,
            drift_finder,
            adopter,
            usage,
            Estimator(asked, flat),
        )
