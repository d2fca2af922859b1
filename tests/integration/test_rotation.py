"""Rotation on the whole stack: a client that calls all the time is never refused."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.world import Json, World, until
from tests.support import User


@contextmanager
def calling(world: World, key: Json) -> Iterator[tuple[Json, Counter[int]]]:
    """Call as fast as it goes with the string that the client holds; swap it in the dict to switch."""
    held, answers, enough = dict(key), Counter[int](), threading.Event()

    def call() -> None:
        while not enough.is_set():
            answers[world.call(held).status_code] += 1

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield held, answers
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def rotate(world: World, user: User, key: Json, overlap_seconds: int) -> Json:
    answer = world.api(
        user, "POST", f"/api/keys/manage/{key['id']}/rotate", json={"overlap_seconds": overlap_seconds}
    )
    assert answer.status_code == 200, answer.text
    rotated: Json = answer.json()
    return rotated


def shown(world: World, user: User, key: Json) -> Json:
    listed: list[Json] = world.api(user, "GET", "/api/keys/manage").json()["keys"]
    return next(one for one in listed if one["id"] == key["id"])


def test_a_rotation_under_load_refuses_no_call(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user, rpm_limit=100_000, tpm_limit=100_000_000)
    with calling(world, key) as (held, answers):
        until(lambda: answers[200] > 5, what="calls go through")
        rotated = rotate(world, user, key, 6)
        assert rotated["litellm_key_id"] != key["litellm_key_id"]
        assert shown(world, user, key)["former"]["litellm_key_id"] == key["litellm_key_id"]
        until(lambda: shown(world, user, key)["sync_status"] == "synced", what="the new string is synced")
        held["litellm_key_id"] = rotated["litellm_key_id"]
        before = answers[200]
        until(lambda: answers[200] > before + 5, what="calls go through with the new string")
        until(lambda: world.call(key).status_code == 401, what="the old string has retired")
        before = answers[200]
        until(lambda: answers[200] > before + 5, what="calls still go through")
    assert set(answers) == {200}, answers
    assert shown(world, user, key)["former"] is None
    assert len(world.api(user, "GET", "/api/keys/manage").json()["keys"]) == 1


@pytest.fixture
def quick_flush(world: World) -> Iterator[None]:
    """The stack's LiteLLM writes its spend down within six seconds."""
    world.db.execute("update keyfund.settings set spend_settles_seconds = 8")
    yield
    world.db.execute("update keyfund.settings set spend_settles_seconds = default")


def until_synced(world: World, user: User, key: Json) -> None:
    until(lambda: shown(world, user, key)["sync_status"] == "synced", what="the new string is synced")


@pytest.mark.usefixtures("quick_flush")
def test_a_rotated_key_has_what_the_old_string_left_of_its_cap(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user, max_budget=350)
    for _ in range(2):
        assert world.call(key, "mock-costly").status_code == 200
    rotated = rotate(world, user, key, 0)
    until_synced(world, user, key)
    assert shown(world, user, key)["max_budget"] == 350
    assert world.key_info(rotated)["max_budget"] == 1.49  # 3.50 less 2.0016, rounded up to a cent
    assert world.call(rotated, "mock-costly").status_code == 200
    assert world.call(rotated, "mock-costly").status_code == 422
    until(lambda: world.call(key).status_code == 401, what="the old string is stopped")


def spend_all(world: World, key: Json) -> int:
    """Call until the string's cap refuses; returns how often it did not."""
    calls = 0
    while (answer := world.call(key, "mock-large")).status_code == 200:
        calls += 1
    assert answer.status_code == 422, answer.text
    return calls


@pytest.mark.usefixtures("quick_flush")
@pytest.mark.parametrize("by", ["owner", "administrator"])
def test_a_cap_holds_over_all_strings_that_a_key_has_in_a_period(world: World, admin: User, by: str) -> None:
    """Each former string is spent to its end and revoked as soon as the next one works."""
    user = world.sign_up()
    key = world.synced_key(user, **({"max_budget": 100} if by == "owner" else {}))
    if by == "administrator":
        ceiling = {"key_id": key["id"], "reason": "a dollar a period", "max_budget": 100}
        assert world.rest(admin, "POST", "/rpc/limit_virtual_key", json=ceiling).status_code == 200
        until_synced(world, user, key)
    calls = 0
    for _ in range(4):
        assert world.call(key, "mock-large").status_code == 200
        calls += 1
        rotated = rotate(world, user, key, 600)
        former = shown(world, user, key)["former"]
        until_synced(world, user, key)
        calls += spend_all(world, key)
        world.api(user, "DELETE", f"/api/keys/manage/{former['id']}").raise_for_status()
        key = rotated
        until(lambda key=key: world.key_info(key)["max_budget"] > 0.05, what="the rest came back")  # type: ignore[misc]
    calls += spend_all(world, key)
    until(lambda: world.wallet(user)["spend"] > calls * 0.048 - 0.001, what="LiteLLM has written it down")
    # The guard holds a token for every byte of a prompt, so what is left at the end is too little for a call.
    assert 0.6 < world.wallet(user)["spend"] <= 1


def test_twenty_keys_are_not_twenty_times_the_rate(world: World) -> None:
    """The account's own limit, over all of its keys together."""
    user = world.sign_up()
    world.db.execute("update keyfund.settings set account_rpm_limit = 4")
    try:
        keys = [world.synced_key(user, rpm_limit=1000) for _ in range(2)]
        answers = Counter(world.call(key).status_code for key in keys * 6)
    finally:
        world.db.execute("update keyfund.settings set account_rpm_limit = null")
    assert answers[200] <= 8  # four a minute; the minute may turn in between
    assert answers[429] >= 4
    until(lambda: world.wallet(user)["rpm_limit"] is None, what="the limit is lifted")


def test_only_the_allowed_models_answer(world: World) -> None:
    user = world.sign_up()
    world.db.execute("update keyfund.settings set allowed_models = '{mock-small}'")
    try:
        key = world.synced_key(user)
        assert world.call(key, "mock-small").status_code == 200
        assert world.call(key, "mock-large").status_code in (401, 403)
    finally:
        world.db.execute("update keyfund.settings set allowed_models = null")
    answers = lambda: world.call(key, "mock-large").status_code == 200  # noqa: E731
    until(answers, seconds=150, what="all models are allowed again, behind what others wait for")
