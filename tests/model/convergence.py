"""Once nothing goes wrong any more, everything comes right by itself, and soon."""

from typing import Any

from core.domain.keys import KeyState
from tests.model import invariants
from tests.model.money import granted, withheld
from tests.model.world import CREDIT_MICROS, Person, World

ROUNDS = (0, 1, 30, 31, 31, 61, 61, 61, 61, 300, 300, 300, 3600, 3600, 86_400, 86_400)
"""Seconds that pass between two rounds of work, until nothing is left to do."""

UNFINISHED = {
    "accounts": """select account_id, next_attempt_at - now() as due, last_error from keyfund.pushes
        where next_attempt_at is not null""",
    "events": "select id, reference, last_error from keyfund.events where handled_at is null",
    "keys": """select id, state, sync_status, last_error, refusals from public.virtual_keys
        where sync_status <> 'synced' and state <> 'placeholder'
          and not (sync_status = 'failed' and next_attempt_at is null)""",
    "payments": """select reference, user_id from public.transactions
        where credited_at is not null and pushed_at is null""",
    "people": "select id from auth.users where id not in (select id from keyfund.accounts)",
}
"""What the workers still have to do."""

ACCOUNTS = """
    select *, p.id as user_id from keyfund.wallets w join keyfund.pushes using (account_id)
    join public.profiles p on p.id = w.account_id cross join keyfund.settings s"""


def converge(world: World) -> None:
    """Heal everything, let time pass and the workers work, and look at it all."""
    heal(world)
    settle_down(world)
    for one in world.people:
        # Nothing has brought it up again since: somebody asks for a look.
        if one.bill.tampered or world.tampered.intersection(row["key_hash"] for row in world.key_rows(one)):
            look_again(world, one)
    settle_down(world)
    world.tampered.clear()
    world.let_pass(100_000)  # and revoked keys are deleted
    settle_down(world)
    invariants.check(world)
    invariants.books_agree(world.reconcile())
    for row in world.rows(ACCOUNTS):
        person = world.person(str(row["user_id"]))
        assert person is not None
        check_status(world, person, row["status"])
        check_wallet(world, person, row)
        check_keys(world, person)


def heal(world: World) -> None:
    world.litellm_wire.outage = world.paystack_wire.outage = None
    if world.sight.standin is not None:
        world.sight.standin.stale.clear()
    for one in list(world.engine.stalled):
        world.engine.resume(one)
    for letter in list(world.engine.letters):
        world.land(letter)
    for person in world.people:
        world.sight.wait_for_spend(person.id, person.bill.spent)


def settle_down(world: World) -> None:
    for seconds in ROUNDS:
        world.let_pass(seconds)
        for name in world.jobs:
            for _ in range(50):
                if not world.work(name):
                    break
            else:
                raise AssertionError(f"{name} never ends")
        if seconds and not unfinished(world):
            return
    raise AssertionError(unfinished(world))


def unfinished(world: World) -> dict[str, Any]:
    found = {name: world.rows(query) for name, query in UNFINISHED.items()}
    found["payments"] += [row for row in payments(world) if not is_judged(world, row)]
    return {name: rows for name, rows in found.items() if rows}


def payments(world: World) -> list[dict[str, Any]]:
    query = """select reference, user_id, status, credits, amount, currency,
        credited_at is not null as credited from public.transactions"""
    return world.rows(query)


def is_judged(world: World, row: dict[str, Any]) -> bool:
    """By what Paystack's book says. One that went back whole before we saw it has nothing to be credited."""
    order = world.sandbox.book.transactions.get(row["reference"])
    if order is None or not order.paid:
        return row["status"] in ("pending", "failed", "abandoned")
    if row["reference"] in world.wrong:
        if row["reference"] in world.accepted:
            return bool(row["credited"])
        refused = row["reference"] in world.refused
        return not row["credited"] and row["status"] in ("failed" if refused else "needs_review", "reversed")
    return row["credited"] or (order.status == "reversed" and row["status"] == "reversed")


def look_again(world: World, person: Person) -> None:
    """What an administrator's re-sync does."""
    for row in world.key_rows(person):
        world.rows("select keyfund.resync_key(k) from public.virtual_keys k where id = %s", row["id"])
    world.rows("select keyfund.touch_account(%s)", person.id)


def check_status(world: World, person: Person, status: str) -> None:
    """Who is gone is a tombstone, whatever was taken back; every ban is over by now."""
    assert not world.is_banned(person)
    wanted = "deleted" if person.gone else "suspended" if person.held else "active"
    assert status == wanted, (person, status)


def check_wallet(world: World, person: Person, row: dict[str, Any]) -> None:
    bill, user = person.bill, world.sight.user(person.id)
    assert bill.spent - bill.slack <= row["booked_micros"] <= bill.spent, (bill, row)
    given = sum(credits for user_id, credits in world.adjustments.values() if user_id == person.id)
    credits = bought(world, person) + welcomed(world, person, row["signup_credits"]) + given
    assert row["wallet_credits"] == credits, row
    if user is None:
        assert not world.sight.keys_of(person.id)
        return
    assert user.spend_micros == row["seen_micros"], (user, row)
    left = (
        max(0, row["wallet_credits"] * CREDIT_MICROS - row["booked_micros"])
        if row["status"] == "active"
        else 0
    )
    assert max(0, (user.budget_micros or 0) - user.spend_micros) == left, (user, row)


def bought(world: World, person: Person) -> int:
    """By what Paystack's book says, not ours: what was paid, less what went back or is in dispute."""
    mine = [row for row in payments(world) if str(row["user_id"]) == person.id and row["credited"]]
    return sum(granted(world, row) - withheld(world, row) for row in mine)


def welcomed(world: World, person: Person, signup_credits: int) -> int:
    first = next(one for one in world.people if one.identity == person.identity)
    return signup_credits if person is first else 0


def check_keys(world: World, person: Person) -> None:
    """One live key for each active row, and no other."""
    rows = {row["key_hash"]: row for row in world.key_rows(person)}
    for token in world.sight.keys_of(person.id):
        seen = world.sight.key(token)
        assert seen is not None
        stopped = rows[token]["state"] != KeyState.ACTIVE or rows[token]["suspended"]
        assert seen.blocked is stopped, (rows[token], seen)
    for row in rows.values():
        if row["sync_status"] == "failed":  # LiteLLM lost it; it is shown to its owner, and never made again
            assert person.bill.ever_tampered, row
            assert str(row["last_error"]).startswith("litellm_key_vanished"), row
        elif row["state"] == KeyState.ACTIVE:
            assert invariants.holds(world, row), row
