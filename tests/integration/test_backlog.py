"""A long outage and a large backlog: nothing parks, nothing piles up in memory, all of it drains."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from dev.stack import Stack
from tests.integration.world import World, until
from tests.support import sign_up_at

LONG = bool(os.environ.get("LONG"))
ACCOUNTS, EVENTS, HOURS = (10_000, 10_000, 24) if LONG else (300, 1_000, 6)
MOST_GROWTH = 150 * 2**20

# Everything that waits for a time comes due as if an hour had passed.
AN_HOUR_LATER = """
update keyfund.pushes set next_attempt_at = next_attempt_at - interval '1 hour',
  lease_expires_at = lease_expires_at - interval '1 hour',
  unsettled_until = unsettled_until - interval '1 hour';
update public.virtual_keys set next_attempt_at = next_attempt_at - interval '1 hour',
  unsettled_until = unsettled_until - interval '1 hour' where next_attempt_at is not null;
update keyfund.gateways set probe_at = probe_at - interval '1 hour';
update keyfund.events set next_attempt_at = next_attempt_at - interval '1 hour'
  where handled_at is null;
"""


@pytest.fixture
def world(homes: Path) -> Iterator[World]:
    """On a stack of its own: so many accounts would be in every other test's way."""
    with (
        Stack(homes / "backlog") as stack,
        psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db,
    ):
        stack.unhurry()
        yield World(stack, db, partial(sign_up_at, stack.env))


def number(world: World, query: str) -> int:
    row = world.db.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def memory(world: World, part: str) -> int:
    pid = world.stack.child(part).pid
    return int(psutil.Process(pid).memory_info().rss)


def test_a_day_without_litellm_parks_nothing_and_catches_up(world: World) -> None:
    people = [world.sign_up() for _ in range(3)]
    keys = [world.synced_key(person) for person in people]
    before = memory(world, "worker")
    world.stack.stop_part("litellm")
    batch = f"outage-{uuid4().hex[:8]}"
    world.db.execute(
        "insert into auth.users (id, email) select gen_random_uuid(), %s || n || '@example.com' "
        "from generate_series(1, %s) n",
        [batch, ACCOUNTS],
    )
    world.db.execute(
        "insert into public.virtual_keys (user_id, name) "
        "select id, %s from public.profiles where email like %s",
        [batch, f"{batch}%"],
    )
    for number_ in range(EVENTS):
        body = json.dumps({"event": "charge.success", "data": {"reference": f"{batch}-{number_}"}})
        world.db.execute(
            "select keyfund.receive_event('paystack', %s, 'charge.success', %s, %s, 0)",
            [f"{batch}-{number_}", f"{batch}-{number_}", body],
        )
    references = []
    for hour in range(HOURS):
        person = people[hour % len(people)]
        reference = world.order(person)["reference"]
        references.append((person, reference))
        world.pay(reference)
        world.until_status(person, reference, "success")
        change = {"key_id": keys[hour % len(keys)]["id"], "rpm_limit": 50 + hour}
        assert world.rest(person, "POST", "/rpc/update_virtual_key", json=change).status_code == 200
        world.db.execute(AN_HOUR_LATER)
        until(
            lambda: number(world, "select failures from keyfund.gateways where name = 'litellm'") > 0,
            what="somebody noticed",
        )
    assert number(world, "select count(*) from keyfund.gateways where opened_at is not null") == 1
    parked = "where revision > confirmed_revision and next_attempt_at is null"
    assert number(world, f"select count(*) from keyfund.pushes {parked}") == 0
    status = world.api(world.administrator(), "GET", "/api/status").json()
    assert status["litellm"]["connected"] is False
    assert status["backlog"]["keys"] >= ACCOUNTS
    # The breaker spares the rows: hardly any was tried, whatever the number of hours.
    tried = "select count(*) from keyfund.pushes where attempts > 0"
    assert number(world, tried) < 50

    world.stack.start_part("litellm")
    behind = (
        "select count(*) from public.virtual_keys where sync_status <> 'synced' and state <> 'placeholder'"
    )
    until(lambda: number(world, behind) == 0, seconds=60 + ACCOUNTS / 5, what="every key is synced")
    waiting = "select count(*) from keyfund.events where handled_at is null"
    until(lambda: number(world, waiting) == 0, seconds=60 + EVENTS / 20, what="every event is handled")
    for person, reference in references:
        until(lambda p=person, r=reference: world.payment(p, r)["timeline"]["effective"], what="effective")  # type: ignore[misc]
    for person in people:
        bought = len([one for one, _ in references if one is person])
        assert world.credits(person) == 500 + 500 * bought
        assert world.wallet(person)["max_budget"] == 10.0 + 10.0 * bought
    assert memory(world, "worker") - before < MOST_GROWTH
