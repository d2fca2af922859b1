"""How a push ends: finished, failed, too late, or overtaken by a change."""

from uuid import UUID

import psycopg
import pytest

from tests.sql.acting import (
    Row,
    account,
    append,
    by_owner,
    by_service,
    claim,
    credit,
    fail,
    finish,
    key,
    let_pass,
    make_due,
    open_order,
    payment,
    results,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


def pending_key(db: Connection, user_id: UUID, **limits: object) -> UUID:
    made = by_owner(db, user_id, "create_virtual_key", **limits)
    assert isinstance(made["id"], UUID)
    return made["id"]


def is_synced(db: Connection, user_id: UUID) -> bool:
    held = account(db, user_id)
    return bool(held["revision"] == held["confirmed_revision"])


# --- finish -------------------------------------------------------------------------------------------------


def test_a_finished_push_leaves_account_and_keys_synced(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    assert finish(db, claim(db, user_id))
    after = key(db, key_id)
    assert (after["sync_status"], after["last_error"], after["next_attempt_at"]) == ("synced", None, None)
    assert after["last_synced_at"] is not None
    assert after["confirmed_at"] is not None
    assert is_synced(db, user_id)


def test_what_changed_while_it_was_pushed_stays_pending_and_is_pushed_again(
    db: Connection, user_id: UUID
) -> None:
    key_id = pending_key(db, user_id)
    push = claim(db, user_id)
    by_owner(db, user_id, "update_virtual_key", key_id=key_id, max_budget=5)
    assert finish(db, push)
    assert key(db, key_id)["sync_status"] == "pending"
    assert not is_synced(db, user_id)
    again = claim(db, user_id)
    assert [(one["budget_cents"], one["confirmed"]) for one in again["keys"]] == [(5, True)]
    finish(db, again)
    assert key(db, key_id)["sync_status"] == "synced"
    assert is_synced(db, user_id)


def test_a_purchase_during_a_push_is_pushed_afterwards(db: Connection, user_id: UUID) -> None:
    fixed = synced_key(db, user_id, max_budget=5)
    make_due(db, user_id)
    push = claim(db, user_id)
    append(db, user_id, 100, "purchase")
    finish(db, push)
    assert key(db, fixed["id"])["sync_status"] == "pending"
    again = claim(db, user_id)
    assert again["budget_micros"] == 12_000_000
    finish(db, again)
    assert key(db, fixed["id"])["sync_status"] == "synced"


def test_a_key_that_the_push_did_not_come_to_stays_outstanding(db: Connection, user_id: UUID) -> None:
    first, second = pending_key(db, user_id), pending_key(db, user_id)
    push = claim(db, user_id)
    finish(db, push, [one for one in results(push) if one["id"] == str(first)])
    assert (key(db, first)["sync_status"], key(db, second)["sync_status"]) == ("synced", "pending")
    assert not is_synced(db, user_id)
    assert [one["id"] for one in claim(db, user_id)["keys"]] == [str(second)]


def test_results_of_another_account_s_keys_are_not_believed(db: Connection, user_id: UUID) -> None:
    stranger = sign_up(db)
    theirs = pending_key(db, stranger)
    pending_key(db, user_id)
    push = claim(db, user_id)
    row = key(db, theirs)
    told = {"id": str(theirs), "key_hash": row["key_hash"], "revision": row["revision"], "outcome": "synced"}
    finish(db, push, [told])
    assert key(db, theirs)["sync_status"] == "pending"


# --- stale tokens -------------------------------------------------------------------------------------------


def stale_push(db: Connection, user_id: UUID) -> tuple[Row, Row]:
    """A push whose lease ran out, and the one that followed it."""
    late = claim(db, user_id)
    let_pass(db, 61)
    return late, claim(db, user_id)


@pytest.mark.parametrize("ending", ["finish", "fail", "observe"])
def test_a_late_process_cannot_close_what_another_now_owns(
    db: Connection, user_id: UUID, ending: str
) -> None:
    key_id = pending_key(db, user_id)
    late, current = stale_push(db, user_id)
    before = account(db, user_id)
    if ending == "finish":
        assert finish(db, late, spend_micros=50_000) is False
    elif ending == "fail":
        assert fail(db, late, "refused") is False
    else:
        observed = by_service(
            db,
            "observe_spend",
            p_account_id=user_id,
            p_token=late["token"],
            p_spend_micros=50_000,
            p_user_is_missing=False,
        )
        assert observed["verdict"] == "lease_lost"
    after = account(db, user_id)
    assert (str(after["lease_token"]), after["confirmed_revision"]) == (current["token"], 0)
    assert (after["refusals"], after["seen_micros"]) == (before["refusals"], 0)
    assert key(db, key_id)["sync_status"] == "pending"


def test_after_a_late_process_everything_is_read_again(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    late, current = stale_push(db, user_id)
    let_pass(db, 31)  # the holder before is long settled
    finish(db, current)
    assert key(db, key_id)["sync_status"] == "synced"
    assert finish(db, late) is False
    assert key(db, key_id)["sync_status"] == "pending"
    assert not is_synced(db, user_id)
    let_pass(db, 31)
    again = claim(db, user_id)
    assert [one["id"] for one in again["keys"]] == [str(key_id)]
    finish(db, again)
    assert key(db, key_id)["sync_status"] == "synced"
    assert is_synced(db, user_id)


def test_a_holder_whose_lease_a_late_process_disturbed_is_not_believed_yet(
    db: Connection, user_id: UUID
) -> None:
    key_id = pending_key(db, user_id)
    late, current = stale_push(db, user_id)
    let_pass(db, 31)
    finish(db, late)
    assert finish(db, current) is True
    assert key(db, key_id)["sync_status"] == "pending"
    let_pass(db, 31)
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"


def test_finishing_twice_is_believed_once(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    push = claim(db, user_id)
    assert finish(db, push, spend_micros=50_000) is True
    assert finish(db, push, spend_micros=50_000) is False
    assert value(db, "select count(*) from public.credit_ledger where kind = 'usage'") == 1


def test_no_token_holds_no_lease(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    assert fail(db, {"user_id": user_id, "token": None}, "transient") is False


# --- refusals park ------------------------------------------------------------------------------------------


def refuse_key(db: Connection, user_id: UUID) -> None:
    push = claim(db, user_id)
    finish(db, push, results(push, "refused", error="litellm_refused: No."))
    let_pass(db, 120)


def test_a_key_that_is_refused_five_times_waits_for_a_person(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for count in range(1, 6):
        refuse_key(db, user_id)
        after = key(db, key_id)
        assert (after["sync_status"], after["refusals"]) == ("failed", count)
        assert after["last_error"] == "litellm_refused: No."
        assert (after["next_attempt_at"] is None) is (count == 5)
    assert account(db, user_id)["next_attempt_at"] is None
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is None
    assert by_service(db, "heal_accounts")["strays"] == 0
    by_owner(db, user_id, "resync_virtual_key", key_id=key_id)
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"


def test_a_parked_key_does_not_hold_up_its_sisters(db: Connection, user_id: UUID) -> None:
    parked = pending_key(db, user_id)
    for _ in range(5):
        refuse_key(db, user_id)
    sister = pending_key(db, user_id)
    push = claim(db, user_id)
    assert [one["id"] for one in push["keys"]] == [str(sister)]
    finish(db, push)
    assert (key(db, sister)["sync_status"], key(db, parked)["sync_status"]) == ("synced", "failed")


def test_a_changed_key_is_not_parked_any_more(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for _ in range(5):
        refuse_key(db, user_id)
    changed = by_owner(db, user_id, "update_virtual_key", key_id=key_id, max_budget=5)
    assert (changed["sync_status"], changed["refusals"]) == ("pending", 0)
    assert len(claim(db, user_id)["keys"]) == 1


def test_a_wallet_that_is_refused_five_times_waits_for_a_person(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for count in range(1, 6):
        assert fail(db, claim(db, user_id), "refused")
        let_pass(db, 120)
        after = key(db, key_id)
        assert (after["sync_status"], after["last_error"]) == ("failed", "litellm_refused: It did not work.")
        assert (account(db, user_id)["next_attempt_at"] is None) is (count == 5)
        assert (after["next_attempt_at"] is None) is (count == 5)
    assert by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60) is None
    assert by_service(db, "heal_accounts")["strays"] == 0
    by_owner(db, user_id, "resync_virtual_key", key_id=key_id)
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"
    assert is_synced(db, user_id)


def test_what_is_parked_is_counted_and_does_not_age_the_backlog(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    for _ in range(4):
        refuse_key(db, user_id)
    waiting = by_service(db, "read_status")
    assert waiting["parked"] == 0
    assert waiting["oldest_seconds"] >= 480
    refuse_key(db, user_id)
    parked = by_service(db, "read_status")
    assert (parked["parked"], parked["keys"], parked["oldest_seconds"]) == (1, 1, 0)
    other = sign_up(db)
    pending_key(db, other)
    for _ in range(5):
        fail(db, claim(db, other), "refused")
        let_pass(db, 120)
    parked = by_service(db, "read_status")
    assert (parked["parked"], parked["oldest_seconds"]) == (2, 0)
    let_pass(db, 86_400)
    credit(db, open_order(db, user_id))  # due again: since now, not since its key was parked
    assert by_service(db, "read_status")["oldest_seconds"] == 0


def test_a_parked_account_is_due_again_with_its_next_change(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for _ in range(5):
        fail(db, claim(db, user_id), "refused")
        let_pass(db, 120)
    append(db, user_id, 100, "purchase")
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"


def test_a_refused_wallet_is_no_sign_that_litellm_is_away(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    for _ in range(4):
        fail(db, claim(db, user_id), "refused")
        let_pass(db, 120)
    assert value(db, "select failures from keyfund.gateways where name = 'litellm'") == 0


# --- outages never park -------------------------------------------------------------------------------------


def test_an_account_that_litellm_cannot_be_reached_for_is_never_parked(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for _ in range(20):
        db.execute("update keyfund.gateways set failures = 0 where true")  # the breaker has tests of its own
        fail(db, claim(db, user_id), "transient")
        waits = value(db, "select extract(epoch from next_attempt_at - now()) from keyfund.pushes")
        assert 0 < waits <= 60
        assert key(db, key_id)["next_attempt_at"] is not None
        let_pass(db, 61)
    assert account(db, user_id)["refusals"] == 0
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"


def test_a_key_that_litellm_has_no_time_for_is_never_parked(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    for _ in range(20):
        push = claim(db, user_id)
        finish(db, push, results(push, "transient", error="litellm_busy: Later."))
        after = key(db, key_id)
        assert (after["sync_status"], after["refusals"]) == ("failed", 0)
        waits = value(db, "select extract(epoch from next_attempt_at - now()) from public.virtual_keys")
        assert 0 < waits <= 60
        let_pass(db, 61)
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"


def test_no_retry_waits_longer_than_a_minute_whatever_litellm_asks_for(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    fail(db, claim(db, user_id), "transient", p_retry_after_seconds=86_400)
    assert value(db, "select extract(epoch from next_attempt_at - now()) from keyfund.pushes") <= 60


def test_a_first_failure_is_tried_again_within_seconds(db: Connection, user_id: UUID) -> None:
    key_id = pending_key(db, user_id)
    fail(db, claim(db, user_id), "transient")
    waits = "select extract(epoch from next_attempt_at - now()) from"
    assert value(db, f"{waits} keyfund.pushes") <= 2
    let_pass(db, 3)
    push = claim(db, user_id)
    finish(db, push, results(push, "transient", error="litellm_busy: Later."))
    assert key(db, key_id)["sync_status"] == "failed"
    assert value(db, f"{waits} public.virtual_keys") <= 2


def test_a_block_during_a_push_that_fails_does_not_wait_for_the_next_turn(
    db: Connection, user_id: UUID
) -> None:
    made = synced_key(db, user_id)
    make_due(db, user_id)
    push = claim(db, user_id)
    by_owner(db, user_id, "block_virtual_key", key_id=made["id"])
    fail(db, push, "transient", p_retry_after_seconds=60)
    due = by_service(db, "claim_pushes", p_limit=1, p_lease_seconds=60)
    assert [one["state"] for one in due["keys"]] == ["blocked"]


def test_a_failure_of_no_kind_is_a_bug(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    push = claim(db, user_id)
    with pytest.raises(psycopg.errors.RaiseException, match="unknown kind"):
        fail(db, push, "odd")


def test_keys_that_were_blocked_before_the_wallet_failed_are_confirmed(db: Connection, user_id: UUID) -> None:
    blocked = synced_key(db, user_id)
    other = pending_key(db, user_id)
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    push = claim(db, user_id)
    done = [one for one in results(push) if one["id"] == str(blocked["id"])]
    fail(db, push, "transient", p_keys=psycopg.types.json.Jsonb(done))
    assert (key(db, blocked["id"])["sync_status"], key(db, other)["sync_status"]) == ("synced", "failed")


# --- unknown outcomes ---------------------------------------------------------------------------------------


def test_after_an_unknown_outcome_a_key_counts_as_synced_only_when_read_30_seconds_later(
    db: Connection, user_id: UUID
) -> None:
    key_id = pending_key(db, user_id)
    push = claim(db, user_id)
    finish(db, push, results(push, "unknown", error="litellm_timeout: No answer."))
    let_pass(db, 29)
    make_due(db, user_id)
    db.execute("update public.virtual_keys set next_attempt_at = now() where true")
    finish(db, claim(db, user_id))
    early = key(db, key_id)
    assert early["sync_status"] == "pending"
    assert early["last_error"].startswith("unsettled:")
    assert early["confirmed_at"] is not None
    assert not is_synced(db, user_id)
    let_pass(db, 2)
    finish(db, claim(db, user_id))
    assert key(db, key_id)["sync_status"] == "synced"
    assert is_synced(db, user_id)


def test_after_an_unknown_outcome_of_the_wallet_nothing_counts_as_synced_for_30_seconds(
    db: Connection, user_id: UUID
) -> None:
    key_id = pending_key(db, user_id)
    credit(db, order := open_order(db, user_id))
    fail(db, claim(db, user_id), "unknown")
    let_pass(db, 29)
    make_due(db, user_id)
    db.execute("update public.virtual_keys set next_attempt_at = now() where true")
    finish(db, claim(db, user_id), p_effective="yes")
    assert key(db, key_id)["sync_status"] == "pending"
    assert payment(db, order["reference"])["pushed_at"] is None
    assert not is_synced(db, user_id)
    let_pass(db, 2)
    finish(db, claim(db, user_id), p_effective="yes")
    assert key(db, key_id)["sync_status"] == "synced"
    assert payment(db, order["reference"])["pushed_at"] is not None
    assert is_synced(db, user_id)


def test_an_unsettled_account_is_due_when_it_settles(db: Connection, user_id: UUID) -> None:
    pending_key(db, user_id)
    push = claim(db, user_id)
    finish(db, push, results(push, "unknown"))
    waits = value(db, "select extract(epoch from next_attempt_at - now()) from keyfund.pushes")
    assert 29 < waits <= 30


# --- payments on their way ----------------------------------------------------------------------------------


def test_a_payment_is_pushed_and_effective_with_the_push_that_shows_it(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id)
    credit(db, order := open_order(db, user_id))
    push = claim(db, user_id)
    assert push["waits_for_effect"] is True
    finish(db, push, p_effective="yes")
    done = payment(db, order["reference"])
    assert done["credited_at"] <= done["pushed_at"] <= done["effective_at"]
    assert account(db, user_id)["next_attempt_at"] is None


def test_a_payment_that_came_during_a_push_is_not_shown_by_it(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id)
    make_due(db, user_id)
    push = claim(db, user_id)
    credit(db, order := open_order(db, user_id))
    finish(db, push, p_effective="yes")
    assert payment(db, order["reference"])["pushed_at"] is None
    finish(db, claim(db, user_id), p_effective="yes")
    assert payment(db, order["reference"])["effective_at"] is not None


def test_a_payment_becomes_effective_only_when_litellm_s_cache_has_run_out(
    db: Connection, user_id: UUID
) -> None:
    synced_key(db, user_id)
    credit(db, order := open_order(db, user_id))
    finish(db, claim(db, user_id), p_effective="yes", p_cache_seconds=60)
    assert payment(db, order["reference"])["effective_at"] is None
    waits = value(db, "select extract(epoch from next_attempt_at - now()) from keyfund.pushes")
    assert 59 < waits <= 60
    let_pass(db, 61)
    finish(db, claim(db, user_id), p_effective="yes", p_cache_seconds=60)
    assert payment(db, order["reference"])["effective_at"] is not None


def test_a_payment_is_looked_at_again_while_its_wallet_is_refused(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id)
    credit(db, order := open_order(db, user_id))
    finish(db, claim(db, user_id), p_effective="no")
    done = payment(db, order["reference"])
    assert (done["pushed_at"] is None, done["effective_at"]) == (False, None)
    assert account(db, user_id)["next_attempt_at"] is not None
    let_pass(db, 5)
    finish(db, claim(db, user_id), p_effective="yes")
    assert payment(db, order["reference"])["effective_at"] is not None


def test_a_payment_that_went_into_debt_is_not_asked_about_for_ever(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id)
    credit(db, open_order(db, user_id))
    finish(db, claim(db, user_id), p_effective="exhausted")
    assert account(db, user_id)["next_attempt_at"] is None


# --- keys of a user that vanished ---------------------------------------------------------------------------


def test_a_recheck_makes_live_keys_outstanding_and_leaves_blocked_ones_blocked(
    db: Connection, user_id: UUID
) -> None:
    live, blocked = synced_key(db, user_id), synced_key(db, user_id)
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    finish(db, claim(db, user_id))
    make_due(db, user_id)
    push = claim(db, user_id)
    hashes = by_service(db, "recheck_keys", p_account_id=user_id, p_token=push["token"])
    assert hashes == [live["key_hash"]]
    finish(db, push, [])
    assert [one["id"] for one in claim(db, user_id)["keys"]] == [str(live["id"])]
    assert key(db, blocked["id"])["sync_status"] == "synced"
