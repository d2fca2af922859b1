"""Parts that are away: nothing lost, nothing parked, nobody's help needed."""

import hashlib
import json
import os
import time

import psycopg

from tests.integration.world import World, until

OUTAGE_SECONDS = 600 if os.environ.get("LONG") else 15


def test_a_payment_while_litellm_is_away_is_credited_and_the_budget_follows(world: World) -> None:
    world.set_failures_aside()
    user = world.sign_up()
    key = world.synced_key(user)
    reference = world.order(user)["reference"]
    world.stack.stop_part("litellm")
    stopped_at = time.monotonic()
    paid = world.pay(reference, deliver=False)
    answer = world.deliver(paid["raw"].encode())
    assert answer.status_code == 200
    world.until_status(user, reference, "success")
    assert world.credits(user) == 1000
    row = world.keys(user)[0]
    assert row["sync_status"] in ("pending", "failed")
    assert row["next_attempt_at"] is not None
    until(
        lambda: not world.api(user, "GET", "/api/status").json()["litellm"]["connected"],
        what="the page says so",
    )
    while time.monotonic() - stopped_at < OUTAGE_SECONDS:
        assert world.api(user, "GET", "/api/status").status_code == 200
        time.sleep(1)
    parked = world.db.execute(
        "select count(*) from keyfund.pushes where revision > confirmed_revision and next_attempt_at is null"
    ).fetchone()
    assert parked == (0,)
    world.stack.start_part("litellm")
    until(lambda: world.wallet(user)["max_budget"] == 20.0, seconds=60, what="the budget arrives by itself")
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", seconds=60, what="the key says so")
    assert world.call(key).status_code == 200


def test_kill_9_of_the_worker_while_it_pushes_200_keys(world: World) -> None:
    world.stack.stop_part("worker")
    people = [world.sign_up() for _ in range(10)]
    made = {
        person.id: [world.create_key(person, max_budget=1000 + n) for n in range(20)] for person in people
    }
    count = "select count(*) from public.virtual_keys where user_id = any(%s) and "
    ids = [person.id for person in people]

    def number(condition: str) -> int:
        row = world.db.execute(count + condition, [ids]).fetchone()
        assert row is not None
        return int(row[0])

    world.stack.start_part("worker")
    until(
        lambda: (
            world.db.execute(
                "select count(*) from keyfund.pushes where account_id = any(%s) and lease_token is not null",
                [ids],
            ).fetchone()
            != (0,)
        ),
        what="accounts are claimed",
    )
    world.stack.kill_part("worker")
    leased = world.db.execute(
        "select count(*) from keyfund.pushes where account_id = any(%s) and lease_token is not null", [ids]
    ).fetchone()
    assert leased is not None
    assert leased[0] > 0, "some were claimed and unfinished"
    assert number("sync_status <> 'synced'") > 0

    changed = {}
    for person in people:
        key = made[person.id][0]
        answer = world.rest(
            person,
            "POST",
            "/rpc/update_virtual_key",
            json={"key_id": key["id"], "rpm_limit": 42, "max_budget": 777},
        )
        assert answer.status_code == 200
        changed[key["id"]] = (7.77, 42)
    # The dead worker's leases run out; the wait for requests of unknown outcome is the real one.
    world.db.execute("update keyfund.pushes set lease_expires_at = now(), next_attempt_at = now() "
                     "where account_id = any(%s) and lease_token is not null", [ids])  # fmt: skip
    world.stack.start_part("worker")
    until(lambda: number("sync_status = 'synced'") == 200, seconds=150, what="every row is synced")

    for person in people:
        rows = {row["id"]: row for row in world.keys(person)}
        listed = world.litellm(
            "GET", "/key/list", params={"user_id": person.id, "return_full_object": "true", "size": 100}
        ).json()["keys"]
        hashes = {hashlib.sha256(row["litellm_key_id"].encode()).hexdigest(): row for row in rows.values()}
        assert len(listed) == 20
        assert {key["token"] for key in listed} == set(hashes)
        for key in listed:
            row = hashes[key["token"]]
            budget, rpm = changed.get(row["id"], (row["max_budget"] / 100, 100))
            assert (key["user_id"], key["max_budget"], key["rpm_limit"]) == (person.id, budget, rpm)
            assert not key["blocked"]


