"""What an owner chose of a key beside its limits is held by the real LiteLLM."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.world import Json, World, until
from tests.support import User


@pytest.fixture
def user(world: World) -> User:
    return world.sign_up()


@pytest.fixture
def _all_models_again(world: World) -> Iterator[None]:
    yield
    world.db.execute("update keyfund.settings set allowed_models = null")


def synced(world: World, user: User, key: Json) -> Json:
    def look() -> Json | None:
        row = next(row for row in world.keys(user) if row["id"] == key["id"])
        return row if row["sync_status"] == "synced" else None

    row = until(look, what="the key is synced")
    assert row is not None
    return row


def change(world: World, user: User, key: Json, **chosen: object) -> Json:
    answer = world.api(user, "PATCH", f"/api/keys/manage/{key['id']}", json=chosen)
    assert answer.status_code == 200, answer.text
    return synced(world, user, key)


def refusal(world: World, key: Json, model: str = "mock-small") -> tuple[int, str]:
    answer = world.call(key, model)
    return answer.status_code, answer.json()["error"]["type"] if answer.status_code != 200 else ""


def test_a_key_is_in_litellm_as_it_was_chosen(world: World, user: User) -> None:
    ends = datetime.now(UTC) + timedelta(days=3)
    chosen = {"budget_duration": "7d", "models": ["mock-small"], "expires_at": ends.isoformat()}
    answer = world.api(user, "POST", "/api/keys/manage", json=chosen)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["budget_duration"], made["models"]) == ("7d", ["mock-small"])
    assert datetime.fromisoformat(made["expires_at"]) == ends
    synced(world, user, made)
    info = world.key_info(made)
    assert (info["budget_duration"], info["models"]) == ("7d", ["mock-small"])
    assert abs(datetime.fromisoformat(info["expires"]) - ends) < timedelta(seconds=60)
    assert refusal(world, made) == (200, "")
    assert refusal(world, made, "mock-costly") == (403, "key_model_access_denied")
    change(world, user, made, models=["*"])
    assert refusal(world, made, "mock-costly") == (200, "")


def test_litellm_refuses_a_key_that_has_expired_until_it_is_extended(world: World, user: User) -> None:
    key = world.synced_key(user, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    ends = datetime.now(UTC) + timedelta(seconds=2)
    change(world, user, key, expires_at=ends.isoformat())
    until(lambda: refusal(world, key) == (401, "expired_key"), seconds=15, what="it has expired")
    shown = world.keys(user)[0]
    assert (shown["state"], shown["sync_status"]) == ("active", "synced")
    assert datetime.fromisoformat(shown["expires_at"]) == ends
    extended = change(world, user, key, expires_at="infinity")
    assert extended["expires_at"] is None
    assert world.key_info(key)["expires"] is None
    assert refusal(world, key) == (200, "")


def test_another_period_does_not_give_the_cap_a_second_time(world: World, user: User) -> None:
    key = world.synced_key(user, max_budget=150)
    assert refusal(world, key, "mock-costly") == (200, "")
    until(lambda: world.key_info(key)["spend"] > 1, what="the spend shows")
    for duration, shown in (("1d", "1d"), ("lifetime", None), ("7d", "7d")):
        assert change(world, user, key, budget_duration=duration)["budget_duration"] == shown
        assert (world.key_info(key)["budget_duration"], world.key_info(key)["spend"] > 1) == (shown, True)
        assert refusal(world, key, "mock-costly") == (422, "budget_exceeded")


def test_what_somebody_changes_of_it_in_litellm_is_mended(world: World, user: User) -> None:
    ends = datetime.now(UTC) + timedelta(days=3)
    key = world.synced_key(user, models=["mock-small"], expires_at=ends.isoformat())
    world.litellm(
        "POST", "/key/update", json={"key": key["litellm_key_id"], "models": [], "duration": None}
    ).raise_for_status()
    answer = world.api(user, "POST", "/api/keys/sync", json={"keyId": key["id"], "action": "update"})
    assert answer.json()["key"]["sync_status"] == "synced"
    info = world.key_info(key)
    assert info["models"] == ["mock-small"]
    assert abs(datetime.fromisoformat(info["expires"]) - ends) < timedelta(seconds=60)


@pytest.mark.usefixtures("_all_models_again")
def test_what_the_operator_no_longer_allows_is_refused_and_comes_back(world: World, user: User) -> None:
    key = world.synced_key(user, models=["mock-small"])
    world.db.execute("update keyfund.settings set allowed_models = '{mock-costly}'")
    until(lambda: world.key_info(key)["models"] == ["no-default-models"], what="LiteLLM is told of none")
    for model in ("mock-small", "mock-costly"):
        assert refusal(world, key, model) == (403, "key_model_access_denied")
    assert world.keys(user)[0]["models"] == ["mock-small"]
    answer = world.api(user, "POST", "/api/keys/manage", json={"models": ["mock-small"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_allowed")
    world.db.execute("update keyfund.settings set allowed_models = null")
    until(lambda: refusal(world, key) == (200, ""), what="it may be used again")
