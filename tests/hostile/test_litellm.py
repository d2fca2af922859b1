"""How somebody with a key could get calls that they did not pay for, or manage what is not theirs."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from tests.integration.world import Json, World, until
from tests.support import User


def until_synced(world: World, user: User) -> None:
    """All keys of the account are as LiteLLM shows them."""
    until(lambda: {key["sync_status"] for key in world.keys(user)} == {"synced"}, what="the keys are synced")


def is_charged(world: World, user: User) -> bool:
    return bool(world.wallet(user)["spend"] > 0)


MANAGEMENT = [
    ("POST", "/key/generate"), ("POST", "/key/update"), ("POST", "/key/delete"), ("POST", "/key/block"),
    ("POST", "/key/unblock"), ("POST", "/key/regenerate"), ("POST", "/key/service-account/generate"),
    ("GET", "/key/list"), ("GET", "/key/info"), ("GET", "/user/info"), ("GET", "/v2/user/info"),
    ("GET", "/user/list"), ("POST", "/user/update"), ("POST", "/user/new"), ("POST", "/user/delete"),
    ("GET", "/spend/logs"), ("GET", "/global/spend"), ("GET", "/user/daily/activity"),
    ("POST", "/budget/new"), ("POST", "/team/new"), ("GET", "/team/list"), ("POST", "/model/new"),
    ("POST", "/config/update"), ("GET", "/get/config/callbacks"), ("GET", "/credentials"),
    ("POST", "/global/spend/reset"), ("POST", "/customer/new"), ("GET", "/health"), ("GET", "/cache/ping"),
    ("POST", "/guardrails"), ("GET", "/audit"), ("GET", "/sso/get/ui_settings"),
]  # fmt: skip


def test_a_key_manages_nothing_and_learns_nothing_of_others(world: World) -> None:
    attacker, victim = world.sign_up(), world.sign_up()
    key, other = world.synced_key(attacker), world.synced_key(victim)
    body = {
        "key": other["litellm_key_id"], "keys": [other["litellm_key_id"]], "user_id": victim.id,
        "user_ids": [victim.id], "max_budget": 10**6, "user_role": "proxy_admin",
    }  # fmt: skip
    before = world.wallet(victim), world.wallet(attacker)
    for method, path in MANAGEMENT:
        request: dict[str, Any] = {"json": body} if method == "POST" else {"params": {"user_id": victim.id}}
        answer = as_key(world, key, method, path, **request)
        assert answer.status_code in (401, 403, 404, 405, 422), (path, answer.status_code)
        assert victim.id not in answer.text.replace(str(answer.request.url), ""), path
    for mine, was in zip((victim, attacker), before, strict=True):
        now = world.wallet(mine)
        assert (now["max_budget"], now["user_role"]) == (was["max_budget"], was["user_role"])
    assert world.call(other).status_code == 200


def as_key(world: World, key: Json, method: str, path: str, **request: Any) -> httpx.Response:
    # Some routes answer without reading the body: such a connection is no good for the next request.
    headers = {"Authorization": f"Bearer {key['litellm_key_id']}", "connection": "close"}
    return world.http.request(method, f"{world.env['LITELLM_BASE_URL']}{path}", headers=headers, **request)


MESSAGES = [{"role": "user", "content": "Hello"}]
FREE_RIDES: dict[str, Json] = {
    "not to be logged": {"no-log": True},
    "priced by the caller": {"input_cost_per_token": 0, "output_cost_per_token": 0},
    "priced by the second": {"input_cost_per_second": 0},
    "priced in the metadata": {"metadata": {"model_info": {"input_cost_per_token": 0, "output_cost_per_token": 0}}},
    "priced in model_info": {"model_info": {"input_cost_per_token": 0, "output_cost_per_token": 0, "id": "x"}},
    "in another's name": {"metadata": {"user_api_key_user_id": "x", "user_api_key": "x", "user_api_key_hash": "x"}},
    "in another's name, too": {"litellm_metadata": {"user_api_key_user_id": "x", "user_api_key_team_id": "x"}, "user": "x"},
    "of another base model": {"base_model": "free", "custom_llm_provider": "x"},
    "said to be cached": {"cache_hit": True, "metadata": {"cache_hit": True}},
    "at a cost of its own": {"response_cost": 0, "metadata": {"hidden_params": {"response_cost": 0}}},
    "without callbacks": {"litellm_disabled_callbacks": ["*"], "callbacks": [], "success_callback": []},
    "through a router of one's own": {"user_config": {"model_list": []}, "router_settings_override": {"x": 1}},
    "elsewhere": {"api_base": "http://127.0.0.1:9", "base_url": "http://127.0.0.1:9"},
    "as a mock": {"mock_response": "free", "mock_tool_calls": []},
    "as a test": {"mock_testing_fallbacks": True},
    "streamed without usage": {"stream": True, "stream_options": {"include_usage": False}},
    "streamed": {"stream": True},
}  # fmt: skip


def test_no_request_talks_its_way_out_of_being_charged(world: World) -> None:
    """Each from an account of its own: answered and charged, or refused."""
    answered: dict[str, User] = {}
    riders = {what: world.sign_up() for what in FREE_RIDES}
    keys = {what: world.create_key(user) for what, user in riders.items()}
    for what, user in riders.items():
        until_synced(world, user)
        body = {"model": "mock-small", "messages": MESSAGES, "max_tokens": 20, **FREE_RIDES[what]}
        answer = as_key(world, keys[what], "POST", "/v1/chat/completions", json=body)
        assert answer.status_code in (200, 400, 401, 403, 422), (what, answer.text)
        if answer.status_code == 200:
            answered[what] = user
    assert "streamed" in answered
    for what, user in answered.items():
        until(partial(is_charged, world, user), seconds=30, what=f"{what}: it is charged")


GEMINI = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "generationConfig": {"maxOutputTokens": 20},
}
DOORS: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "chat, short path": ("/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "completions": ("/v1/completions", {"prompt": "Hello", "max_tokens": 20}),
    "embeddings": ("/v1/embeddings", {"input": "Hello"}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 20}),
    "responses": ("/v1/responses", {"input": "Hello", "max_output_tokens": 20}),
    "responses, compacted": ("/v1/responses/compact", {"input": "Hello"}),
    "azure": ("/openai/deployments/mock-large/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "engines": ("/engines/mock-large/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "cursor": ("/cursor/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "interactions": ("/interactions", {"input": "Hello"}),
    "gemini": ("/v1beta/models/mock-large:generateContent", GEMINI),
    "gemini, other path": ("/models/mock-large:generateContent", GEMINI),
    "gemini, streamed": ("/v1beta/models/mock-large:streamGenerateContent", GEMINI),
    "images": ("/v1/images/generations", {"prompt": "Hello"}),
    "image edits": ("/v1/images/edits", {"prompt": "Hello"}),
    "speech": ("/v1/audio/speech", {"input": "Hello", "voice": "alloy"}),
    "moderations": ("/v1/moderations", {"input": "Hello"}),
    "rerank": ("/v1/rerank", {"query": "Hello", "documents": ["Hello"]}),
    "batches": ("/v1/batches", {"input_file_id": "x", "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
    "pass-through": ("/openai/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "anthropic pass-through": ("/anthropic/v1/messages", {"messages": MESSAGES, "max_tokens": 20}),
    "queue": ("/queue/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
    "a2a": ("/v1/a2a/x/message/send", {}), "mcp": ("/mcp", {}), "search": ("/v1/search", {"query": "x"}),
    "ocr": ("/v1/ocr", {"document": {}}), "videos": ("/v1/videos", {"prompt": "x"}),
    "assistants": ("/v1/threads", {}),
}  # fmt: skip


def test_the_doors_that_a_key_may_use_are_few_and_charged(world: World) -> None:
    """A door that answers and books nothing on the user makes every wallet endless."""
    accounts = {what: world.sign_up() for what in DOORS}
    keys = {what: world.create_key(user) for what, user in accounts.items()}

    def knock(what: str) -> httpx.Response:
        until_synced(world, accounts[what])
        path, body = DOORS[what]
        return as_key(world, keys[what], "POST", path, json={"model": "mock-large", **body})

    with ThreadPoolExecutor(8) as pool:  # some look for a provider for five seconds
        answers = dict(zip(DOORS, pool.map(knock, DOORS), strict=True))
    answered = {what for what, answer in answers.items() if answer.status_code == 200}
    assert answered == {"chat", "chat, short path", "completions", "embeddings"}
    for what in answered:
        until(partial(is_charged, world, accounts[what]), seconds=30, what=f"{what}: it is charged")


def test_a_blocked_revoked_or_orphaned_key_is_stopped_whatever_else_is_asked_meanwhile(world: World) -> None:
    user = world.sign_up()
    keys = [world.create_key(user) for _ in range(3)]
    until_synced(world, user)
    blocked, revoked, orphan = keys
    for _ in range(3):
        world.rest(user, "POST", "/rpc/block_virtual_key", json={"key_id": blocked["id"]})
        world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": blocked["id"]})
        world.rest(user, "POST", "/rpc/revoke_virtual_key", json={"key_id": revoked["id"]})
        world.rest(user, "POST", "/rpc/unblock_virtual_key", json={"key_id": revoked["id"]})
    until_synced(world, user)
    assert [world.call(key).status_code for key in keys] == [401, 401, 200]
    world.db.execute("delete from auth.users where id = %s", [user.id])
    until(lambda: world.call(orphan).status_code == 401, what="the key of a deleted account is stopped")
    assert until(lambda: world.wallet(user)["max_budget"] == 0, what="its wallet is empty")
