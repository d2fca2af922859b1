"""Whether the fences around a key stand: the routes that are closed, and the guard. All of it is free."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import httpx

from core.domain.watch import MISSING, describe_guard
from core.guard import shipped_version
from operate.finding import Finding, broken, ok, warning
from operate.patient import Patient, chat, error_of

NO_MODEL = "keyfund-no-such-model"
VERSION = re.compile(r"Keyfund guard (\S+): ")
AT_ONCE = 5
CLOSED = (
    ("GET", "/v1/files"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/vector_stores"),
    ("GET", "/v1/assistants"),
    ("GET", "/v1/responses/resp_keyfund"),
    ("POST", "/v1/realtime/client_secrets"),
    ("GET", "/openai_passthrough/v1/files"),
    ("POST", "/v1/images/edits"),
    ("GET", "/key/list"),
    ("GET", "/user/info"),
    ("GET", "/spend/logs"),
    ("POST", "/user/update"),
    ("POST", "/key/update"),
    ("POST", "/key/generate"),
)
"""Routes that touch what others own, or that are not charged. What is posted is empty: it does nothing."""
FIELDS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("max_completion_tokens", {"max_completion_tokens": 1, "max_tokens": 2}),
    ("extra_body", {"extra_body": {"max_tokens": 2}}),
    ("service_tier", {"service_tier": "priority"}),
    ("num_retries", {"num_retries": 1}),
    ("additional_drop_params", {"additional_drop_params": ["max_tokens"]}),
    ("no-log", {"no-log": True}),
)
"""Fields by which a caller spends more than LiteLLM reserves. The guard refuses each, which costs nothing."""


async def find_guard(patient: Patient) -> str | None:
    """The version of the guard that answers this key; None: none does.

    The field is on no list of the guard's, and the model does not exist: without the guard LiteLLM refuses
    the call by the model's name, whether or not it blocks models without a price.
    """
    answer = await patient.call(patient.keys[0], NO_MODEL, max_tokens=1, keyfund_guard=True)
    found = VERSION.match(str(error_of(answer).get("message")))
    return found[1] if found else None


def examine_guard(version: str | None) -> Finding:
    text = describe_guard(version, shipped_version())
    if text is None:
        return ok(f"Keyfund's guard {version} is loaded, and examines the calls of this key.")
    return broken(text) if text == MISSING else warning(text)


async def routes_are_closed(patient: Patient) -> Finding:
    """Ask the routes that must be closed, as the holder of a key."""
    opened = []
    for method, path in CLOSED:
        body: Mapping[str, Any] = {"json": {}} if method == "POST" else {}
        answer = await patient.ask(patient.keys[0], method, path, **body)
        if answer.status_code not in (401, 403):
            opened.append(f"{method} {path} ({answer.status_code})")
    if opened:
        return broken(
            f"A key reaches more than its allowed_routes name: {', '.join(opened)}. This LiteLLM cannot be "
            "trusted with keys; use the version that Keyfund was tried with."
        )
    return ok(
        f"A key reaches its own routes alone: {len(CLOSED)} others are closed, such as files and batches."
    )


async def fields_are_refused(patient: Patient, model: str) -> Finding:
    """With the guard: each field is refused, and the contradicting limits also at once."""
    key, (_, limits) = patient.keys[0], FIELDS[0]
    at_once = await asyncio.gather(*(patient.call(key, model, **limits) for _ in range(AT_ONCE)))
    answers = [(FIELDS[0][0], answer) for answer in at_once]
    for name, body in FIELDS[1:]:
        answers.append((name, await patient.call(key, model, **{"max_tokens": 1, **body})))
    through = sorted({name for name, answer in answers if not is_refused_field(answer)})
    if through:
        return broken(
            f"The guard lets through what a caller may spend unreserved money with: {', '.join(through)}. "
            "Take them out of KEYFUND_GUARD_FIELDS in LiteLLM's environment."
        )
    return ok(
        "Contradicting token limits, extra_body, service_tier and their like are refused, also in parallel."
    )


def is_refused_field(answer: httpx.Response) -> bool:
    return error_of(answer).get("type") == "field_not_allowed"


async def address_is_ignored(patient: Patient, model: str) -> Finding:
    """Whether a model in the address wins over the one in the body, and so over what the key may use."""
    answer = await patient.ask(
        patient.keys[0],
        "POST",
        "/v1/chat/completions",
        params={"model": NO_MODEL},
        json=chat(model, max_tokens=1),
    )
    if is_refused_field(answer):
        return ok("A model named in the address (?model=) is refused.")
    if answer.is_success:
        return ok("A model named in the address (?model=) is ignored.")
    return broken(
        "A model named in the address (?model=) wins over the one in the body: a key is served models that "
        "it may not use, and less is reserved than a call costs. Load the guard."
    )
