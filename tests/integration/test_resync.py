"""Having keys pushed again: one's own, for administrators anybody's, and everything that failed."""

import httpx

from tests.integration.test_start import webhook
from tests.integration.world import Json, World, until
from tests.support import User


def sync(world: World, who: User, key: Json, action: str = "update") -> httpx.Response:
    return world.api(who, "POST", "/api/keys/sync", json={"keyId": key["id"], "action": action})


def listed(world: World, who: User) -> list[Json]:
    """All pages of everybody's keys that failed, two on each."""
    rows: list[Json] = []
    after = ""
    while True:
        page = world.api(who, "GET", f"/api/keys/sync?all=true&limit=2{after}").json()
        rows += page["keys"]
        if page["next"] is None:
            return rows
        after = f"&after={page['next']}"


def test_an_administrator_syncs_anybody_s_key_and_never_sees_it(world: World, admin: User) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.litellm("POST", "/key/update", json={"key": key["litellm_key_id"], "rpm_limit": 1})
    answer = sync(world, admin, key)
    assert answer.status_code == 200, answer.text
    told = answer.json()["key"]
    assert (told["id"], told["user_id"], told["sync_status"]) == (key["id"], user.id, "synced")
    assert not {"litellm_key_id", "key_hash", "key_preview"} & set(told)
    assert key["litellm_key_id"] not in answer.text
    assert world.key_info(key)["rpm_limit"] == 100
    world.db.execute("delete from keyfund.administrators where user_id = %s", [admin.id])
    refused = sync(world, admin, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "key_not_found")


def test_while_litellm_is_away_the_answer_is_the_row_as_it_stands(world: World, admin: User) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.stack.stop_part("litellm")
    for who in (user, admin):
        answer = sync(world, who, key)
        assert answer.status_code == 200, answer.text
        assert answer.json()["key"]["sync_status"] in ("pending", "failed")
    world.stack.start_part("litellm")
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="it is synced again")


def test_everybody_s_failing_keys_are_listed_for_administrators_alone(world: World, admin: User) -> None:
    parked = [world.parked_key() for _ in range(3)]
    rows = listed(world, admin)
    assert {key["id"] for _, key in parked} <= {row["id"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows)
    assert not [row for row in rows if "litellm_key_id" in row]
    refused = world.api(parked[0][0], "GET", "/api/keys/sync?all=true")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_an_administrator")
    own = world.api(parked[0][0], "GET", "/api/keys/sync").json()["keys"]
    assert [row["id"] for row in own] == [parked[0][1]["id"]]
    for user, key in parked:
        assert sync(world, user, key).json()["key"]["sync_status"] == "synced"
    assert not {key["id"] for _, key in parked} & {row["id"] for row in listed(world, admin)}


def test_everything_parked_is_pushed_again_and_either_service_tells_how_far_it_is(
    world: World, admin: User
) -> None:
    world.set_failures_aside()
    parked = [world.parked_key() for _ in range(4)]
    with webhook({**world.env, "API_RATE_PER_MINUTE": "0"}) as other:
        headers = {"Authorization": f"Bearer {admin.token}"}

        def progress() -> Json:
            told: Json = httpx.get(f"{other}/api/admin/resync", headers=headers).json()
            return told

        begun = world.api(admin, "POST", "/api/admin/resync")
        assert begun.status_code == 200, begun.text
        told = begun.json()
        assert (told["accounts"], told["keys"]) == (4, 4)
        assert told["ended_at"]
        assert progress()["id"] == told["id"]
        rest = ("outstanding_accounts", "outstanding_keys", "failing_accounts")
        until(lambda: [progress()[one] for one in rest] == [0, 0, 0], what="all is pushed")
        assert progress()["accounts"] == 4
    for user, _ in parked:
        assert [row["sync_status"] for row in world.keys(user)] == ["synced"]
    user = parked[0][0]
    for method in ("GET", "POST"):
        refused = world.api(user, method, "/api/admin/resync")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_an_administrator")
