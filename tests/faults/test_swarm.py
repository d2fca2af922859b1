"""Many at once, and somebody killing them at random."""

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

from tests.faults.chaos import killing
from tests.faults.crash import Case
from tests.faults.never import assert_never_lines
from tests.faults.processes import Actor
from tests.faults.scenarios import settle_all
from tests.faults.scene import Scene
from tests.integration.world import until
from tests.support import User

LONG = bool(os.environ.get("LONG"))
ACCOUNTS, PAYMENTS, KILLS = (100, 50, 40) if LONG else (30, 15, 6)
SEED = 20261123


def test_random_kills_among_two_webhooks_and_three_workers(scene: Scene) -> None:
    chance = random.Random(SEED)
    with ThreadPoolExecutor(4) as pool:
        users = list(pool.map(lambda _: scene.sign_up(), range(ACCOUNTS)))
        scene.hold(users)
        list(pool.map(lambda user: scene.create_key(user, max_budget=300), users))
        paid = list(pool.map(lambda user: paid_event(scene, user), users[:PAYMENTS]))
    webhooks = [scene.actor("webhook").start() for _ in range(2)]
    workers = [scene.actor("worker").start() for _ in range(3)]
    with killing([*webhooks, *workers], chance) as kills:
        scene.hurry(users, sweep=False)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda raw: until_taken(scene, webhooks, raw, chance), paid))
        until(lambda: len(kills) >= KILLS, seconds=200, what="enough were killed")
    for actor in (*webhooks, *workers):
        actor.close()
    settle_all(scene, [Case(user, [], list) for user in users])
    credits = scene.db.execute(
        "select credits, count(*) from public.profiles where id = any(%s) group by 1 order by 1",
        [[user.id for user in users]],
    ).fetchall()
    assert credits == [(500, ACCOUNTS - PAYMENTS), (1000, PAYMENTS)]
    assert_never_lines(scene, users)
    assert scene.parked(users) == 0


def paid_event(scene: Scene, user: User) -> bytes:
    reference = scene.order(user)["reference"]
    return json.dumps(scene.pay(reference, deliver=False)["event"]).encode()


def until_taken(scene: Scene, webhooks: list[Actor], raw: bytes, chance: random.Random) -> None:
    """Deliver as Paystack does: again and again until somebody says 200."""
    for _ in range(200):
        time.sleep(chance.random() * 0.5)
        status = scene.deliver_to(chance.choice(webhooks), raw)
        assert status in (None, 200, 503)
        if status == 200:
            return
    raise AssertionError("nobody took an event in 200 tries")
