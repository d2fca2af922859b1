"""Keys over PostgREST and over HTTP, and whose they are."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from core.domain.routes import PATHS, PROOFLESS, paths_of
from tests.integration.world import World, until


def test_a_key_made_over_http_is_pushed_and_listed(world: World) -> None:
    user = world.sign_up()
    answer = world.api(user, "POST", "/api/keys/manage", json={"name": "laptop", "rpm_limit": 7})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="the key is synced")
    listed = world.api(user, "GET", "/api/keys/manage").json()
    assert [key["id"] for key in listed["keys"]] == [made["id"]]
    assert listed["litellm"] == {"status": "connected", "base_url": world.env["LITELLM_BASE_URL"]}
    info = world.key_info(made)
    assert (info["user_id"], info["rpm_limit"], info["tpm_limit"]) == (user.id, 7, 10_000)
    assert (info["max_budget"], info["budget_duration"]) == (10.0, "30d")
    assert (info["max_parallel_requests"], info["allowed_routes"]) == (10, list(paths_of(PROOFLESS)))
    assert world.call(made).status_code == 200


CLOSED = [
    ("GET", "/v1/files"),
    ("GET", "/v1/batches"),
    ("POST", "/v1/batches"),
    ("GET", "/v1/vector_stores"),
    ("POST", "/v1/realtime/client_secrets"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/audio/speech"),
    ("GET", "/openai_passthrough/v1/files"),
    ("POST", "/openai/deployments/mock-small/chat/completions"),
    ("POST", "/engines/mock-small/chat/completions"),
]


def test_a_key_reaches_its_open_routes_alone(world: World) -> None:
    key = world.synced_key(world.sign_up())
    for path in PATHS["chat"]:
        body = {"model": "mock-small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
        assert world.ask(key, "POST", path, json=body).status_code == 200
    for path in ("/v1/models", "/models"):
        assert world.ask(key, "GET", path).status_code == 200
    answers = {
        f"{method} {path}": world.ask(key, method, path, json={}).status_code for method, path in CLOSED
    }
    assert answers == dict.fromkeys(answers, 403)


def test_a_key_has_at_most_ten_calls_in_flight(world: World) -> None:
    key = world.synced_key(world.sign_up())
    with ThreadPoolExecutor(13) as pool:
        calls = [pool.submit(world.call, key, "live-small", "[delay 3]") for _ in range(13)]
    assert sorted(call.result().status_code for call in calls) == [200] * 10 + [429] * 3


def test_a_key_cannot_manage_keys(world: World) -> None:
    key = world.synced_key(world.sign_up())
    answer = world.http.post(
        f"{world.env['LITELLM_BASE_URL']}/key/generate",
        headers={"Authorization": f"Bearer {key['litellm_key_id']}"},
        json={},
    )
    assert answer.status_code in (401, 403)


def test_changes_block_unblock_and_revoke_reach_litellm(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    path = f"/api/keys/manage/{key['id']}"

    def change(method: str, **body: object) -> None:
        answer = world.api(user, method, path, json=body) if body else world.api(user, method, path)
        assert answer.status_code == 200, answer.text
        until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="the change is synced")

    change("PATCH", max_budget=500, tpm_limit=77)
    info = world.key_info(key)
    assert (info["max_budget"], info["tpm_limit"], info["rpm_limit"]) == (5.0, 77, 100)
    change("PATCH", blocked=True)
    assert world.call(key).status_code == 401
    change("PATCH", blocked=False)
    assert world.call(key).status_code == 200
    change("DELETE")
    assert world.call(key).status_code == 401
    assert world.keys(user)[0]["litellm_key_id"] is None
    assert world.api(user, "PATCH", path, json={"name": "again"}).status_code == 409


def test_resync_mends_what_somebody_changed_in_litellm(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.litellm(
        "POST", "/key/update", json={"key": key["litellm_key_id"], "max_budget": 999, "rpm_limit": 1}
    )
    world.litellm(
        "POST", "/user/update", json={"user_id": user.id, "max_budget": 999, "budget_duration": "1d"}
    )
    answer = world.api(user, "POST", "/api/keys/sync", json={"keyId": key["id"], "action": "update"})
    assert answer.status_code == 200
    assert answer.json()["key"]["sync_status"] == "synced"
    info, wallet = world.key_info(key), world.wallet(user)
    assert (info["max_budget"], info["rpm_limit"]) == (10.0, 100)
    assert (wallet["max_budget"], wallet["budget_duration"]) == (10.0, None)


def test_create_through_sync_turns_the_placeholder_into_a_key(world: World) -> None:
    user = world.sign_up()
    placeholder = world.keys(user)[0]
    answer = world.api(user, "POST", "/api/keys/sync", json={"keyId": placeholder["id"], "action": "create"})
    assert answer.json()["key"]["id"] == placeholder["id"]
    assert answer.json()["key"]["sync_status"] == "synced"


def test_a_row_written_as_an_ordinary_pending_key_is_pushed(world: World) -> None:
    user = world.sign_up()
    world.db.execute(
        "insert into public.virtual_keys (user_id, name, max_budget, sync_status) "
        "values (%s, 'by hand', 300, 'pending')",
        [user.id],
    )
    row = until(
        lambda: next(
            (k for k in world.keys(user) if k["name"] == "by hand" and k["sync_status"] == "synced"), None
        ),
        what="the row is pushed",
    )
    assert row is not None
    assert world.key_info(row)["max_budget"] == 3.0
    assert world.call(row).status_code == 200


def test_a_stranger_sees_and_changes_nothing(world: World) -> None:
    owner, stranger = world.sign_up(), world.sign_up()
    key = world.create_key(owner)
    path = f"/api/keys/manage/{key['id']}"
    for answer in (
        world.api(stranger, "PATCH", path, json={"name": "mine"}),
        world.api(stranger, "DELETE", path),
        world.api(stranger, "POST", "/api/keys/sync", json={"keyId": key["id"], "action": "update"}),
        world.api(stranger, "DELETE", f"/api/keys/manage/{uuid4()}"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")
    assert world.api(stranger, "GET", "/api/keys/manage").json()["keys"] == []
    for table in ("profiles", "virtual_keys", "credit_ledger", "transactions"):
        rows = world.rest(stranger, "GET", f"/{table}?select=*").json()
        assert all(row.get("user_id", row["id"]) == stranger.id for row in rows)


@pytest.mark.parametrize(
    "body",
    [{"max_budget": -1}, {"max_budget": "10"}, {"rpm_limit": 0}, {"tpm_limit": -5}, {"rpm_limit": 1.5},
     {"name": ""}, {"name": "x" * 101}, {"max_budget": 10**12}],
    ids=str,
)  # fmt: skip
def test_malformed_limits_are_refused_before_anything_is_made(world: World, body: dict[str, object]) -> None:
    user = world.sign_up()
    answer = world.api(user, "POST", "/api/keys/manage", json=body)
    assert answer.status_code == 422
    assert [key["state"] for key in world.keys(user)] == ["placeholder"]


def test_status_tells_how_things_are(world: World) -> None:
    status = world.api(world.sign_up(), "GET", "/api/status").json()
    assert status["litellm"]["configured"] is True
    assert status["litellm"]["connected"] is True
    assert status["litellm"]["breaker"] == "closed"
    assert status["litellm"]["warnings"] == []
    assert set(status["backlog"]) == {"keys", "events", "parked", "oldest_seconds"}
    assert status["worker"]["last_seen"]


def test_a_revoked_key_is_deleted_from_litellm_a_day_later(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.api(user, "DELETE", f"/api/keys/manage/{key['id']}")
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="it is blocked")
    assert world.key_info(key)["blocked"] is True
    world.db.execute(
        "update public.virtual_keys set revoked_at = now() - interval '2 days', "
        "last_synced_at = now() - interval '2 days' where id = %s",
        [key["id"]],
    )
    world.db.execute("update keyfund.chores set next_attempt_at = now() where name = 'delete_keys'")
    until(lambda: world.keys(user)[0]["deleted_at"], what="it is deleted")
    assert world.key_info(key)["status"] == "deleted"
    assert world.call(key).status_code == 401


def test_a_deleted_account_leaves_nothing_that_works(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.db.execute("delete from auth.users where id = %s", [user.id])
    until(lambda: world.call(key).status_code == 401, what="its key is blocked")
    until(lambda: world.wallet(user)["max_budget"] == 0.0, what="its wallet is emptied")
    row = world.db.execute(
        "select email, status, credits from public.profiles where id = %s", [user.id]
    ).fetchone()
    assert row == (None, "deleted", 500)


def test_a_suspended_account_cannot_spend_and_comes_back(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key, "live-free").status_code == 200
    world.db.execute("update public.profiles set status = 'suspended' where id = %s", [user.id])
    until(lambda: world.wallet(user)["max_budget"] == 0.0, what="its wallet is 0")
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="its key is blocked")
    for model in ("mock-small", "live-free"):  # a model that costs nothing asks for no wallet
        assert world.call(key, model).status_code == 401
    refused = world.api(user, "POST", "/api/keys/manage", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "account_suspended")
    refused = world.api(user, "POST", "/api/credits/checkout", json={"package_id": "starter-ngn"})
    assert refused.status_code == 403
    world.db.execute("update public.profiles set status = 'active' where id = %s", [user.id])
    until(lambda: world.wallet(user)["max_budget"] == 10.0, what="its wallet is back")
    until(lambda: world.call(key).status_code == 200, seconds=10, what="it can spend again")
