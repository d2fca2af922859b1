"""A key's cap holds over all of its strings: it is divided while two live, and what they spent adds up."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    append,
    by_owner,
    by_service,
    claim,
    finish,
    key,
    keys,
    let_pass,
    results,
    row,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection

ENDS = timedelta(days=9)
CAP = "select keyfund.cap_cents(k) from public.virtual_keys k where id = %s"


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def rotate(db: Connection, one: Row, overlap_seconds: int = 600) -> Row:
    """Returns the row of the former string."""
    by_owner(db, one["user_id"], "rotate_virtual_key", key_id=one["id"], overlap_seconds=overlap_seconds)
    (newest,) = [
        former for former in keys(db, one["user_id"]) if former["successor_id"] and former["uncounted"]
    ]
    return newest


def push(db: Connection, user_id: UUID) -> dict[str, Row]:
    """Push what is due as the worker does, where all goes well: a string that has to wait waits."""
    pushed = claim(db, user_id)
    for one, result in zip(pushed["keys"], told := results(pushed), strict=True):
        if one["previous_hash"] is not None and one["state"] == "active":
            result["outcome"] = "waits"
    assert finish(db, pushed, told)
    return {one["key_hash"]: one for one in pushed["keys"]}


def count(db: Connection, former: Row, spent_cents: int, *, blocked: bool = False, **shown: object) -> bool:
    """Tell what LiteLLM shows of the former string: its share as budget, unless something else is given."""
    arguments = {
        "p_key_hash": former["key_hash"],
        "p_is_there": True,
        "p_is_blocked": blocked,
        "p_budget_cents": key(db, former["id"])["share_cents"],
        "p_spent_cents": spent_cents,
        "p_resets_at": datetime.now(UTC) + ENDS,
    } | shown
    return bool(by_service(db, "count_share", **arguments))


def cap(db: Connection, one: Row) -> int | None:
    cents: int | None = value(db, CAP, one["id"])
    return cents


def see(db: Connection, one: Row, spend_cents: int) -> None:
    """What LiteLLM showed of a string when usage was last settled."""
    shown = {"key_hash": one["key_hash"], "spend_micros": spend_cents * 10_000}
    by_service(
        db,
        "record_key_spend",
        p_keys=Jsonb([shown | {"resets_at": (datetime.now(UTC) + ENDS).isoformat()}]),
    )


def settle(db: Connection, former: Row, spent_cents: int, *, blocked: bool = False) -> None:
    """Push, let the spend show, and count it."""
    push(db, former["user_id"])
    let_pass(db, 31)
    assert count(db, former, spent_cents, blocked=blocked)


def test_a_rotation_divides_what_is_left_and_the_new_string_waits_for_the_former_one(
    db: Connection, user_id: UUID
) -> None:
    one = synced_key(db, user_id, max_budget=500)
    see(db, one, 100)
    former = rotate(db, one)
    assert (former["share_cents"], cap(db, former)) == (300, 300)
    assert cap(db, one) == 200
    pushed = push(db, user_id)
    assert pushed[former["key_hash"]]["budget_cents"] == 300
    waiting = key(db, one["id"])
    assert (waiting["sync_status"], waiting["confirmed_at"]) == ("pending", None)
    assert waiting["last_error"].startswith("cap_is_counted:")
    assert key(db, former["id"])["sync_status"] == "synced"


def test_a_share_counts_only_some_seconds_after_litellm_confirmed_it(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one)
    let_pass(db, 60)
    assert by_service(db, "list_uncounted", p_limit=9) == []  # LiteLLM does not hold it to its share yet
    assert not count(db, former, 0)
    push(db, user_id)
    let_pass(db, 29)
    assert by_service(db, "list_uncounted", p_limit=9) == []
    assert not count(db, former, 0)
    let_pass(db, 2)
    assert by_service(db, "list_uncounted", p_limit=9) == [former["key_hash"]]
    assert count(db, former, 0)
    assert by_service(db, "list_uncounted", p_limit=9) == []
    new = push(db, user_id)[key(db, one["id"])["key_hash"]]
    assert (new["previous_hash"], new["budget_cents"]) == (None, 250)


def test_what_was_spent_beyond_the_share_before_it_held_is_taken_from_the_new_string(
    db: Connection, user_id: UUID
) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one)
    settle(db, former, 420)
    assert (cap(db, former), cap(db, one)) == (420, 80)


@pytest.mark.parametrize("shown", [{"p_budget_cents": 251}, {"p_budget_cents": None}])
def test_a_share_that_litellm_does_not_hold_is_not_counted(db: Connection, user_id: UUID, shown: Row) -> None:
    former = rotate(db, synced_key(db, user_id, max_budget=500))
    push(db, user_id)
    let_pass(db, 31)
    assert not count(db, former, 10, **shown)
    told = key(db, former["id"])
    assert (told["uncounted"], told["count_at"]) == (True, None)


def test_a_former_string_that_is_over_leaves_the_rest_to_the_new_one(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one)
    settle(db, former, 10)
    push(db, user_id)
    by_owner(db, user_id, "revoke_virtual_key", key_id=former["id"])
    push(db, user_id)
    assert cap(db, one) == 250  # its share stays taken until its spend is final
    let_pass(db, 31)
    assert not count(db, former, 60)  # LiteLLM shows it alive
    push_again(db, former)
    assert count(db, former, 60, blocked=True)
    assert cap(db, one) == 440
    assert push(db, user_id)[key(db, one["id"])["key_hash"]]["budget_cents"] == 440


def push_again(db: Connection, former: Row) -> None:
    """As after a comparison with LiteLLM found it otherwise."""
    account = row(db, "select * from keyfund.pushes where account_id = %s", former["user_id"])
    by_service(
        db,
        "mend_drift",
        p_account_id=former["user_id"],
        p_revision=account["revision"],
        p_key_hash=former["key_hash"],
    )
    push(db, former["user_id"])
    let_pass(db, 31)


def test_a_call_that_ran_on_after_the_block_is_counted_an_hour_later(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one, 0)
    settle(db, former, 60, blocked=True)
    let_pass(db, 3601)
    assert by_service(db, "list_uncounted", p_limit=9) == [former["key_hash"]]
    assert count(db, former, 90, blocked=True)
    assert cap(db, one) == 410
    assert by_service(db, "list_uncounted", p_limit=9) == []


def test_without_an_overlap_the_new_string_waits_until_the_old_one_s_spend_is_final(
    db: Connection, user_id: UUID
) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one, 0)
    assert push(db, user_id)[former["key_hash"]]["state"] == "revoked"
    assert key(db, one["id"])["confirmed_at"] is None
    let_pass(db, 31)
    assert count(db, former, 180, blocked=True)
    assert push(db, user_id)[key(db, one["id"])["key_hash"]]["budget_cents"] == 320


def test_rotations_of_a_period_add_up_and_end_with_it(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id, max_budget=500)
    for spent, left in ((100, 400), (150, 250)):
        settle(db, rotate(db, one, 0), spent, blocked=True)
        assert cap(db, one) == left
        push(db, user_id)
        assert key(db, one["id"])["sync_status"] == "synced"
    let_pass(db, ENDS.total_seconds() + 60)
    by_service(db, "retire_keys", p_limit=100)
    assert cap(db, one) == 250  # LiteLLM begins it anew some ten minutes late
    let_pass(db, 15 * 60)
    assert by_service(db, "retire_keys", p_limit=100) == 2
    assert cap(db, one) == 500
    assert push(db, user_id)[key(db, one["id"])["key_hash"]]["budget_cents"] == 500


def test_a_chain_of_rotations_never_gives_away_more_than_the_cap(db: Connection, user_id: UUID) -> None:
    """Each former string is revoked as soon as the next one works, before its spend is counted."""
    one = synced_key(db, user_id, max_budget=100)
    formers: list[Row] = []
    for _ in range(3):
        former = rotate(db, one)
        push(db, user_id)
        let_pass(db, 31)
        assert count(db, former, 0)
        push(db, user_id)
        assert sum(cap(db, other) or 0 for other in (one, former)) <= 100
        by_owner(db, user_id, "revoke_virtual_key", key_id=former["id"])
        push(db, user_id)
        formers.append(former)
        db.execute("update public.virtual_keys set uncounted = false, count_at = null")
    assert [key(db, former["id"])["share_cents"] for former in formers] == [50, 25, 12]
    assert cap(db, one) == 13


def test_a_string_waits_until_all_former_ones_are_counted(db: Connection, user_id: UUID) -> None:
    """A blocked key waits for nothing, so it can be rotated again before the first string is counted."""
    one = synced_key(db, user_id, max_budget=100)
    by_owner(db, user_id, "block_virtual_key", key_id=one["id"])
    push(db, user_id)
    first = rotate(db, one, 0)
    push(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=one["id"], overlap_seconds=0)
    (second,) = [row for row in keys(db, user_id) if row["successor_id"] and row["id"] != first["id"]]
    by_owner(db, user_id, "unblock_virtual_key", key_id=one["id"])
    push(db, user_id)
    let_pass(db, 31)
    assert count(db, second, 0, blocked=True)
    assert key(db, one["id"])["previous_hash"] is not None
    assert count(db, first, 90, blocked=True)
    assert key(db, one["id"])["previous_hash"] is None
    assert cap(db, one) == 10


def test_a_cap_that_is_changed_during_the_overlap_is_kept_by_both_strings_together(
    db: Connection, user_id: UUID
) -> None:
    one = synced_key(db, user_id, max_budget=500)
    former = rotate(db, one)
    settle(db, former, 0)
    for wanted, ours, theirs in ((1000, 750, 250), (100, 0, 100), (300, 50, 250)):
        by_owner(db, user_id, "update_virtual_key", key_id=one["id"], max_budget=wanted)
        assert (cap(db, one), cap(db, former)) == (ours, theirs)
        assert {pushed["budget_cents"] for pushed in push(db, user_id).values()} == {ours, theirs}


def test_a_cap_that_follows_the_wallet_is_not_divided(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=one["id"])
    (former,) = [other for other in keys(db, user_id) if other["successor_id"]]
    assert (former["share_cents"], former["uncounted"]) == (None, False)
    assert key(db, one["id"])["previous_hash"] is None
    append(db, user_id, 100)
    assert cap(db, one) == cap(db, former) == 1200


def test_a_ceiling_divides_also_a_cap_that_follows_the_wallet(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    one = synced_key(db, user_id)
    by_owner(db, admin, "limit_virtual_key", key_id=one["id"], reason="too much", max_budget=100)
    push(db, user_id)
    former = rotate(db, one)
    assert (cap(db, former), cap(db, one)) == (50, 50)
    settle(db, former, 50)
    by_owner(db, user_id, "revoke_virtual_key", key_id=former["id"])
    settle(db, former, 50, blocked=True)
    assert cap(db, one) == 50


def test_a_ceiling_above_the_wallet_leaves_both_strings_the_wallet(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    one = synced_key(db, user_id)
    by_owner(db, admin, "limit_virtual_key", key_id=one["id"], reason="too much", max_budget=100_000)
    former = rotate(db, one)
    assert (cap(db, former), cap(db, one)) == (1000, 1000)


def test_a_ceiling_that_comes_during_the_overlap_divides_and_one_that_goes_does_not(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    one = synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=one["id"])
    (former,) = [other for other in keys(db, user_id) if other["successor_id"]]
    push(db, user_id)
    by_owner(db, admin, "limit_virtual_key", key_id=one["id"], reason="too much", max_budget=100)
    assert {pushed["budget_cents"] for pushed in push(db, user_id).values()} == {50}
    let_pass(db, 31)
    assert count(db, former, 80)
    assert (cap(db, former), cap(db, one)) == (80, 20)
    by_owner(db, admin, "limit_virtual_key", key_id=one["id"], reason="it is fine")
    by_owner(db, user_id, "update_virtual_key", key_id=one["id"], cap="wallet")
    assert cap(db, former) == cap(db, one) == 1000


def test_a_string_that_waits_goes_on_when_its_cap_follows_the_wallet_instead(
    db: Connection, user_id: UUID
) -> None:
    one = synced_key(db, user_id, max_budget=500)
    rotate(db, one)
    push(db, user_id)
    by_owner(db, user_id, "update_virtual_key", key_id=one["id"], cap="wallet")
    assert push(db, user_id)[key(db, one["id"])["key_hash"]]["budget_cents"] == 1000


def test_a_former_string_that_litellm_lost_keeps_nobody_waiting(db: Connection, user_id: UUID) -> None:
    one = synced_key(db, user_id, max_budget=500)
    see(db, one, 70)
    former = rotate(db, one)
    pushed = claim(db, user_id)
    lost, waits = (
        results({"keys": [told]}, outcome, **more)[0]
        for told, outcome, more in zip(
            sorted(pushed["keys"], key=lambda told: told["previous_hash"] is not None),
            ("refused", "waits"),
            ({"error": "litellm_key_vanished: gone"}, {}),
            strict=True,
        )
    )
    assert finish(db, pushed, [lost, waits])
    assert by_service(db, "list_uncounted", p_limit=9) == [former["key_hash"]]
    assert count(db, former, 0, p_is_there=False)
    assert cap(db, one) == 430
    claimed = [told for told in claim(db, user_id)["keys"] if told["id"] == str(one["id"])]
    assert [told["previous_hash"] for told in claimed] == [None]


def test_while_litellm_is_away_nothing_is_counted(db: Connection, user_id: UUID) -> None:
    rotate(db, synced_key(db, user_id, max_budget=500))
    push(db, user_id)
    let_pass(db, 31)
    db.execute("update keyfund.gateways set opened_at = now() where name = 'litellm'")
    assert by_service(db, "list_uncounted", p_limit=9) == []
