"""Proofs that a further route may be opened: one real call of it with each model, and what was charged.

A proof is for the LiteLLM and the guard that were seen. Recording it opens nothing: an administrator does, in
the setting ``open_routes``.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import httpx

from core.domain.models import Model, find_faults
from core.domain.routes import PATHS, PROOFLESS
from core.domain.watch import MISSING
from core.errors import KeyfundError
from core.gateways.litellm import LiteLLM
from core.http import make_client
from core.settings import Settings
from core.store import ServiceStore
from operate.doctor import FLUSH_SECONDS, explain
from operate.fences import find_guard
from operate.finding import Finding, Verdict, broken, ok, warning
from operate.patient import AdmissionError, Patient, admit, error_of, fences_of, refused_by
from operate.prices import choose
from operate.trials import TRIALS, Trial, fits
from operate.wallet import spends

WHOLE = "*"
OPEN = (
    "To open it: update keyfund.settings set open_routes = open_routes || '{{{}}}'; then every key is pushed "
    "again."
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be proved: a route, with these models, or with all that fit where none is named."""

    route: str
    models: tuple[str, ...] = ()
    flush_seconds: float = FLUSH_SECONDS


async def prove(
    settings: Settings,
    store: ServiceStore,
    wish: Wish,
    say: Callable[[Finding], None],
    agree: Callable[[str], bool],
) -> bool:
    """Prove a route and record what held. ``agree`` is asked once, with what it may cost. True: all held."""
    if settings.litellm_base_url is None or settings.litellm_master_key is None:
        say(broken("LITELLM_BASE_URL and LITELLM_MASTER_KEY are not set."))
        return False
    if wish.route not in TRIALS:
        needless = " It needs no proof." if wish.route in PROOFLESS else f" Routes are {', '.join(TRIALS)}."
        say(broken(f"Nothing to prove of {wish.route}.{needless}"))
        return False
    async with make_client(timeout_seconds=120) as client:
        litellm = LiteLLM(settings, client)
        try:
            trial = TRIALS[wish.route]
            models = select(await litellm.list_deployments(), trial, wish.models)
            dollars = sum(trial.most_dollars(model) for model in models if unfit(model) is None)
            if not models:
                say(broken(f"No model of LiteLLM's is for {wish.route} (mode: {trial.mode})."))
                return False
            names = ", ".join(model.name for model in models)
            if not agree(f"Proving {wish.route} with {names} costs up to ${dollars:.4f}."):
                say(warning("Not proved: nothing was called."))
                return False
            fences = fences_of((*PROOFLESS, wish.route), {wish.route: (WHOLE,)})
            key = settings.litellm_master_key.get_secret_value()
            wallet = max(1.0, 3 * dollars)
            async with admit(client, settings.litellm_base_url, key, fences, wallet) as patient:
                proof = Proof(patient, litellm, store, wish, trial)
                findings = [finding async for finding in _said(proof.findings(models), say)]
        except (httpx.HTTPError, AdmissionError, KeyfundError) as error:
            say(await explain(error, client, settings))
            return False
    return all(finding.verdict is Verdict.OK for finding in findings)


async def _said(findings: AsyncIterator[Finding], say: Callable[[Finding], None]) -> AsyncIterator[Finding]:
    async for finding in findings:
        say(finding)
        yield finding


def select(models: Sequence[Model], trial: Trial, names: Sequence[str]) -> list[Model]:
    """The models to prove the route with; one that is named is tried even where LiteLLM does not show it."""
    known = {model.name: model for model in models if fits(trial, model)}
    if names:
        return [known.get(name) or Model(name, trial.mode, {}) for name in names]
    if trial.whole:
        cheapest = choose(models)
        return [] if cheapest is None else [cheapest]
    return [known[name] for name in sorted(known)]


def unfit(model: Model) -> str | None:
    """Why a model need not be tried."""
    faults = find_faults([model])
    if faults.broken:
        return "both of its token prices are 0, so LiteLLM checks no budget for it."
    return "LiteLLM shows no price for it." if faults.unpriced else None


