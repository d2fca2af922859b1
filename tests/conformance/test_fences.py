"""What holds a key inside its routes, its calls at once and the guard's sight: written, shown, and mended."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain.keys import ObservedKey, WantedKey, differences
from core.domain.pushes import Probe
from core.domain.routes import ALWAYS, PATHS, Fences
from tests.conformance.subject import Subject, shown, wanted

LIMITS = {"max_budget": 100, "budget_duration": "30d", "rpm_limit": 100, "tpm_limit": 10_000}
CHAT = {"model": "mock-small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}


async def seen(subject: Subject, key: WantedKey) -> ObservedKey:
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    return observed


async def mend(subject: Subject, key: WantedKey) -> ObservedKey:
    """As a push does it: write, with the metadata that was found where it is not as wanted, and read back."""
    found = await seen(subject, key)
    await subject.gateway.update_key(
        key, found=found.metadata if "metadata" in differences(key, found) else None
    )
    return await seen(subject, key)


async def test_a_key_type_takes_the_place_of_a_list_that_is_given_with_it(subject: Subject) -> None:
    key = wanted(subject.user_id)
    body = {"key": key.key, "user_id": subject.user_id, "metadata": key.marks, "max_parallel_requests": 10}
    routes = {"key_type": "llm_api", "allowed_routes": list(key.fences.paths)}
    assert (await subject.http.post("/key/generate", json=body | LIMITS | routes)).status_code == 200
    observed = await seen(subject, key)
    assert observed.routes == ("llm_api_routes",)
    assert differences(key, observed) == ("allowed_routes",)
    assert differences(key, await mend(subject, key)) == ()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"allowed_routes": []}, ("allowed_routes",)),
        ({"allowed_routes": ["llm_api_routes"]}, ("allowed_routes",)),
        ({"allowed_routes": [*ALWAYS, *PATHS["chat"]]}, ("allowed_routes",)),
        ({"max_parallel_requests": None}, ("max_parallel_requests",)),
        ({"max_parallel_requests": 1000}, ("max_parallel_requests",)),
        ({"metadata": {}}, ("metadata",)),
        ({"metadata": {"keyfund": "another", "team": "blue"}}, ("metadata",)),
    ],
    ids=str,
)
async def test_what_somebody_changes_of_a_fence_is_seen_and_mended(
    subject: Subject, change: dict[str, Any], names: tuple[str, ...]
) -> None:
    key = await subject.key()
    assert (await subject.post("/key/update", key=key.key_hash, **change)).status_code == 200
    assert differences(key, await seen(subject, key)) == names
    mended = await mend(subject, key)
    assert differences(key, mended) == ()
    listed = {one.key_hash: one.shown async for page in subject.gateway.list_keys() for one in page.keys}
    assert listed[key.key_hash] == mended


async def test_other_metadata_of_a_key_outlives_every_change_of_ours(subject: Subject) -> None:
    key = await subject.key()
    theirs = {"team": "blue", "tags": ["a", "b"], "nested": {"deep": [1, None, {"x": True}]}}
    await subject.post("/key/update", key=key.key_hash, metadata=theirs)
    assert (await mend(subject, key)).metadata == theirs | key.marks
    changed = replace(key, rpm_limit=7)
    assert (await mend(subject, changed)).metadata == theirs | key.marks
    guarded = replace(key, fences=replace(key.fences, account_max_parallel=3))
    assert (await mend(subject, guarded)).metadata == theirs | guarded.marks


async def test_fences_that_the_operator_moves_reach_a_key_by_an_update(subject: Subject) -> None:
    key = await subject.key()
    fences = Fences(("chat", "images", "responses"), {"images": ("a", "b"), "responses": ("*",)}, 3, 7)
    moved = replace(key, fences=fences)
    assert await mend(subject, moved) == shown(moved)


async def test_a_key_reaches_the_paths_on_its_list_alone_and_each_in_its_spelling(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    for path in PATHS["chat"]:
        assert (await subject.ask(key, path, **CHAT)).status_code == 200
    await subject.post("/key/update", key=key.key_hash, allowed_routes=[*ALWAYS, "/chat/completions"])
    assert (await subject.ask(key, "/v1/chat/completions", **CHAT)).status_code == 403
    assert (await subject.ask(key, "/chat/completions", **CHAT)).status_code == 200
    assert await subject.gateway.probe_key(str(key.key)) is Probe.USABLE


async def test_a_key_without_a_list_is_open_and_can_manage(subject: Subject) -> None:
    key = wanted(subject.user_id)
    await subject.http.post("/key/generate", json={"key": key.key, "user_id": subject.user_id, **LIMITS})
    observed = await seen(subject, key)
    assert (observed.routes, observed.max_parallel, observed.can_manage) == ((), None, True)
    assert differences(key, observed) == ("allowed_routes", "max_parallel_requests", "metadata")
    assert differences(key, await mend(subject, key)) == ()
