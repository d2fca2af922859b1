"""What administrators have pushed again, anybody's key or everything that failed, and what they are shown."""

from threading import Thread
from uuid import UUID, uuid4

import pytest

from tests.sql.acting import (
    Row,
    account,
    at_once,
    by_owner,
    claim,
    fail,
    finish,
    key,
    make_due,
    refused,
    results,
    sign_up,
    synced_key,
    value,
    wait_until_blocked,
)
from tests.support import Connection, Database

SECRET = ("litellm_key_id", "key_hash", "key_preview")


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def resync(db: Connection, who: UUID, **arguments: object) -> Row:
    answer: Row = by_owner(db, who, "resync_failed", **arguments)
    return answer


def progress(db: Connection, who: UUID) -> Row:
    answer: Row = by_owner(db, who, "read_resync")
    return answer


def outstanding(told: Row) -> tuple[int, int, int]:
    return told["outstanding_accounts"], told["outstanding_keys"], told["failing_accounts"]


def failed_key(db: Connection, times: int = 1) -> Row:
    """A key that LiteLLM refused so often; five times parks it."""
    user_id = sign_up(db)
    made = by_owner(db, user_id, "create_virtual_key")
    for _ in range(times):
        db.execute("update public.virtual_keys set next_attempt_at = now() where id = %s", [made["id"]])
        db.execute("update keyfund.pushes set next_attempt_at = now() where account_id = %s", [user_id])
        push = claim(db, user_id)
        finish(db, push, results(push, "refused", error="litellm_refused: No."))
    return key(db, made["id"])


def parked_wallet(db: Connection) -> UUID:
    """An account without a key whose wallet LiteLLM refused five times."""
    user_id = sign_up(db)
    make_due(db, user_id)
    for _ in range(5):
        db.execute("update keyfund.pushes set next_attempt_at = now() where account_id = %s", [user_id])
        fail(db, claim(db, user_id), "refused")
    assert account(db, user_id)["next_attempt_at"] is None
    return user_id


def push_well(db: Connection, user_id: UUID) -> None:
    assert finish(db, claim(db, user_id))


# --- one key ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("read_key", {"key_id": uuid4()}),
        ("resync_any_key", {"key_id": uuid4()}),
        ("list_failing_keys", {}),
        ("resync_failed", {}),
        ("read_resync", {}),
    ],
)
def test_nobody_else_may(db: Connection, function: str, arguments: Row) -> None:
    with refused(403, "not_an_administrator"):
        by_owner(db, sign_up(db), function, **arguments)


def test_an_administrator_has_a_stranger_s_key_compared_again_and_never_sees_it(
    db: Connection, administrator: UUID
) -> None:
    owner = sign_up(db)
    made = synced_key(db, owner)
    before = account(db, owner)["revision"]
    told = by_owner(db, administrator, "resync_any_key", key_id=made["id"])
    assert (told["id"], told["user_id"]) == (str(made["id"]), str(owner))
    assert (told["sync_status"], key(db, made["id"])["sync_status"]) == ("pending", "pending")
    assert account(db, owner)["revision"] == before + 1
    assert [one["id"] for one in claim(db, owner)["keys"]] == [str(made["id"])]
    shown = by_owner(db, administrator, "read_key", key_id=made["id"])
    for row in (told, shown):
        assert not set(SECRET) & set(row)
        assert not [name for name in SECRET if made[name] in str(row)]


def test_a_parked_key_is_due_again(db: Connection, administrator: UUID) -> None:
    parked = failed_key(db, times=5)
    assert parked["next_attempt_at"] is None
    told = by_owner(db, administrator, "resync_any_key", key_id=parked["id"])
    assert (told["sync_status"], told["last_error"]) == ("pending", None)
    assert told["next_attempt_at"]
    push_well(db, parked["user_id"])
    assert by_owner(db, administrator, "read_key", key_id=parked["id"])["sync_status"] == "synced"


