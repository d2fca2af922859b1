"""Short stories of what went wrong once, or still does, found by looking for ways to break the product."""

from collections.abc import Iterator
from unittest import mock

import pytest

from core.flows import push
from tests.model import invariants
from tests.model.convergence import settle_down
from tests.model.process import SMOOTH, Mishap, Plan
from tests.model.sight import Charge, StandInSight
from tests.model.world import Person, Row, World
from tests.support import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database, StandInSight())
    yield world
    world.close()


def with_key(world: World) -> tuple[Person, Row]:
    """Somebody with a key that LiteLLM has confirmed."""
    person = world.sign_up(0)
    row = world.owner_calls(person, "create_virtual_key")
    assert row is not None
    world.work("push")
    return person, row


def settle(world: World) -> None:
    world.let_pass(21)
    world.work("settle")


def test_two_reads_that_lag_far_apart_do_not_count_as_two_in_a_row(world: World) -> None:
    person, _ = with_key(world)
    world.spend(person, 0, "mock-costly")
    settle(world)
    for _ in range(2):
        world.show_less_once(person)
        world.rows("select keyfund.touch_account(%s)", person.id)
        world.work("push")
    invariants.check(world)
    assert world.rows("select epoch from keyfund.wallets") == [{"epoch": 0}]


def test_a_revoked_key_that_a_restored_backup_brings_back_is_blocked_again(world: World) -> None:
    person, row = with_key(world)
    backup = world.standin.snapshot()
    world.spend(person, 0, "mock-costly")
    settle(world)
    world.owner_calls(person, "revoke_virtual_key", key_id=str(row["id"]))
    world.work("push")
    world.standin.restore(backup)
    assert world.sight.call(world.strings[row["id"]], "mock-small") is Charge.BILLED
    settle(world)
    settle_down(world)
    assert world.sight.call(world.strings[row["id"]], "mock-small") is Charge.REFUSED


def test_a_key_that_a_restored_backup_does_not_know_is_not_shown_as_synced(world: World) -> None:
    person, old = with_key(world)
    world.spend(person, 0, "mock-costly")
    backup = world.standin.snapshot()
    world.spend(person, 0, "mock-costly")
    settle(world)
    new = world.owner_calls(person, "create_virtual_key")
    assert new is not None
    world.work("push")
    world.standin.restore(backup)
    world.sight.call(world.strings[old["id"]], "mock-small")
    settle(world)
    settle_down(world)
    assert [row["sync_status"] for row in world.key_rows(person)] == ["synced", "failed"]


def test_a_push_that_ends_with_its_lease_does_not_forget_what_may_still_land(world: World) -> None:
    person, row = with_key(world)
    world.owner_calls(person, "block_virtual_key", key_id=str(row["id"]))
    world.set_status(person, "suspended")
    push_wallet = push._Attempt._push_wallet

    async def push_wallet_late(self: push._Attempt) -> object:
        world.clock.passed += 30  # the calls before took so long that no write fits into the lease
        return await push_wallet(self)

    with mock.patch.object(push._Attempt, "_push_wallet", push_wallet_late):
        world.push_now(person, Plan(Mishap.LATE, at=3))  # the block: no answer
    (letter,) = world.engine.letters
    world.set_status(person, "active")
    world.owner_calls(person, "unblock_virtual_key", key_id=str(row["id"]))
    world.push_now(person, SMOOTH)
    world.land(letter)
    invariants.check(world)


def test_an_old_order_that_is_paid_without_a_webhook_is_credited(world: World) -> None:
    world.order(world.sign_up(0), "starter-ngn", SMOOTH)
    (order,) = world.sandbox.book.transactions.values()
    for _ in range(40):
        world.let_pass(86_400)
        world.work("verify")
        world.work("sweep")
    world.pay(order, True, {})
    for _ in range(5):
        world.let_pass(86_400)
        world.work("verify")
        world.work("sweep")
    assert world.rows("select status from public.transactions") == [{"status": "success"}]
