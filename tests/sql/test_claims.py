"""Leases: each account is held by one pusher at a time, blocks first, and a dead holder is followed."""

from datetime import timedelta
from uuid import UUID

import pytest

from tests.sql.acting import (
    FENCES,
    account,
    all_by_service,
    append,
    at_once,
    by_owner,
    by_service,
    claim,
    credit,
    fail,
    finish,
    let_pass,
    make_due,
    open_order,
    row,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database


def claim_many(db: Connection, limit: int = 100, **more: object) -> list[str]:
    pushes = all_by_service(db, "claim_pushes", p_limit=limit, p_lease_seconds=60, **more)
    return [push["user_id"] for push in pushes]


def due_account(db: Connection) -> UUID:
    user_id = sign_up(db)
    by_owner(db, user_id, "create_virtual_key")
    return user_id


def test_a_claim_tells_all_that_a_push_needs(db: Connection) -> None:
    user_id = sign_up(db)
    made = by_owner(db, user_id, "create_virtual_key", name="First", max_budget=300)
    push = claim(db, user_id)
    held = account(db, user_id)
    assert push == {
        "user_id": str(user_id),
        "token": str(held["lease_token"]),
        "revision": held["revision"],
        "budget_micros": 10_000_000,
        "seen_micros": 0,
        "confirmed": False,
        "live_keys": [],
        "waits_for_effect": False,
        "installation_id": str(value(db, "select installation_id from keyfund.settings")),
        "keys": [
            {
                "id": str(made["id"]),
                "key": made["litellm_key_id"],
                "key_hash": made["key_hash"],
                "name": "First",
                "state": "active",
                "budget_cents": 300,
                "budget_duration": "30d",
                "rpm_limit": 100,
                "tpm_limit": 10_000,
                "models": [],
                "expires_at": None,
                "revision": made["revision"],
                "confirmed": False,
                "maybe_created": False,
                "previous_hash": None,
                "of_key": str(made["id"]),
            }
        ],
        "rpm_limit": None,
        "tpm_limit": None,
        "suspended": False,
        "fences": FENCES,
    }


def test_pushers_that_claim_at_once_get_each_account_once(database: Database, db: Connection) -> None:
    due = {str(due_account(db)) for _ in range(24)}
    claimed = at_once(database, 8, lambda connection, _: claim_many(connection, 5))
    everything = [user_id for one in claimed for user_id in one]
    assert len(everything) == len(set(everything))
    assert set(everything) | set(claim_many(db)) == due


def test_a_claim_passes_over_what_another_is_claiming(database: Database, db: Connection) -> None:
    first, second = due_account(db), due_account(db)
    with database.connect() as other, other.transaction():
        other.execute("select from keyfund.pushes where account_id = %s for update", [first])
        assert claim_many(db) == [str(second)]
        assert by_service(db, "claim_push", p_account_id=first, p_lease_seconds=60) is None


def test_of_pushers_that_ask_for_one_account_one_gets_it(database: Database, db: Connection) -> None:
    user_id = due_account(db)
    pushes = at_once(
        database,
        8,
        lambda connection, _: by_service(connection, "claim_push", p_account_id=user_id, p_lease_seconds=60),
    )
    assert len([push for push in pushes if push is not None]) == 1


def test_a_leased_account_is_nobody_else_s_until_its_lease_ends(db: Connection) -> None:
    user_id = due_account(db)
    claim(db, user_id, lease_seconds=60)
    let_pass(db, 59)
    assert claim_many(db) == []
    let_pass(db, 2)
    assert claim_many(db) == [str(user_id)]


def test_who_follows_a_dead_holder_knows_that_its_requests_may_still_land(db: Connection) -> None:
    user_id = due_account(db)
    first = claim(db, user_id)
    assert account(db, user_id)["unsettled_until"] is None
    let_pass(db, 61)
    second = claim(db, user_id)
    assert second["token"] != first["token"]
    assert [one["maybe_created"] for one in second["keys"]] == [True]
    left = value(db, "select unsettled_until - now() from keyfund.pushes")
    assert timedelta(seconds=25) < left <= timedelta(seconds=30)


def test_a_change_during_a_lease_is_due_when_the_lease_ends(db: Connection) -> None:
    user_id = due_account(db)
    claim(db, user_id)
    append(db, user_id, 100, "purchase")
    assert claim_many(db) == []
    let_pass(db, 61)
    assert claim(db, user_id)["budget_micros"] == 12_000_000


def test_blocks_and_revocations_overtake_every_other_push(db: Connection) -> None:
    later = [sign_up(db) for _ in range(2)]
    made = [synced_key(db, user_id) for user_id in later]
    earlier = [due_account(db) for _ in range(3)]
    let_pass(db, 60)
    by_owner(db, later[0], "block_virtual_key", key_id=made[0]["id"])
    by_owner(db, later[1], "revoke_virtual_key", key_id=made[1]["id"])
    assert set(claim_many(db, 2)) == {str(user_id) for user_id in later}
    assert set(claim_many(db)) == {str(user_id) for user_id in earlier}


def test_within_an_account_blocked_and_revoked_keys_come_first(db: Connection) -> None:
    user_id = sign_up(db)
    active, blocked, revoked = (synced_key(db, user_id) for _ in range(3))
    by_owner(db, user_id, "update_virtual_key", key_id=active["id"], max_budget=5)
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    by_owner(db, user_id, "revoke_virtual_key", key_id=revoked["id"])
    assert [one["state"] for one in claim(db, user_id)["keys"]] == ["blocked", "revoked", "active"]


def test_what_is_due_longest_is_claimed_first(db: Connection) -> None:
    in_order = []
    for _ in range(3):
        in_order.append(str(due_account(db)))
        let_pass(db, 1)
    assert [claim_many(db, 1), claim_many(db, 1), claim_many(db, 1)] == [[one] for one in in_order]


def test_an_account_is_claimed_before_its_time_by_nobody(db: Connection) -> None:
    user_id = due_account(db)
    fail(db, claim(db, user_id), "transient", p_retry_after_seconds=20)
    assert claim_many(db) == []
    let_pass(db, 21)
    assert claim_many(db) == [str(user_id)]


def test_an_account_may_be_pushed_right_away_though_it_is_due_later(db: Connection) -> None:
    user_id = due_account(db)
    fail(db, claim(db, user_id), "transient", p_retry_after_seconds=20)
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is not None


def test_nothing_is_claimed_while_the_breaker_is_open(db: Connection) -> None:
    user_id = due_account(db)
    for _ in range(3):
        by_service(db, "report_gateway", p_name="litellm", p_ok=False)
    assert claim_many(db) == []
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is None
    by_service(db, "report_gateway", p_name="litellm", p_ok=True)
    assert claim_many(db) == [str(user_id)]


def test_an_account_with_many_keys_is_pushed_in_portions_until_all_are_synced(db: Connection) -> None:
    user_id = sign_up(db)
    for _ in range(7):
        by_owner(db, user_id, "create_virtual_key")
    sizes = []
    while (
        push := by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60, p_key_limit=3)
    ) is not None:
        sizes.append(len(push["keys"]))
        finish(db, push)
    assert sizes == [3, 3, 1]
    done = account(db, user_id)
    assert done["revision"] == done["confirmed_revision"]
    assert value(db, "select count(*) from public.virtual_keys where sync_status = 'synced'") == 7