def test_postgres_restarted_leaves_the_service_up_and_nothing_lost(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    paid = world.pay(reference, deliver=False)
    world.stack.kill_part("postgres")
    refused = world.deliver(paid["raw"].encode())
    assert refused.status_code == 503, "not stored, so Paystack has to send it again"
    assert world.http.get(f"{world.env['WEBHOOK_BASE_URL']}/healthz").status_code == 200
    assert world.http.get(f"{world.env['WEBHOOK_BASE_URL']}/readyz").status_code == 503
    world.stack.start_part("postgres")
    until(lambda: world.deliver(paid["raw"].encode()).status_code == 200, what="it is taken again")
    until(lambda: world.payment(user, reference)["status"] == "success", what="it is credited")
    assert len(world.purchases(user)) == 1


def test_the_webhook_killed_after_its_200_loses_nothing(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.misbehave({"route": "GET /transaction/verify/:reference", "hang_seconds": 8, "count": 1})
    paid = world.pay(reference, deliver=False)
    assert world.deliver(paid["raw"].encode()).status_code == 200
    world.stack.kill_part("webhook")
    world.db.execute("update keyfund.events set next_attempt_at = now() where reference = %s", [reference])
    world.stack.start_part("webhook")
    world.until_status(user, reference, "success")
    assert [row["delta"] for row in world.purchases(user)] == [500]


def test_a_worker_told_to_stop_finishes_what_is_in_hand(world: World) -> None:
    user = world.sign_up()
    world.stack.stop_part("worker")
    world.create_key(user)
    world.stack.start_part("worker")
    until(lambda: world.keys(user)[0]["create_sent_at"], what="the worker has claimed it")
    world.stack.stop_part("worker")
    row = world.db.execute(
        "select lease_token from keyfund.pushes where account_id = %s", [user.id]
    ).fetchone()
    assert row == (None,)
    assert world.keys(user)[0]["sync_status"] == "synced"


def test_what_was_overspent_by_a_restore_stays_spent(world: World) -> None:
    """LiteLLM's spend goes back to 0, as after a restore: what was spent does not become spendable again."""
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key, "mock-costly").status_code == 200
    until(lambda: world.wallet(user)["spend"] > 0.5, what="LiteLLM has flushed the spend")
    spent = world.wallet(user)["spend"]
    assert world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": key["id"]}).status_code == 200
    until(
        lambda: (
            world.db.execute(
                "select seen_micros > 0 from keyfund.wallets where account_id = %s", [user.id]
            ).fetchone()
            == (True,)
        ),
        what="the spend is booked",
    )
    world.litellm("POST", "/user/update", json={"user_id": user.id, "spend": 0})
    assert world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": key["id"]}).status_code == 200
    until(
        lambda: abs(world.wallet(user)["max_budget"] - (10.0 - spent)) < 1e-6,
        what="only the rest is spendable",
    )


def test_a_user_row_that_vanished_is_made_again_with_what_was_left(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key, "mock-costly").status_code == 200
    until(lambda: world.wallet(user)["spend"] > 0.5, what="LiteLLM has flushed the spend")
    spent = world.wallet(user)["spend"]
    world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": key["id"]})
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="settled")
    stack_db = world.stack.superuser_url("litellm")

    with psycopg.connect(stack_db, autocommit=True) as litellm_db:
        litellm_db.execute('delete from "LiteLLM_UserTable" where user_id = %s', [user.id])
    world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": key["id"]})
    until(lambda: world.wallet(user).get("max_budget"), what="the row is back")
    assert abs(world.wallet(user)["max_budget"] - (10.0 - spent)) < 1e-6
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="its key is unblocked again")
    assert world.key_info(key)["blocked"] in (None, False)


def test_a_litellm_that_forgot_everything_gives_nobody_their_money_twice(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key, "mock-costly").status_code == 200
    until(lambda: world.credits(user) == 450, what="a dollar is booked")
    spent = world.wallet(user)["spend"]
    with psycopg.connect(world.stack.superuser_url("litellm"), autocommit=True) as litellm_db:
        litellm_db.execute('delete from "LiteLLM_UserTable" where user_id = %s', [user.id])
        litellm_db.execute('delete from "LiteLLM_VerificationToken" where user_id = %s', [user.id])
    world.rest(user, "POST", "/rpc/resync_virtual_key", json={"key_id": key["id"]})
    until(lambda: world.wallet(user).get("max_budget"), what="the wallet is back")
    assert abs(world.wallet(user)["max_budget"] - (10.0 - spent)) < 1e-6
    row = until(
        lambda: next((k for k in world.keys(user) if k["sync_status"] == "failed"), None),
        what="the key says so",
    )
    assert row is not None
    assert row["last_error"].startswith("litellm_key_vanished")
    fresh = world.synced_key(user)
    assert world.call(fresh).status_code == 200


def test_events_that_came_while_paystack_was_away_are_settled_when_it_returns(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    paid = json.dumps(world.pay(reference, deliver=False)["event"]).encode()
    world.misbehave({"route": "*", "cut": True, "count": None})
    assert world.deliver(paid).status_code == 200
    until(lambda: (world.event(paid) or {}).get("last_error"), what="it could not be verified")
    world.behave()
    world.db.execute("update keyfund.events set next_attempt_at = now() where reference = %s", [reference])
    world.until_status(user, reference, "success")