@pytest.mark.parametrize("function", ["read_key", "resync_any_key"])
def test_no_key_and_a_placeholder_are_answered_alike(
    db: Connection, administrator: UUID, function: str
) -> None:
    user_id = sign_up(db)
    placeholder = value(db, "select id from public.virtual_keys where user_id = %s", user_id)
    for key_id in (uuid4(), placeholder):
        with refused(404, "key_not_found"):
            by_owner(db, administrator, function, key_id=key_id)


def test_a_resync_waits_for_the_profile_before_it_holds_the_account(
    database: Database, db: Connection, administrator: UUID
) -> None:
    """A push that ends holds the profile when it takes the account."""
    made = synced_key(db, sign_up(db))
    with database.connect() as holder, database.connect() as waiter:
        with holder.transaction():
            holder.execute("select from public.profiles where id = %s for update", [made["user_id"]])
            arguments = {"key_id": made["id"]}
            late = Thread(target=by_owner, args=[waiter, administrator, "resync_any_key"], kwargs=arguments)
            late.start()
            wait_until_blocked(db)
            lock = "select from keyfund.pushes where account_id = %s for update nowait"
            db.execute(lock, [made["user_id"]])
            db.execute("select from public.virtual_keys where id = %s for update nowait", [made["id"]])
        late.join(timeout=30)


# --- what fails ---------------------------------------------------------------------------------------------


def test_failing_keys_of_everybody_are_listed_page_by_page(db: Connection, administrator: UUID) -> None:
    failing = {str(failed_key(db)["id"]) for _ in range(5)}
    synced_key(db, sign_up(db))
    by_owner(db, sign_up(db), "create_virtual_key")  # pending
    seen: list[str] = []
    after = None
    while page := by_owner(db, administrator, "list_failing_keys", after_key=after, page_size=2):
        assert len(page) <= 2
        assert not [row for row in page if set(SECRET) & set(row)]
        assert {row["sync_status"] for row in page} == {"failed"}
        after = page[-1]["id"]
        seen += [row["id"] for row in page]
        # What was shown may be mended meanwhile: the next page goes on all the same.
        by_owner(db, administrator, "resync_any_key", key_id=after)
    assert (len(seen), set(seen)) == (5, failing)


# --- everything ---------------------------------------------------------------------------------------------


def test_all_that_failed_or_is_parked_is_due_and_what_is_well_is_left_alone(
    db: Connection, administrator: UUID
) -> None:
    keys = [failed_key(db), failed_key(db, times=5)]
    wallet = parked_wallet(db)
    away = sign_up(db)
    make_due(db, away)
    fail(db, claim(db, away), "transient", p_retry_after_seconds=50)
    well = synced_key(db, sign_up(db))
    revision = account(db, well["user_id"])["revision"]
    told = resync(db, administrator)
    assert (told["accounts"], told["keys"]) == (4, 2)
    assert outstanding(progress(db, administrator)) == (4, 2, 0)
    assert told["ended_at"]
    assert account(db, well["user_id"])["revision"] == revision
    for user_id in (wallet, away, *(one["user_id"] for one in keys)):
        assert account(db, user_id)["next_attempt_at"]
        push_well(db, user_id)
    assert outstanding(progress(db, administrator)) == (0, 0, 0)
    assert [key(db, one["id"])["sync_status"] for one in keys] == ["synced", "synced"]


def test_progress_tells_what_is_outstanding_and_what_failed_again(
    db: Connection, administrator: UUID
) -> None:
    mended, stubborn, wallet = failed_key(db, times=5), failed_key(db, times=5), parked_wallet(db)
    resync(db, administrator)
    assert outstanding(progress(db, administrator)) == (3, 2, 0)
    push_well(db, mended["user_id"])
    assert outstanding(progress(db, administrator)) == (2, 1, 0)
    push = claim(db, stubborn["user_id"])
    finish(db, push, results(push, "refused", error="litellm_refused: No."))
    assert outstanding(progress(db, administrator)) == (2, 1, 1)
    push_well(db, wallet)
    told = progress(db, administrator)
    assert (told["accounts"], told["keys"], outstanding(told)) == (3, 2, (1, 1, 1))


