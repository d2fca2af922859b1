"""Syncing keys over HTTP: who may, what they are shown, and that LiteLLM being away is no error."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from tests.unit.service import REST, Service, listed, make_settings, running, supabase, token
from webhook import examples
from webhook.routes import resync, sync

Json = dict[str, Any]
KEY_ID, OWNER = examples.KEY_ID, examples.USER_ID
SECRET = examples.KEY["litellm_key_id"]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    monkeypatch.setattr(sync, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(sync, "LOOK_SECONDS", 0.01)


@pytest.fixture
def rest() -> Any:
    """Supabase; nobody is an administrator, and nobody can be pushed: LiteLLM's breaker is open."""
    with supabase() as mock:
        mock.post(f"{REST}/rpc/is_administrator").respond(json=False)
        mock.post(f"{REST}/rpc/claim_push").respond(json=None)
        mock.get(f"{REST}/virtual_keys").mock(return_value=listed())
        yield mock


@pytest.fixture
async def service(rest: respx.MockRouter) -> AsyncIterator[Service]:
    settings = make_settings(litellm_base_url="http://litellm.test", litellm_master_key="sk-master")
    async with running(settings) as service:
        yield service


def refuse(status: int, code: str) -> httpx.Response:
    body = {"code": f"PT{status}", "message": "No.", "details": code, "hint": None}
    return httpx.Response(status, json=body)


def function(rest: respx.MockRouter, name: str) -> respx.Route:
    return rest.post(f"{REST}/rpc/{name}")


def administrator(rest: respx.MockRouter) -> dict[str, str]:
    function(rest, "is_administrator").respond(json=True)
    return token("an administrator")


async def post_sync(service: Service, who: dict[str, str], action: str = "update") -> httpx.Response:
    return await service.call("POST", "/api/keys/sync", who, json={"keyId": KEY_ID, "action": action})


# --- one key ------------------------------------------------------------------------------------------------


async def test_an_owner_is_answered_with_the_row_though_litellm_is_away(
    service: Service, rest: respx.MockRouter
) -> None:
    rest.get(f"{REST}/virtual_keys").respond(json=[examples.PENDING])
    pushed = function(rest, "resync_virtual_key").respond(json=examples.PENDING)
    answer = await post_sync(service, token(OWNER))
    assert answer.status_code == 200
    assert (answer.json()["key"]["sync_status"], answer.json()["key"]["litellm_key_id"]) == (
        "pending",
        SECRET,
    )
    assert pushed.called


@pytest.mark.parametrize("action", ["create", "update"])
async def test_a_stranger_hears_that_there_is_no_such_key(
    service: Service, rest: respx.MockRouter, action: str
) -> None:
    function(rest, "resync_virtual_key").mock(return_value=refuse(404, "key_not_found"))
    anybody_s = function(rest, "resync_any_key").respond(json=examples.OTHERS_KEY)
    answer = await post_sync(service, token("a stranger"), action)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")
    assert not anybody_s.called


@pytest.mark.parametrize("action", ["create", "update"])
async def test_an_administrator_syncs_anybody_s_key_and_is_not_shown_it(
    service: Service, rest: respx.MockRouter, action: str
) -> None:
    who = administrator(rest)
    function(rest, "resync_any_key").respond(json=examples.OTHERS_KEY | {"sync_status": "pending"})
    # Should the database ever tell more than it does, the answer still would not.
    function(rest, "read_key").respond(json=examples.OTHERS_KEY | {"litellm_key_id": SECRET})
    claimed = function(rest, "claim_push").respond(json=None)
    answer = await post_sync(service, who, action)
    assert answer.status_code == 200
    assert answer.json()["key"] == examples.OTHERS_KEY
    assert SECRET not in answer.text
    await service.app.state.services.background.finish(seconds=5)
    assert json.loads(claimed.calls.last.request.content)["p_account_id"] == OWNER


async def test_an_administrator_s_own_key_is_shown_as_to_any_owner(
    service: Service, rest: respx.MockRouter
) -> None:
    who = administrator(rest)
    rest.get(f"{REST}/virtual_keys").respond(json=[examples.KEY])
    function(rest, "resync_virtual_key").respond(json=examples.KEY)
    anybody_s = function(rest, "resync_any_key").respond(json=examples.OTHERS_KEY)
    assert (await post_sync(service, who)).json()["key"]["litellm_key_id"] == SECRET
    assert not anybody_s.called


