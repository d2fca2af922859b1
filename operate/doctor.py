"""Whether a LiteLLM can be trusted with wallets, asked of itself on an account of the doctor's own.

It makes two or three model calls of a few tokens, which cost a fraction of a cent. What would cost more it
says beforehand, and does only when told to.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import httpx

from core.domain.models import Model
from core.domain.routes import PROOFLESS
from core.domain.watch import describe_routes
from core.errors import KeyfundError
from core.gateways.litellm import LiteLLM
from core.http import make_client
from core.settings import Settings
from core.store import ServiceStore
from operate.database import examine_database
from operate.fences import (
    address_is_ignored,
    examine_guard,
    fields_are_refused,
    find_guard,
    routes_are_closed,
)
from operate.finding import Finding, Verdict, broken, ok, warning
from operate.patient import AdmissionError, Patient, admit, fences_of
from operate.prices import choose, dearest_call, describe_dearest, examine_models
from operate.setup import examine_setup
from operate.wallet import (
    CallError,
    attack_dollars,
    binds_both_keys,
    charges_without_log,
    is_for_life,
    overspend,
    refuses_before_overdraft,
)

FLUSH_SECONDS = 60  # LiteLLM writes spend every 10 to 15 s; more for a slow database
DEFAULTS = fences_of(PROOFLESS, {})


@dataclass(frozen=True, slots=True)
class Visit:
    """How an examination is done.

    ``model`` is what is called; None: the cheapest. ``really``: also make calls that cost more.
    ``flush_seconds`` is how long LiteLLM is given to write down what a call cost.
    """

    model: str | None = None
    really: bool = False
    flush_seconds: float = FLUSH_SECONDS


Say = Callable[[Finding], None]


async def examine(settings: Settings, say: Say, visit: Visit, store: ServiceStore | None = None) -> bool:
    """Examine the configured LiteLLM, saying each finding as it comes. True: nothing is broken.

    ``store`` is where the versions seen are recorded; None: nowhere.
    """
    if settings.litellm_base_url is None or settings.litellm_master_key is None:
        say(broken("LITELLM_BASE_URL and LITELLM_MASTER_KEY are not set."))
        return False
    healthy, guard = True, None
    async with make_client(timeout_seconds=60) as client:
        litellm = LiteLLM(settings, client)
        try:
            for finding in await examine_database(store, settings.supabase_schema) if store else ():
                say(finding)
            fences = (await store.read_routes()).fences if store else DEFAULTS
            key = settings.litellm_master_key.get_secret_value()
            async with admit(client, settings.litellm_base_url, key, fences) as patient:
                examination = Examination(patient, litellm, store, visit, settings.litellm_cache_seconds)
                guard = await find_guard(patient)
                async for finding in examination.findings(guard):
                    say(finding)
                    healthy = healthy and finding.verdict is not Verdict.BROKEN
        except (httpx.HTTPError, AdmissionError, KeyfundError) as error:
            say(await explain(error, client, settings))
            return False
    say(conclude(guard, healthy=healthy))
    return healthy


def conclude(guard: str | None, *, healthy: bool) -> Finding:
    """Which level of the promise holds."""
    if guard is None:
        return broken(
            "Without the guard, what is in flight when a wallet ends goes through: no number is promised."
        )
    if healthy:
        return ok("With the guard, an account never spends more than its wallet on any open route.")
    return broken("With the guard, a wallet holds on every open route once what is BROKEN above is mended.")


async def explain(error: Exception, client: httpx.AsyncClient, settings: Settings) -> Finding:
    """Why there was nothing to examine, and what to change."""
    if isinstance(error, AdmissionError) and error.status == 403:
        return broken(
            "LiteLLM refuses to make keys whose string Keyfund chose (403 to /key/generate). Remove "
            "general_settings.disable_custom_api_keys."
        )
    if isinstance(error, httpx.HTTPStatusError):
        status, path = error.response.status_code, error.request.url.path
        if status == 403 and await _answers(client, settings):
            return broken(
                f"LiteLLM answered 403 to {path}, though it accepts the key of LITELLM_MASTER_KEY "
                "elsewhere: it is one of fewer rights. Set LITELLM_MASTER_KEY to LiteLLM's "
                "general_settings.master_key."
            )
        return broken(f"LiteLLM answered {status} to {path}: check LITELLM_MASTER_KEY.")
    if isinstance(error, httpx.HTTPError):
        return broken(f"LiteLLM cannot be reached at {settings.litellm_base_url}.")
    return broken(str(error))


async def _answers(client: httpx.AsyncClient, settings: Settings) -> bool:
    """Whether another management route takes the key."""
    key = settings.litellm_master_key.get_secret_value() if settings.litellm_master_key else ""
    headers = {"Authorization": f"Bearer {key}"}
    answer = await client.get(f"{settings.litellm_base_url}/key/list", params={"size": "1"}, headers=headers)
    return answer.is_success


@dataclass(frozen=True, slots=True)
class Examination:
    """One visit to one LiteLLM."""

    patient: Patient
    litellm: LiteLLM
    store: ServiceStore | None
    visit: Visit
    cache_seconds: int

    async def findings(self, guard: str | None) -> AsyncIterator[Finding]:
        """From what decides most to what decides least."""
        patient = self.patient
        yield ok("LiteLLM answers, and accepts the master key.")
        yield examine_guard(guard)
        async for finding in self._versions(guard):
            yield finding
        yield await is_for_life(patient)
        yield await routes_are_closed(patient)
        models = await self.litellm.list_deployments()
        for finding in examine_models(models, guarded=guard is not None):
            yield finding
        async for finding in examine_setup(patient, models):
            yield finding
        chosen = self._choose(models)
        if chosen is None:
            yield broken(
                "No model that generates text has a price: nothing that is used would ever be paid for."
            )
            return
        async for finding in self._money(chosen, models, guard):
            yield finding
        yield ok(
            "Killed hard, LiteLLM forgets what was spent since it last wrote its spend down, up to 15 s by "
            "default (general_settings.proxy_batch_write_at); the provider bills it all the same. Stop it "
            "with SIGTERM."
        )

    def _choose(self, models: Sequence[Model]) -> Model | None:
        if self.visit.model is None:
            return choose(models)
        named = (model for model in models if model.name == self.visit.model)
        return next(named, Model(self.visit.model, None, {}))

    async def _versions(self, guard: str | None) -> AsyncIterator[Finding]:
        """Record what was seen, and name the proofs that do not count any more."""
        version = await self.litellm.read_version()
        if version is None:
            yield warning("LiteLLM does not show its version to this key (/health/readiness/details).")
        elif self.store is not None:
            await self.store.record_litellm(version, guard)
            stale = describe_routes(await self.store.read_routes(), version, guard)
            yield warning(stale) if stale else ok(f"LiteLLM {version}; every open route is proved for it.")
        else:
            yield ok(f"LiteLLM {version}.")

    async def _money(
        self, model: Model, models: Sequence[Model], guard: str | None
    ) -> AsyncIterator[Finding]:
        patient, seconds = self.patient, self.visit.flush_seconds
        try:
            yield await charges_without_log(patient, model.name, seconds)
        except CallError as error:
            yield broken(str(error))
            return
        yield await binds_both_keys(patient, model.name, self.cache_seconds)
        yield await refuses_before_overdraft(patient, model.name)
        yield await address_is_ignored(patient, model.name)
        if guard is not None:
            yield await fields_are_refused(patient, model.name)
            return
        yield warning(describe_dearest(dearest_call(models), patient.fences.key_max_parallel))
        dollars = attack_dollars(model)
        if not self.visit.really:
            yield warning(
                f"Not tried, since it would cost up to ${dollars:.2f}: several calls of {model.name} at "
                "once with two limits that contradict each other. --yes tries it."
            )
            return
        yield warning(
            f"Now tried, for up to ${dollars:.2f}: calls of {model.name} with contradicting limits."
        )
        yield await overspend(patient, model, seconds)
