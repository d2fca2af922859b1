"""Settings of LiteLLM's that can undo a wallet: fallbacks, teams, settings kept in its database."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import httpx

from core.domain.models import Model
from operate.fences import NO_MODEL
from operate.finding import Finding, broken, ok, warning
from operate.patient import AdmissionError, Patient, error_of

KINDS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
UNSUPPORTED: Mapping[str, Any] = {
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "verbosity": "low",
    "web_search_options": {},
    "logit_bias": {"1": 0},
}
"""Parameters of which each provider lacks some. LiteLLM refuses those itself, and names the model."""
OUTCOME = re.compile(
    r"^(?P<first>.*?)\n\nLiteLLM: model group .*? Fallback to .*? also failed: (?P<second>.*)$", re.DOTALL
)
SKIPPED = "was skipped because the caller is not authorized"  # LiteLLM from 1.108 on
ENFORCE = "general_settings.enforce_fallback_model_access: true"


async def examine_setup(patient: Patient, models: Sequence[Model]) -> AsyncIterator[Finding]:
    yield await _fallbacks_are_checked(patient, models)
    yield await _teams_have_wallets(patient)
    if await _is_kept_in_database(patient):
        yield warning(
            "LiteLLM keeps settings and models in its database (general_settings.store_model_in_db): "
            "somebody at its page may change prices, callbacks and fallbacks at any time. Run the doctor "
            "again after each change, or set it to false."
        )


async def _fallbacks_are_checked(patient: Patient, models: Sequence[Model]) -> Finding:
    answer = await patient.manage("GET", "/router/settings")
    if not answer.is_success:
        return warning(
            f"LiteLLM does not show its router's fallbacks to this key ({answer.status_code}). Where it has "
            f"some, set {ENFORCE}, or a key is served models that it may not use."
        )
    pairs = list(read_fallbacks(answer.json().get("current_values") or {}))
    if not pairs:
        return ok("The router has no fallbacks, so a key is served the models that it may use.")
    source, target = pairs[0]
    told = f"LiteLLM falls back from {source} to {target}"
    served = await _is_served(patient, source, {model.name for model in models})
    if served is None:
        return warning(
            f"{told}, and the doctor could not see whether a key that may use {source} alone is then "
            f"served. Set {ENFORCE}."
        )
    if served:
        return broken(f"{told}, also for a key that may use {source} alone. Set {ENFORCE}.")
    return ok(f"{told}, and refuses that to a key that may use {source} alone.")


def read_fallbacks(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each model that has a fallback, and its first fallback."""
    for kind in KINDS:
        for entry in values.get(kind) or ():
            for source, targets in entry.items():
                yield from ((source, str(target)) for target in targets[:1])


async def _is_served(patient: Patient, source: str, names: set[str]) -> bool | None:
    """Have a call of ``source`` fail for nothing. Whether another model was tried; None: not to be seen.

    The key has no mark: the guard would refuse the field that makes the call fail.
    """
    if source not in names:
        return None
    key = await patient.make_key(models=[source], metadata={})
    for name, value in UNSUPPORTED.items():
        answer = await patient.call(key, source, max_tokens=1, **{name: value})
        if (tried := tried_another(answer)) is not None:
            return tried
    return None


def tried_another(answer: httpx.Response) -> bool | None:
    """Whether a model that is not the key's own answered or failed. None: the answer does not tell.

    Until LiteLLM 1.106 a target that was skipped shows only by the first model's error standing there twice.
    """
    if answer.is_success:
        count = answer.headers.get("x-litellm-attempted-fallbacks", "0")
        return True if count.isdigit() and int(count) > 0 else None
    message = str(error_of(answer).get("message"))
    if SKIPPED in message:
        return False
    found = OUTCOME.match(message)
    return None if found is None else found["first"].strip() != found["second"].strip()


async def _teams_have_wallets(patient: Patient) -> Finding:
    """Whether a key that somebody puts into a team still obeys its user's wallet."""
    made = await patient.manage("POST", "/team/new", json={"team_alias": patient.user_id})
    if not made.is_success:
        return warning(_TEAMS_UNSEEN.format(made.status_code))
    team = str(made.json().get("team_id"))
    row = await patient.read()
    try:
        key = await patient.make_key(team_id=team)
        await patient.set_budget(0)
        answer = await patient.probe(key, NO_MODEL)
    except AdmissionError as error:
        return warning(_TEAMS_UNSEEN.format(error.status))
    finally:
        await patient.set_budget(float(row["max_budget"]))
        await patient.manage("POST", "/team/delete", json={"team_ids": [team]})
    if error_of(answer).get("type") == "budget_exceeded":
        return ok("A key that somebody puts into a team obeys its wallet all the same.")
    return warning(
        "A key that somebody puts into a LiteLLM team leaves its wallet until Keyfund takes it out again. "
        "Set general_settings.apply_user_budget_to_team_keys: true, and put no key of Keyfund's into a team."
    )


_TEAMS_UNSEEN = (
    "The doctor may not make a team ({}), so it cannot tell whether a key in one obeys its wallet. Set "
    "general_settings.apply_user_budget_to_team_keys: true."
)


async def _is_kept_in_database(patient: Patient) -> bool:
    """Ask to delete a fallback that does not exist: the refusal tells whether LiteLLM has any to delete."""
    answer = await patient.manage("DELETE", f"/fallback/{NO_MODEL}")
    return answer.status_code == 404 and "No general fallbacks" in answer.text