async def test_no_key_at_all_is_a_404_to_an_administrator_too(
    service: Service, rest: respx.MockRouter
) -> None:
    who = administrator(rest)
    function(rest, "resync_any_key").mock(return_value=refuse(404, "key_not_found"))
    assert (await post_sync(service, who)).status_code == 404


# --- everybody's that failed --------------------------------------------------------------------------------


async def test_only_administrators_list_everybody_s(service: Service, rest: respx.MockRouter) -> None:
    asked = function(rest, "list_failing_keys").respond(json=[examples.OTHERS_KEY])
    answer = await service.get("/api/keys/sync?all=true", token(OWNER))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_administrator")
    assert not asked.called
    assert (await service.get("/api/keys/sync?all=false", token(OWNER))).status_code == 200


async def test_a_page_tells_where_the_next_begins_and_shows_no_key(
    service: Service, rest: respx.MockRouter
) -> None:
    who = administrator(rest)
    telling = [examples.OTHERS_KEY | {"litellm_key_id": SECRET}] * 3
    asked = function(rest, "list_failing_keys").respond(json=telling)
    page = await service.get("/api/keys/sync?all=true&limit=2", who)
    assert page.json()["next"] == KEY_ID
    assert page.json()["keys"][0]["user_id"] == OWNER
    assert SECRET not in page.text
    assert len(page.json()["keys"]) == 2
    asked.respond(json=telling[:2])
    last = await service.get(f"/api/keys/sync?all=true&limit=2&after={KEY_ID}", who)
    assert last.json()["next"] is None
    sent = [json.loads(call.request.content) for call in asked.calls]
    assert sent == [{"page_size": 3}, {"page_size": 3, "after_key": KEY_ID}]
    for query in ("limit=0", "limit=201", "after=x", "all=perhaps"):
        assert (await service.get(f"/api/keys/sync?all=true&{query}", who)).status_code == 422


# --- everything ---------------------------------------------------------------------------------------------


def batches(*ended: bool) -> Callable[[httpx.Request], httpx.Response]:
    waiting = iter(ended)

    def answer(_request: httpx.Request) -> httpx.Response:
        at = examples.AT if next(waiting) else None
        return httpx.Response(200, json={"id": 7, "ended_at": at, "accounts": 120, "keys": 340})

    return answer


async def test_all_batches_are_made_due_in_one_call(service: Service, rest: respx.MockRouter) -> None:
    who = administrator(rest)
    made = function(rest, "resync_failed").mock(side_effect=batches(False, False, True))
    function(rest, "read_resync").respond(json=examples.RESYNC)
    answer = await service.call("POST", "/api/admin/resync", who)
    assert (answer.status_code, answer.json()["accounts"], answer.json()["keys"]) == (200, 120, 340)
    sent = [json.loads(call.request.content) for call in made.calls]
    assert sent == [{}, {"resync_id": 7}, {"resync_id": 7}]


async def test_a_call_that_takes_too_long_ends_and_says_that_there_is_more(
    service: Service, rest: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = administrator(rest)
    monkeypatch.setattr(resync, "WORK_SECONDS", -1.0)
    made = function(rest, "resync_failed").mock(side_effect=batches(False, False))
    function(rest, "read_resync").respond(json=examples.RESYNC | {"ended_at": None})
    answer = await service.call("POST", "/api/admin/resync", who)
    assert (answer.status_code, answer.json()["ended_at"], made.call_count) == (200, None, 1)


async def test_progress_is_what_the_database_says(service: Service, rest: respx.MockRouter) -> None:
    function(rest, "read_resync").respond(json=examples.RESYNC)
    answer = await service.get("/api/admin/resync", administrator(rest))
    told = answer.json()
    assert (told["outstanding_accounts"], told["outstanding_keys"], told["failing_accounts"]) == (35, 90, 2)


async def test_nobody_else_may(service: Service, rest: respx.MockRouter) -> None:
    for method in ("GET", "POST"):
        answer = await service.call(method, "/api/admin/resync", token(OWNER))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_administrator")


async def test_without_litellm_there_is_nothing_to_push_to(rest: respx.MockRouter) -> None:
    who = administrator(rest)
    async with running(make_settings()) as service:
        for path in ("/api/keys/sync", "/api/admin/resync"):
            body = {"keyId": KEY_ID} if path == "/api/keys/sync" else {}
            answer = await service.call("POST", path, who, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "litellm_not_configured")