@dataclass(frozen=True, slots=True)
class Proof:
    """One route, tried with one patient."""

    patient: Patient
    litellm: LiteLLM
    store: ServiceStore
    wish: Wish
    trial: Trial

    async def findings(self, models: Sequence[Model]) -> AsyncIterator[Finding]:
        guard, version = await find_guard(self.patient), await self.litellm.read_version()
        if guard is None or version is None:
            yield broken(MISSING if guard is None else "LiteLLM does not show its version to this key.")
            return
        await self.store.record_litellm(version, guard)
        proved = False
        for model in models:
            lack = await self._lack(model)
            if lack is not None:
                yield broken(f"{self.wish.route} is not proved with {model.name}: {lack}")
                continue
            name = WHOLE if self.trial.whole else model.name
            await self.store.record_route_proof(self.wish.route, name, version, guard)
            proved = True
            yield ok(
                f"{self.wish.route} is proved with {model.name} for LiteLLM {version} with guard {guard}."
            )
        if proved:
            yield ok(OPEN.format(self.wish.route))

    async def _lack(self, model: Model) -> str | None:
        """What the route lacks with this model; None: it is charged, bounded and private."""
        if (lack := unfit(model)) is not None:
            return lack
        before = float((await self.patient.read()).get("spend") or 0.0)
        answer = await self._call(model)
        if not answer.is_success:
            return f"a call answered {answer.status_code}{_because(answer)}."
        return (
            await self._not_charged(model, answer, before)
            or await self._not_private(answer)
            or await self._not_bounded(model)
        )

    async def _call(self, model: Model) -> httpx.Response:
        request = self.trial.request(model.name)
        return await self.patient.ask(self.patient.keys[0], "POST", self.trial.path, **request)

    async def _not_charged(self, model: Model, answer: httpx.Response, before: float) -> str | None:
        expected = self.trial.dollars(model, answer)
        shown = float(answer.headers.get("x-litellm-response-cost") or 0.0)
        if not _are_equal(shown, expected):
            return (
                f"LiteLLM charges ${shown:.6f} for a call that costs ${expected:.6f} by its configured price."
            )
        if expected == 0:
            return None
        rose = await spends(self.patient, before + expected / 2, self.wish.flush_seconds) - before
        if not _are_equal(rose, expected):
            seconds = f"{self.wish.flush_seconds:.0f} s"
            return f"the user's spend rose by ${max(rose, 0.0):.6f} in {seconds}, not by ${expected:.6f}."
        return None

    async def _not_bounded(self, model: Model) -> str | None:
        """Whether a wallet that cannot pay for the call refuses it, before the provider is asked."""
        if self.trial.most_dollars(model) == 0:
            return None
        row = await self.patient.read()
        spent, wallet = float(row["spend"]), float(row["max_budget"])
        await self.patient.set_budget(spent + self.trial.most_dollars(model) / 1000)
        answer = await self._call(model)
        await self.patient.set_budget(wallet)
        if refused_by(answer) != "User":
            return f"a wallet that cannot pay for a call answers {answer.status_code} instead of refusing it."
        return None

    async def _not_private(self, answer: httpx.Response) -> str | None:
        """Whether the patient's other key, or an empty one, reads something below the path."""
        made = str(_id_of(answer) or "keyfund")
        for path in PATHS[self.wish.route]:
            for method, below in (("GET", made), ("GET", f"{made}/input_items"), ("DELETE", made)):
                told = await self.patient.ask(self.patient.keys[1], method, f"{path}/{below}")
                if told.is_success:
                    return f"another key's {method} {path}/… is answered."
        return None


def _id_of(answer: httpx.Response) -> object:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get("id") if isinstance(body, dict) else None


def _because(answer: httpx.Response) -> str:
    """The guard's own sentence, or the kind of error; a vendor's text is never shown."""
    error = error_of(answer)
    message = str(error.get("message") or "")
    kind = message.rstrip(".") if message.startswith("Keyfund guard ") else error.get("type")
    return f" ({kind})" if kind else ""


def _are_equal(left: float, right: float) -> bool:
    return abs(left - right) <= 1e-9 + 1e-6 * abs(right)
