"""What is spent in LiteLLM becomes usage in the ledger, to the credit."""

from tests.integration.world import World, until


def test_spend_is_booked_without_anything_else_happening(world: World) -> None:
    user = world.sign_up()
    keys = [world.synced_key(user), world.synced_key(user)]
    for key in keys:
        assert world.call(key, "mock-costly").status_code == 200
    until(lambda: world.credits(user) == 400, seconds=60, what="two dollars are a hundred credits")
    entries = world.rest(user, "GET", "/credit_ledger?kind=eq.usage").json()
    assert sum(entry["delta"] for entry in entries) == -100
    spend = world.wallet(user)["spend"]
    row = world.db.execute(
        "select booked_micros, seen_micros from keyfund.wallets where account_id = %s", [user.id]
    ).fetchone()
    assert row == (round(spend * 1_000_000),) * 2


def test_spend_that_vanished_is_noticed_without_anything_else_happening(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    world.call(key, "mock-costly")
    until(lambda: world.credits(user) == 450, seconds=60, what="a dollar is fifty credits")
    spent = world.wallet(user)["spend"]
    world.litellm("POST", "/user/update", json={"user_id": user.id, "spend": 0})
    world.call(key)  # some activity, as of an account in use
    until(
        lambda: abs(world.wallet(user)["max_budget"] - (10 - spent)) < 0.01,
        seconds=60,
        what="only what was left is spendable",
    )