def test_a_released_account_is_due_at_once(db: Connection) -> None:
    user_id = due_account(db)
    push = claim(db, user_id)
    assert by_service(db, "release_push", p_account_id=user_id, p_token=push["token"]) is True
    assert account(db, user_id)["unsettled_until"] is None
    assert claim_many(db) == [str(user_id)]


def test_a_stale_release_releases_nothing(db: Connection) -> None:
    user_id = due_account(db)
    stale = claim(db, user_id)
    let_pass(db, 61)
    current = claim(db, user_id)
    assert by_service(db, "release_push", p_account_id=user_id, p_token=stale["token"]) is False
    assert str(account(db, user_id)["lease_token"]) == current["token"]


def test_a_claim_offers_live_keys_to_probe_with_and_tells_when_money_waits(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    credit(db, open_order(db, user_id))
    push = claim(db, user_id)
    assert (push["live_keys"], push["waits_for_effect"]) == (
        [{"key": made["litellm_key_id"], "models": []}],
        True,
    )


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_the_wallet_of_an_account_that_is_not_active_is_nothing(db: Connection, status: str) -> None:
    user_id = due_account(db)
    db.execute("update public.profiles set status = %s where id = %s", [status, user_id])
    assert claim(db, user_id)["budget_micros"] == 0


def test_suspending_an_account_makes_it_due(db: Connection) -> None:
    user_id = sign_up(db)
    synced_key(db, user_id)
    db.execute("update public.profiles set status = 'suspended' where id = %s", [user_id])
    assert claim_many(db) == [str(user_id)]


def test_after_a_confirmed_push_nothing_is_due(db: Connection) -> None:
    user_id = sign_up(db)
    synced_key(db, user_id)
    done = account(db, user_id)
    assert (done["next_attempt_at"], done["lease_token"], done["lease_expires_at"]) == (None, None, None)
    assert done["revision"] == done["confirmed_revision"]
    let_pass(db, 86_400)
    assert claim_many(db) == []
    make_due(db, user_id)
    assert finish(db, claim(db, user_id))
    assert row(db, "select count(*) as due from keyfund.pushes where next_attempt_at is not null") == {
        "due": 0
    }


def test_a_change_that_concerns_everybody_waits_for_those_who_are_due_by_themselves(db: Connection) -> None:
    crowd = [sign_up(db) for _ in range(3)]
    for user_id in crowd:
        synced_key(db, user_id)
    db.execute("update keyfund.settings set account_rpm_limit = 7")
    buyer, late, blocked = crowd[2], due_account(db), sign_up(db)
    append(db, buyer, 10)  # one of the crowd, for a reason of their own
    made = synced_key(db, blocked)
    by_owner(db, blocked, "block_virtual_key", key_id=made["id"])
    claimed = claim_many(db)
    assert claimed[0] == str(blocked)
    assert set(claimed[1:3]) == {str(buyer), str(late)}
    assert set(claimed[3:]) == {str(user_id) for user_id in crowd[:2]}


def test_who_was_due_already_is_not_put_back_by_it(db: Connection) -> None:
    early, patient = due_account(db), sign_up(db)
    synced_key(db, patient)
    finish(db, claim(db, early))
    append(db, early, 10)
    db.execute("update keyfund.settings set allowed_models = '{mock-small}'")
    assert claim_many(db) == [str(early), str(patient)]