def test_a_later_change_of_a_key_does_not_bring_it_back_into_the_count(
    db: Connection, administrator: UUID
) -> None:
    one = failed_key(db, times=5)
    resync(db, administrator)
    push_well(db, one["user_id"])
    by_owner(db, one["user_id"], "update_virtual_key", key_id=one["id"], rpm_limit=7)
    assert outstanding(progress(db, administrator)) == (0, 0, 0)


def test_before_the_first_there_is_nothing_to_tell(db: Connection, administrator: UUID) -> None:
    told = progress(db, administrator)
    assert (told["id"], told["started_at"], told["accounts"], outstanding(told)) == (None, None, 0, (0, 0, 0))


def test_batches_are_bounded_and_each_account_comes_once(db: Connection, administrator: UUID) -> None:
    """Even where a worker is so quick that what was made due has failed again before the next batch."""
    failing = [failed_key(db, times=5) for _ in range(5)]
    told = resync(db, administrator, batch_size=2)
    assert (told["accounts"], told["ended_at"]) == (2, None)
    by_id = {one["user_id"]: one for one in failing}
    again = [user_id for user_id in by_id if account(db, user_id)["next_attempt_at"]]
    for user_id in again:
        push = claim(db, user_id)
        finish(db, push, results(push, "refused", error="litellm_refused: No."))
    for _ in range(5):
        told = resync(db, administrator, resync_id=told["id"], batch_size=2)
    assert (told["accounts"], told["keys"]) == (5, 5)
    assert told["ended_at"]
    assert outstanding(progress(db, administrator)) == (5, 5, 2)


def test_one_that_stood_still_is_joined_within_a_minute_and_begun_anew_later(
    db: Connection, administrator: UUID
) -> None:
    for _ in range(3):
        failed_key(db)
    first = resync(db, administrator, batch_size=1)
    assert resync(db, administrator, batch_size=1)["id"] == first["id"]
    db.execute("update keyfund.resyncs set continued_at = now() - interval '2 minutes' where true")
    second = resync(db, administrator)
    assert second["id"] != first["id"]
    assert (second["accounts"], second["keys"]) == (1, 1)
    with refused(404, "resync_not_found"):
        resync(db, administrator, resync_id=10**6)


def test_two_services_at_once_share_one_resync(
    database: Database, db: Connection, administrator: UUID
) -> None:
    failing = [failed_key(db) for _ in range(6)]
    begun = at_once(database, 2, lambda own, _: resync(own, administrator, batch_size=1))
    assert begun[0]["id"] == begun[1]["id"]

    def carry_on(connection: Connection, number: int) -> None:
        told = begun[number]
        while told["ended_at"] is None:
            told = resync(connection, administrator, resync_id=told["id"], batch_size=1)

    at_once(database, 2, carry_on)
    final = progress(db, administrator)
    assert (final["accounts"], final["keys"]) == (len(failing), len(failing))


def test_a_batch_waits_for_no_account_while_it_holds_another(
    database: Database, db: Connection, administrator: UUID
) -> None:
    first, second = sorted(failed_key(db)["user_id"] for _ in range(2))
    with database.connect() as holder, holder.transaction():
        holder.execute("select from keyfund.pushes where account_id = %s for update", [second])
        db.execute("set lock_timeout = '2s'")
        told = resync(db, administrator)
        assert (told["accounts"], told["ended_at"]) == (1, None)
        assert account(db, first)["attempts"] == 0
    told = resync(db, administrator, resync_id=told["id"])
    assert (told["accounts"], bool(told["ended_at"])) == (2, True)
