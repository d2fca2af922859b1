"""Thousands of key changes among two services and two workers that are killed all the time."""

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from tests.faults.chaos import killing
from tests.faults.crash import Case
from tests.faults.never import assert_never_lines, key_rows, listed, rows
from tests.faults.processes import Actor
from tests.faults.scenarios import ask, settle_all
from tests.faults.scene import Scene
from tests.support import User

CHANGES, ACCOUNTS, KILLS = (2_000, 40, 40) if os.environ.get("LONG") else (300, 12, 6)
SEED = 20261124
MOST_KEYS = 20
"""LiteLLM lists a hundred keys a page, and revoked ones stay for a day."""


def test_a_live_key_per_row_with_its_limits_and_none_created_again(scene: Scene) -> None:
    users = [scene.sign_up() for _ in range(ACCOUNTS)]
    services = [scene.actor("webhook").start() for _ in range(2)]
    workers = [scene.actor("worker").start() for _ in range(2)]
    actors = [*services, *workers]
    with killing(actors, random.Random(SEED)) as kills, ThreadPoolExecutor(6) as pool:
        lanes = [users[lane::6] for lane in range(6)]  # an account's changes come one after the other
        done = list(pool.map(lambda lane: change_all(scene, services, lane, kills), lanes))
    for actor in actors:
        actor.close()
    assert sum(done) >= CHANGES
    assert len(kills) >= KILLS
    settle_all(scene, [Case(user, [], list) for user in users], seconds=180)
    assert_never_lines(scene, users)
    assert scene.parked(users) == 0
    for user in users:
        live = {key["token"] for key in listed(scene, user) if not key["blocked"]}
        active = {row["key_hash"] for row in key_rows(scene, user) if row["state"] == "active"}
        assert live == active
    assert created_again(scene, users, actors) == []


def change_all(scene: Scene, services: list[Actor], users: list[User], kills: list[str]) -> int:
    """A lane's share of the changes, until enough were killed meanwhile; returns how many were taken."""
    chance, taken = random.Random(f"{SEED} {users[0].email}"), 0
    while taken < -(-CHANGES // 6) or len(kills) < KILLS:
        user = chance.choice(users)
        kept = [row for row in key_rows(scene, user) if row["state"] != "revoked" and not row["successor_id"]]
        taken += change_one(scene, chance.choice(services), user, kept, chance)
    return taken


def change_one(
    scene: Scene, service: Actor, user: User, kept: list[dict[str, object]], chance: random.Random
) -> bool:
    """One change: half of them over PostgREST, half through a service that may be dead just then."""
    everything = len(rows(scene, "select 1 from public.virtual_keys where user_id = %s", user.id))
    if not kept or (everything < MOST_KEYS and chance.random() < 0.2):
        name, key_id = "create", None
        arguments: dict[str, object] = {"name": "Key", "max_budget": chance.choice([50, 500])}
    else:
        kinds = ["update"] * 5 + ["block", "unblock", "resync"] + (["rotate"] if everything < 60 else [])
        kinds += ["revoke"] if len(kept) > 2 and everything < 60 else []
        name, key_id = chance.choice(kinds), str(chance.choice(kept)["id"])
        limits: dict[str, dict[str, object]] = {
            "update": {"rpm_limit": chance.randint(1, 900), "max_budget": chance.choice([5, 70, 1000])},
            "rotate": {"overlap_seconds": chance.choice([0, 1, 600])},
        }
        arguments = limits.get(name, {})
    if chance.random() < 0.5 and name in HTTP:
        method, path, more = HTTP[name]
        answer = ask(service, user, method, path.format(key_id), {**arguments, **more})
        return answer is not None and answer.is_success
    if key_id is not None:
        arguments = {"key_id": key_id, **arguments}
    return scene.rest(user, "POST", f"/rpc/{name}_virtual_key", json=arguments).is_success


HTTP: dict[str, tuple[str, str, dict[str, object]]] = {
    "create": ("POST", "/api/keys/manage", {}),
    "update": ("PATCH", "/api/keys/manage/{}", {}),
    "block": ("PATCH", "/api/keys/manage/{}", {"blocked": True}),
    "unblock": ("PATCH", "/api/keys/manage/{}", {"blocked": False}),
    "rotate": ("POST", "/api/keys/manage/{}/rotate", {}),
}


def created_again(scene: Scene, users: list[User], actors: list[Actor]) -> list[str]:
    """Keys for which somebody sent a create after LiteLLM had shown them."""
    confirmed = {
        row["key_hash"]: datetime.fromisoformat(row["confirmed_at"]).timestamp()
        for user in users
        for row in key_rows(scene, user)
        if row["confirmed_at"] is not None
    }
    return [
        digest
        for digest, sent_at in creates(actors)
        if sent_at > confirmed.get(digest, float("inf")) + 0.5  # on its way while another recorded it
    ]


def creates(actors: list[Actor]) -> Iterator[tuple[str, float]]:
    """Hash and Unix time of every create that was sent."""
    offset = time.time() - time.monotonic()
    for actor in actors:
        for one in actor.litellm.seen:
            if one.request.path == "/key/generate":
                key = str(json.loads(one.request.body)["key"])
                yield hashlib.sha256(key.encode()).hexdigest(), one.at + offset
