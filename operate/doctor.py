"""Whether a LiteLLM can be trusted with wallets, asked of itself on an account of the doctor's own.

It makes two model calls of a few tokens, so it costs a fraction of a cent on a paid model.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum

import httpx

from core.http import make_client
from core.settings import Settings
from operate.patient import Patient, admit, refused_by

FLUSH_SECONDS = 60  # LiteLLM writes spend every 10 to 15 s; more for a slow database
PROBES = 12


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer, and what to change when it is not "ok"."""

    verdict: Verdict
    text: str


async def examine(
    settings: Settings,
    model: str | None,
    say: Callable[[Finding], None],
    flush_seconds: float = FLUSH_SECONDS,
) -> bool:
    """Examine the configured LiteLLM, saying each finding as it comes. True: nothing is broken.

    ``flush_seconds`` is how long LiteLLM is given to write down what a call cost.
    """
    if settings.litellm_base_url is None or settings.litellm_master_key is None:
        say(Finding(Verdict.BROKEN, "LITELLM_BASE_URL and LITELLM_MASTER_KEY are not set."))
        return False
    master_key = settings.litellm_master_key.get_secret_value()
    healthy = True
    async with make_client(timeout_seconds=60) as client:
        try:
            async with admit(client, settings.litellm_base_url, master_key) as patient:
                async for finding in _findings(patient, model, settings.litellm_cache_seconds, flush_seconds):
                    say(finding)
                    healthy = healthy and finding.verdict is not Verdict.BROKEN
        except httpx.HTTPStatusError as error:
            status, path = error.response.status_code, error.request.url.path
            say(Finding(Verdict.BROKEN, f"LiteLLM answered {status} to {path}: check LITELLM_MASTER_KEY."))
            return False
        except httpx.TransportError:
            say(Finding(Verdict.BROKEN, f"LiteLLM cannot be reached at {settings.litellm_base_url}."))
            return False
    return healthy


async def _findings(
    patient: Patient, model: str | None, cache_seconds: int, flush_seconds: float
) -> AsyncIterator[Finding]:
    yield Finding(Verdict.OK, "LiteLLM answers, and accepts the master key.")
    yield await _is_for_life(patient)
    yield await _cannot_manage(patient)
    models = await _priced_models(patient)
    yield _all_priced(models)
    chosen = model or min(
        (name for name, price in models.items() if price > 0), key=models.__getitem__, default=""
    )
    if not chosen:
        yield Finding(Verdict.BROKEN, "No model has a price: nothing that is used would ever be paid for.")
        return
    yield await _charges_without_log(patient, chosen, flush_seconds)
    yield await _wallet_binds_both_keys(patient, chosen, cache_seconds)
    yield await _refuses_before_overdraft(patient, chosen)


async def _is_for_life(patient: Patient) -> Finding:
    row = await patient.read()
    if row.get("budget_duration") is not None or row.get("budget_reset_at") is not None:
        return Finding(
            Verdict.BROKEN,
            "LiteLLM gives new users a budget reset: spent money would come back by itself. Remove "
            "budget_duration from litellm_settings.default_internal_user_params.",
        )
    if row.get("user_role") in ("proxy_admin", "proxy_admin_viewer") or row.get("max_budget") != 1.0:
        return Finding(
            Verdict.BROKEN,
            "LiteLLM does not keep a user's budget as given. Remove "
            "litellm_settings.default_internal_user_params.",
        )
    return Finding(Verdict.OK, "A user's budget is kept as given, for life, without a reset.")


async def _cannot_manage(patient: Patient) -> Finding:
    headers = {"Authorization": f"Bearer {patient.keys[0]}"}
    answer = await patient.client.post(f"{patient.base_url}/key/generate", headers=headers, json={})
    if answer.is_success:
        return Finding(
            Verdict.BROKEN, "A key can make further keys for itself: this LiteLLM ignores key_type llm_api."
        )
    return Finding(Verdict.OK, "A key can call models, and cannot make keys.")


async def _priced_models(patient: Patient) -> dict[str, float]:
    """Each model's price of one output token, in dollars; 0 when it has none."""
    answer = await patient.manage("GET", "/model_group/info")
    groups = answer.json().get("data", []) if answer.is_success else []
    return {group["model_group"]: float(group.get("output_cost_per_token") or 0) for group in groups}


def _all_priced(models: dict[str, float]) -> Finding:
    unpriced = sorted(name for name, price in models.items() if price <= 0)
    if not unpriced:
        return Finding(Verdict.OK, f"All {len(models)} models have a price now.")
    return Finding(
        Verdict.WARNING,
        f"Without a price, so outside every wallet: {', '.join(unpriced)}. Give them one, or set "
        "litellm_settings.block_requests_for_models_without_pricing: true.",
    )


async def _charges_without_log(patient: Patient, model: str, flush_seconds: float) -> Finding:
    answer = await patient.call(patient.keys[0], model, **{"no-log": True})
    if not answer.is_success:
        return Finding(
            Verdict.BROKEN, f"A call of {model} failed with {answer.status_code}: choose one with --model."
        )
    deadline = time.monotonic() + flush_seconds
    while time.monotonic() < deadline:
        if (await patient.read()).get("spend"):
            return Finding(Verdict.OK, "A call that asks not to be logged is charged all the same.")
        await asyncio.sleep(1)
    return Finding(
        Verdict.BROKEN,
        'Any client gets free calls by sending "no-log": true. Set '
        "litellm_settings.global_disable_no_log_param: true.",
    )


async def _wallet_binds_both_keys(patient: Patient, model: str, cache_seconds: int) -> Finding:
    """Lower and raise the wallet, and ask with both keys on fresh connections whether all workers know."""
    spend = float((await patient.read())["spend"])
    await patient.set_budget(spend / 2)
    lowered = [refused_by(await patient.probe(key, model)) for key in patient.keys * (PROBES // 2)]
    await patient.set_budget(spend + 1)
    raised = [(await patient.probe(key, model)).is_success for key in patient.keys * (PROBES // 2)]
    if not any(lowered):
        return Finding(
            Verdict.BROKEN, "A user's budget does not bind its keys: check that they are in no team."
        )
    if all(lowered) and all(raised):
        return Finding(Verdict.OK, "One wallet binds both keys, and every change is known at once.")
    text = (
        "LiteLLM's workers disagree after a change of budget, so together they can overspend a wallet. "
        "Run one worker, or give them Redis (general_settings.coordination_redis)."
    )
    if cache_seconds < 60:
        text += " Until then set LITELLM_CACHE_SECONDS=60."
    return Finding(Verdict.BROKEN, text)


async def _refuses_before_overdraft(patient: Patient, model: str) -> Finding:
    spend = float((await patient.read())["spend"])
    await patient.set_budget(spend * 1.000001)  # a hair is left: less than any call costs
    answer = await patient.call(patient.keys[1], model)
    if answer.is_success:
        return Finding(
            Verdict.WARNING,
            "A wallet can be overdrawn by the last call. Set "
            "general_settings.fail_closed_budget_enforcement: true.",
        )
    return Finding(Verdict.OK, "A call that a wallet cannot pay for is refused before it is made.")
