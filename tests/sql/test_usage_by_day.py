"""The rollup of usage: what LiteLLM told is kept, never lowered, and shown to those whom it concerns."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    account,
    at_once,
    by_owner,
    by_service,
    claim,
    delete_user,
    finish,
    key,
    ledger,
    let_pass,
    make_due,
    profile,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database

FIGURES = ("requests", "prompt_tokens", "completion_tokens", "spend_micros")
FAR = timedelta(days=3650)


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def today(db: Connection) -> date:
    found: date = value(db, "select keyfund.today()")
    return found


def day(
    when: date, model: str = "mock-small", key_hash: str = "", spend: int = 100, requests: int = 1
) -> Row:
    return {
        "day": when.isoformat(),
        "model": model,
        "key_hash": key_hash,
        "requests": requests,
        "prompt_tokens": 8 * requests,
        "completion_tokens": 20 * requests,
        "spend_micros": spend,
    }


def record(db: Connection, user_id: UUID, *days: Row, **other: Any) -> bool:
    """Report these days as LiteLLM told them just now, of the last month unless told otherwise."""
    arguments = {
        "p_account_id": user_id,
        "p_from": today(db) - timedelta(days=30),
        "p_until": today(db),
        "p_days": Jsonb(list(days)),
        "p_asked_at": datetime.now(UTC),
    } | other
    return bool(by_service(db, "record_usage", **arguments))


def read(db: Connection, user_id: UUID, **asked: object) -> Row:
    told: Row = by_owner(db, user_id, "read_usage", **asked)
    return told


def shown(told: Row, part: str = "days") -> dict[Any, int]:
    names = ("date", "model") if part == "days" else ("name",)
    return {tuple(row[name] for name in names): row["spend_micros"] for row in told[part]}


def spend(db: Connection, user_id: UUID, micros: int) -> None:
    """A push that finds this spend on the user row."""
    make_due(db, user_id)
    assert finish(db, claim(db, user_id), spend_micros=micros)


def claim_all(db: Connection) -> list[Row]:
    claimed: list[Row] = by_service(db, "claim_rollups", p_limit=100, p_lease_seconds=60)
    return claimed


# --- what is kept -------------------------------------------------------------------------------------------


def test_days_are_told_by_model_and_by_key_and_add_up(db: Connection, user_id: UUID) -> None:
    now = today(db)
    laptop, server = synced_key(db, user_id, name="laptop"), synced_key(db, user_id, name="server")
    assert record(
        db,
        user_id,
        day(now, key_hash=laptop["key_hash"], spend=10),
        day(now, key_hash=server["key_hash"], spend=200),
        day(now, "mock-large", laptop["key_hash"], spend=3000),
        day(now - timedelta(days=1), key_hash="of-nobody-here", spend=40_000),
        day(now - timedelta(days=1), spend=500_000),
    )
    told = read(db, user_id)
    yesterday = str(now - timedelta(days=1))
    assert shown(told) == {
        (yesterday, "mock-small"): 540_000,
        (str(now), "mock-large"): 3000,
        (str(now), "mock-small"): 210,
    }
    assert shown(told, "keys") == {("Other keys",): 540_000, ("laptop",): 3010, ("server",): 200}
    assert {row["name"]: row["key_id"] for row in told["keys"]}["laptop"] == str(laptop["id"])
    assert shown(read(db, user_id, model="mock-large")) == {(str(now), "mock-large"): 3000}
    assert shown(read(db, user_id, key_id=server["id"])) == {(str(now), "mock-small"): 200}
    assert shown(read(db, user_id, end_date=now - timedelta(days=1))) == {(yesterday, "mock-small"): 540_000}
    assert sum(row["spend_micros"] for row in read(db, user_id, by_key=True)["rows"]) == 543_210
    assert told["rows"] is None


def test_the_same_answer_again_changes_nothing(db: Connection, user_id: UUID) -> None:
    told = day(today(db))
    assert record(db, user_id, told)
    assert not record(db, user_id, told)
    assert record(db, user_id, told | {"completion_tokens": 21})


def test_a_day_is_never_lowered_by_an_answer_that_shows_less_of_it(db: Connection, user_id: UUID) -> None:
    """As after LiteLLM was replaced by an empty one: its history stays here."""
    now = today(db)
    record(db, user_id, day(now - timedelta(days=3), spend=700), day(now, spend=900, requests=9))
    assert not record(db, user_id)
    assert not record(db, user_id, day(now, spend=50, requests=2))
    assert shown(read(db, user_id)) == {
        (str(now - timedelta(days=3)), "mock-small"): 700,
        (str(now), "mock-small"): 900,
    }


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=1, max_size=6))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
def test_in_whatever_order_answers_come_the_largest_of_each_figure_stays(
    db: Connection, answers: list[tuple[int, ...]]
) -> None:
    user_id, now = sign_up(db), today(db)
    for answer in answers:
        record(db, user_id, day(now) | dict(zip(FIGURES, answer, strict=True)))
    (kept,) = rows(db, "select * from keyfund.usage_by_day where account_id = %s", user_id)
    assert tuple(kept[name] for name in FIGURES) == tuple(map(max, zip(*answers, strict=True)))


def test_an_answer_about_another_account_s_keys_is_refused_whole(db: Connection, user_id: UUID) -> None:
    other = synced_key(db, sign_up(db))
    with refused(409, "usage_of_another"):
        record(db, user_id, day(today(db)), day(today(db), key_hash=other["key_hash"]))
    assert read(db, user_id)["days"] == []


def test_what_was_not_asked_for_is_not_kept(db: Connection, user_id: UUID) -> None:
    assert not record(db, user_id, day(today(db) - timedelta(days=31)))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_below_zero_are_refused(db: Connection, user_id: UUID, name: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        record(db, user_id, day(today(db)) | {name: -1})


def test_nothing_of_it_touches_money(db: Connection, user_id: UUID) -> None:
    spend(db, user_id, 50_000)
    before = (profile(db, user_id)["credits"], ledger(db, user_id), account(db, user_id)["wallet_credits"])
    record(db, user_id, day(today(db), spend=10**12))
    assert (
        profile(db, user_id)["credits"],
        ledger(db, user_id),
        account(db, user_id)["wallet_credits"],
    ) == before


def test_nobody_writes_for_an_account_that_is_not_there(db: Connection) -> None:
    assert not record(db, uuid4(), day(today(db)))


# --- up to when ---------------------------------------------------------------------------------------------


def test_as_of_is_when_no_day_was_left_out(db: Connection, user_id: UUID) -> None:
    now, asked = today(db), datetime.now(UTC)
    assert read(db, user_id)["as_of"] is None
    record(db, user_id, p_until=now - timedelta(days=1), p_asked_at=asked)  # not today
    record(db, user_id, p_from=now + timedelta(days=1), p_until=now + timedelta(days=1), p_asked_at=asked)
    assert read(db, user_id)["as_of"] is None
    record(db, user_id, p_from=now, p_asked_at=asked)  # since the sign-up
    assert datetime.fromisoformat(read(db, user_id)["as_of"]) == asked
    record(db, user_id, p_asked_at=asked - timedelta(minutes=5))  # an answer that was late
    assert datetime.fromisoformat(read(db, user_id)["as_of"]) == asked


def test_reading_goes_on_where_it_stopped_less_a_day(db: Connection, user_id: UUID) -> None:
    let_pass(db, timedelta(days=20).total_seconds())
    assert read(db, user_id)["unread_since"] == str(today(db) - timedelta(days=20))
    record(db, user_id, p_asked_at=datetime.now(UTC))
    assert read(db, user_id)["unread_since"] == str(today(db) - timedelta(days=1))


def test_no_more_than_a_year_is_read_at_once(db: Connection, user_id: UUID) -> None:
    let_pass(db, FAR.total_seconds())
    assert read(db, user_id)["unread_since"] == str(today(db) - timedelta(days=365))


# --- claims -------------------------------------------------------------------------------------------------


def test_an_account_that_spent_is_claimed_once_after_half_a_minute_until_it_spends_again(
    db: Connection, user_id: UUID
) -> None:
    assert claim_all(db) == []
    spend(db, user_id, 50_000)
    assert claim_all(db) == []  # noticed
    let_pass(db, 31)
    (claimed,) = claim_all(db)
    assert (claimed["user_id"], claimed["booked_micros"]) == (str(user_id), 50_000)
    assert claim_all(db) == []  # somebody has it
    spend(db, user_id, 60_000)  # while it is read
    record(db, user_id, day(today(db)), p_booked_micros=claimed["booked_micros"])
    assert claim_all(db) == []
    let_pass(db, 31)
    (again,) = claim_all(db)
    record(db, user_id, day(today(db)), p_booked_micros=again["booked_micros"])
    let_pass(db, 600)
    assert claim_all(db) == []


def test_who_claimed_it_and_died_is_followed_by_another(db: Connection, user_id: UUID) -> None:
    spend(db, user_id, 50_000)
    claim_all(db)
    let_pass(db, 31)
    assert claim_all(db)
    let_pass(db, 61)
    assert claim_all(db)


def test_nobody_reads_while_litellm_is_away(db: Connection, user_id: UUID) -> None:
    spend(db, user_id, 50_000)
    claim_all(db)
    let_pass(db, 31)
    db.execute("update keyfund.gateways set opened_at = now() where name = 'litellm'")
    assert claim_all(db) == []
    assert read(db, user_id)["is_away"] is True


def test_two_workers_share_accounts_out(database: Database) -> None:
    with database.connect() as db:
        people = [sign_up(db) for _ in range(12)]
        for user_id in people:
            spend(db, user_id, 50_000)
        claim_all(db)
        let_pass(db, 31)

        def work(connection: Connection, _number: int) -> list[str]:
            found: list[Row] = by_service(connection, "claim_rollups", p_limit=6, p_lease_seconds=60)
            return [one["user_id"] for one in found]

        taken = [one for share in at_once(database, 4, work) for one in share]
        assert len(taken) == len(set(taken))
        assert set(taken) <= {str(one) for one in people}
        assert len(taken) + len(claim_all(db)) == 12


def test_somebody_who_looks_and_a_worker_at_once_keep_it_once(database: Database) -> None:
    with database.connect() as db:
        user_id = sign_up(db)
        days = [day(today(db) - timedelta(days=back), spend=back + 1) for back in range(20)]

        def write(connection: Connection, number: int) -> bool:
            return record(connection, user_id, *(days if number % 2 else reversed(days)))

        at_once(database, 6, write)
        assert sum(row["spend_micros"] for row in read(db, user_id)["days"]) == sum(range(1, 21))


def test_a_reading_waits_for_no_profile_and_a_claim_for_no_account(database: Database) -> None:
    """Whoever holds these is moving money."""
    with database.connect() as db, database.connect() as other:
        user_id, busy = sign_up(db), sign_up(db)
        for one in (user_id, busy):
            spend(db, one, 50_000)
        claim_all(db)
        let_pass(db, 31)
        with other.transaction():
            other.execute("select from public.profiles where id = %s for update", [user_id])
            other.execute("select from keyfund.roll_ups where account_id = %s for update", [busy])
            db.execute("set lock_timeout = '200ms'")
            assert [one["user_id"] for one in claim_all(db)] == [str(user_id)]
            assert record(db, user_id, day(today(db)), p_booked_micros=50_000)


# --- who sees it --------------------------------------------------------------------------------------------


def test_people_see_their_own_and_administrators_anybody_s(
    db: Connection, user_id: UUID, admin: UUID
) -> None:
    record(db, user_id, day(today(db)))
    stranger = sign_up(db)
    assert read(db, stranger)["days"] == []
    assert read(db, user_id, account_id=user_id)["days"]
    assert read(db, admin, account_id=user_id)["days"] == read(db, user_id)["days"]
    for account_id in (user_id, uuid4()):  # the same for what is there and what is not
        with refused(403, "not_an_administrator"):
            read(db, stranger, account_id=account_id)
    with refused(404, "account_not_found"):
        read(db, admin, account_id=uuid4())


def test_a_stranger_s_key_is_no_key(db: Connection, user_id: UUID, admin: UUID) -> None:
    made = synced_key(db, user_id)
    for key_id in (made["id"], uuid4()):
        with refused(404, "key_not_found"):
            read(db, sign_up(db), key_id=key_id)
    with refused(404, "key_not_found"):
        read(db, admin, key_id=made["id"])
    assert read(db, admin, account_id=user_id, key_id=made["id"])["days"] == []


@pytest.mark.parametrize(
    ("first", "last"),
    [(1, 0), (-366, 0), (-20_000, -19_990), (4000, 5000)],
)
def test_ranges_that_make_no_sense_are_refused(
    db: Connection, user_id: UUID, first: int | None, last: int | None
) -> None:
    now = today(db)
    given = {"start_date": first, "end_date": last}
    asked = {name: now + timedelta(days=one) for name, one in given.items() if one is not None}
    with refused(400, "invalid_range"):
        read(db, user_id, **asked)


@pytest.mark.parametrize(
    ("first", "last"), [(-27, 2), (0, 2), (1, 1), (1, None), (400, None), (None, 4000), (300, 600)]
)
def test_days_to_come_are_empty(db: Connection, user_id: UUID, first: int | None, last: int | None) -> None:
    now = today(db)
    given = {"start_date": first, "end_date": last}
    asked = {name: now + timedelta(days=one) for name, one in given.items() if one is not None}
    told = read(db, user_id, **asked)
    assert (told["days"], told["keys"]) == ([], [])
    assert {name: told[name] for name in asked} == {name: str(day) for name, day in asked.items()}


@pytest.mark.parametrize("odd", ["infinity", "-infinity", "0001-01-01", "5874897-12-31"])
@pytest.mark.parametrize("name", ["start_date", "end_date"])
def test_dates_at_the_end_of_time_are_refused(db: Connection, user_id: UUID, name: str, odd: str) -> None:
    with refused(400, "invalid_range"):
        read(db, user_id, **{name: odd})


def test_thirty_days_up_to_today_are_told_unless_asked_otherwise(db: Connection, user_id: UUID) -> None:
    now = today(db)
    told = read(db, user_id)
    assert (told["start_date"], told["end_date"]) == (str(now - timedelta(days=29)), str(now))
    told = read(db, user_id, start_date=now - timedelta(days=365))
    assert (told["start_date"], told["end_date"]) == (str(now - timedelta(days=365)), str(now))


def test_more_rows_than_anybody_reads_are_refused(db: Connection, user_id: UUID) -> None:
    db.execute(
        "insert into keyfund.usage_by_day select %s, keyfund.today(), 'm' || n, '', 1, 1, 1, 1 "
        "from generate_series(1, 50001) n",
        [user_id],
    )
    with refused(400, "too_many_rows"):
        read(db, user_id, by_key=True)
    assert len(read(db, user_id)["days"]) == 50_001


# --- keys that change, people who go ------------------------------------------------------------------------


def test_a_rotated_key_is_one_key(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id, name="laptop")
    record(db, user_id, day(today(db), key_hash=made["key_hash"], spend=10))
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"])
    record(db, user_id, day(today(db), key_hash=key(db, made["id"])["key_hash"], spend=5))
    assert shown(read(db, user_id), "keys") == {("laptop",): 15}
    assert shown(read(db, user_id, key_id=made["id"])) == {(str(today(db)), "mock-small"): 15}


def test_usage_outlives_the_user_without_their_names(db: Connection, user_id: UUID, admin: UUID) -> None:
    made = synced_key(db, user_id, name="Ana's laptop")
    record(db, user_id, day(today(db), key_hash=made["key_hash"]))
    delete_user(db, user_id)
    told = read(db, admin, account_id=user_id)
    assert len(told["days"]) == 1
    assert "Ana" not in str(told)


# --- what keys spent of their caps --------------------------------------------------------------------------


def see(db: Connection, key_hash: str, micros: int, resets_at: datetime | None) -> int:
    seen = {"key_hash": key_hash, "spend_micros": micros, "resets_at": resets_at and resets_at.isoformat()}
    changed: int = by_service(db, "record_key_spend", p_keys=Jsonb([seen, seen]))
    return changed


def test_a_key_s_period_is_what_was_last_seen_until_it_ends(db: Connection, user_id: UUID) -> None:
    made, unseen = synced_key(db, user_id), synced_key(db, user_id)
    ends = datetime.now(UTC) + timedelta(hours=1)
    assert see(db, made["key_hash"], 1_234_567, ends) == 1
    assert see(db, made["key_hash"], 1_234_567, ends) == 0
    told = by_owner(db, user_id, "read_key_periods")
    assert set(told) == {str(made["id"])} != {str(unseen["id"])}
    assert told[str(made["id"])]["spent_cents"] == 123
    assert datetime.fromisoformat(told[str(made["id"])]["resets_at"]) == ends
    assert by_owner(db, sign_up(db), "read_key_periods") == {}
    let_pass(db, 3601)
    assert by_owner(db, user_id, "read_key_periods") == {}


def test_a_cap_for_life_has_no_reset(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id)
    see(db, made["key_hash"], 50_000, None)
    assert by_owner(db, user_id, "read_key_periods") == {
        str(made["id"]): {"spent_cents": 5, "resets_at": None}
    }


def test_a_rotated_key_s_period_counts_what_the_string_before_spent(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id, max_budget=500)
    ends = datetime.now(UTC) + timedelta(days=3)
    see(db, made["key_hash"], 1_000_000, ends)
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"], overlap_seconds=0)
    finish(db, claim(db, user_id))
    let_pass(db, 31)
    before = {"p_is_there": True, "p_is_blocked": True, "p_budget_cents": 500, "p_spent_cents": 100}
    by_service(db, "count_share", p_key_hash=made["key_hash"], p_resets_at=ends, **before)
    see(db, key(db, made["id"])["key_hash"], 200_000, ends)
    assert by_owner(db, user_id, "read_key_periods")[str(made["id"])]["spent_cents"] == 120


def test_keys_of_nobody_here_are_not_kept(db: Connection) -> None:
    assert see(db, "somebody-else-s", 10, None) == 0
