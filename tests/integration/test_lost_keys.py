"""A key that LiteLLM lost is noticed while nobody uses it, at little of LiteLLM's time."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.world import Json, World, until
from tests.support import User

ROUND_SECONDS = 4


@pytest.fixture
def quick_rounds(world: World) -> Iterator[None]:
    """A worker that compares all keys every few seconds, where 5 % of LiteLLM's time allows it."""
    child = world.stack.child("worker")
    part = child.part
    child.stop()
    child.part = replace(part, env={**part.env, "DRIFT_ROUND_SECONDS": str(ROUND_SECONDS)})
    # The one before may rest for longer.
    world.db.execute("update keyfund.chores set next_attempt_at = now() where name = 'compare_keys'")
    world.stack.start_part("worker")
    yield
    child.stop()
    child.part = part
    world.stack.start_part("worker")


def look(world: World, user: User, key: Json) -> Json:
    return next(row for row in world.keys(user) if row["id"] == key["id"])


def call_seconds(world: World) -> float:
    """How long LiteLLM answered the comparison, by the worker's own count."""
    text = world.http.get(f"{world.stack.child('worker').part.url}/metrics").text
    counted = re.search(r"^keyfund_drift_call_seconds_total ([0-9.e+-]+)$", text, re.MULTILINE)
    assert counted is not None, text
    return float(counted.group(1))


@pytest.mark.usefixtures("quick_rounds")
def test_a_user_deleted_after_a_call_shows_what_to_do_and_a_rotation_brings_the_key_back(
    world: World,
) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key).status_code == 200
    time.sleep(3)  # what happens then is the point: LiteLLM has not written the call down yet
    began = time.monotonic()
    world.litellm("POST", "/user/delete", json={"user_ids": [user.id]}).raise_for_status()
    until(
        lambda: look(world, user, key)["sync_status"] == "failed",
        seconds=60,
        what="the key shows that it is gone",
    )
    told = look(world, user, key)["last_error"]
    assert told.startswith("litellm_key_vanished:")
    assert "rotate it" in told
    assert time.monotonic() - began < 60
    rotated = world.rest(
        user, "POST", "/rpc/rotate_virtual_key", json={"key_id": key["id"], "overlap_seconds": 0}
    )
    back: Json = rotated.json()
    until(lambda: look(world, user, key)["sync_status"] == "synced", what="the key works again")
    assert (back["id"], back["name"]) == (key["id"], key["name"])
    assert world.call(back).status_code == 200


@pytest.mark.usefixtures("quick_rounds")
def test_the_comparison_takes_no_more_than_its_share_of_litellm_s_time(world: World) -> None:
    world.synced_key(world.sign_up())
    rounds = "select max(id) from keyfund.drift_reports"
    first = world.db.execute(rounds).fetchone()
    until(lambda: world.db.execute(rounds).fetchone() != first, what="a round has ended")
    began, before = time.monotonic(), call_seconds(world)
    until(lambda: time.monotonic() - began > 5 * ROUND_SECONDS and call_seconds(world) > before)
    share = (call_seconds(world) - before) / (time.monotonic() - began)
    # 5 %, and the page whose rest is not over yet. Without its rests it would be most of the time.
    assert 0 < share <= 0.1, share
