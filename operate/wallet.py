"""Whether a wallet holds: money comes off it, it binds both keys, and its last call does not overdraw it."""

import asyncio
import time

from core.domain.models import Model
from operate.finding import Finding, broken, ok, warning
from operate.patient import Patient, error_of, refused_by

PROBES = 12
ATTACKS = 5  # calls at once


async def is_for_life(patient: Patient) -> Finding:
    row = await patient.read()
    if row.get("budget_duration") is not None or row.get("budget_reset_at") is not None:
        return broken(
            "LiteLLM gives new users a budget reset: spent money would come back by itself. Remove "
            "budget_duration from litellm_settings.default_internal_user_params."
        )
    if row.get("user_role") in ("proxy_admin", "proxy_admin_viewer") or row.get("max_budget") != 1.0:
        return broken(
            "LiteLLM does not keep a user's budget as given. Remove "
            "litellm_settings.default_internal_user_params."
        )
    return ok("A user's budget is kept as given, for life, without a reset.")


class CallError(Exception):
    """The model cannot be called, so nothing can be told of its money."""

    def __init__(self, model: str, status: int) -> None:
        super().__init__(f"A call of {model} failed with {status}: choose one with --model.")


async def charges_without_log(patient: Patient, model: str, flush_seconds: float) -> Finding:
    """Make a call that asks for no log, and one that does not where the guard refuses the first.

    Raises:
        CallError: the model cannot be called.
    """
    quiet = await patient.call(patient.keys[0], model, **{"no-log": True})
    refused = error_of(quiet).get("type") == "field_not_allowed"
    if not refused and not quiet.is_success:
        raise CallError(model, quiet.status_code)
    if not refused and not await spends(patient, 0.0, flush_seconds):
        return broken(
            'Any client gets free calls by sending "no-log": true. Set '
            "litellm_settings.global_disable_no_log_param: true."
        )
    if refused:
        answer = await patient.call(patient.keys[0], model)
        if not answer.is_success:
            raise CallError(model, answer.status_code)
        if not await spends(patient, 0.0, flush_seconds):
            return broken(
                f"A call of {model} was not charged within {flush_seconds:.0f} s: LiteLLM does not write "
                "its spend."
            )
        return ok("A call is charged, and one that asks not to be logged is refused.")
    return ok("A call that asks not to be logged is charged all the same.")


async def spends(patient: Patient, more_than_dollars: float, flush_seconds: float) -> float:
    """The user's spend once it is more than this; 0 when it is not in time."""
    deadline = time.monotonic() + flush_seconds
    while True:
        spend = float((await patient.read()).get("spend") or 0.0)
        if spend > more_than_dollars:
            return spend
        if time.monotonic() > deadline:
            return 0.0
        await asyncio.sleep(0.5)


async def binds_both_keys(patient: Patient, model: str, cache_seconds: int) -> Finding:
    """Lower and raise the wallet, and ask with both keys on fresh connections whether all workers know."""
    spend = float((await patient.read())["spend"])
    await patient.set_budget(spend / 2)
    lowered = [refused_by(await patient.probe(key, model)) for key in patient.keys * (PROBES // 2)]
    await patient.set_budget(spend + 1)
    raised = [(await patient.probe(key, model)).is_success for key in patient.keys * (PROBES // 2)]
    if not any(lowered):
        return broken("A user's budget does not bind its keys: check that they are in no team.")
    if all(lowered) and all(raised):
        return ok("One wallet binds both keys, and every change is known at once.")
    text = (
        "LiteLLM's workers disagree after a change of budget. Until they share what they know, an account "
        "can spend its wallet once in each worker, a block or a lower limit takes up to a minute to reach "
        "all of them, and the guard counts the calls in flight and the money held for them in each worker "
        "apart. Run one worker, or give them Redis (general_settings.coordination_redis)."
    )
    if cache_seconds < 60:
        text += " Until then set LITELLM_CACHE_SECONDS=60."
    return broken(text)


async def refuses_before_overdraft(patient: Patient, model: str) -> Finding:
    spend = float((await patient.read())["spend"])
    await patient.set_budget(spend * 1.000001)  # a hair is left: less than any call costs
    answer = await patient.call(patient.keys[1], model)
    await patient.set_budget(spend + 1)
    if answer.is_success:
        return warning(
            "A wallet can be overdrawn by the last call. Set "
            "general_settings.fail_closed_budget_enforcement: true."
        )
    return ok("A call that a wallet cannot pay for is refused before it is made.")


def attack_dollars(model: Model) -> float:
    """What ``overspend`` may cost."""
    return ATTACKS * (model.most_output_tokens or 0) * model.output_price


async def overspend(patient: Patient, model: Model, flush_seconds: float) -> Finding:
    """Really spend more than a wallet holds, with two limits that contradict each other, several at once."""
    before = float((await patient.read())["spend"])
    wallet = attack_dollars(model) / ATTACKS / 2  # half of what one of the calls costs
    await patient.set_budget(before + wallet)
    body = {"max_completion_tokens": 1, "max_tokens": model.most_output_tokens}
    prompt = [{"role": "user", "content": "Write as long a text as you can."}]
    calls = (patient.call(patient.keys[0], model.name, messages=prompt, **body) for _ in range(ATTACKS))
    through = sum(answer.is_success for answer in await asyncio.gather(*calls))
    spent = await spends(patient, before + wallet, flush_seconds) - before
    await patient.set_budget(before + max(spent, 0.0) + 1)
    if spent > 0:
        return broken(
            f"{through} of {ATTACKS} calls of {model.name} at once, with two token limits that contradict "
            f"each other, spent ${spent:.4f} of a wallet of ${wallet:.4f}. Load the guard."
        )
    return ok(f"{ATTACKS} calls of {model.name} at once stayed within a wallet of ${wallet:.4f}.")
