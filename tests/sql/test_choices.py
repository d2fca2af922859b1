"""What an owner may choose of a key beside its limits: how often its cap begins anew, its models, its end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from tests.sql.acting import (
    Row,
    by_owner,
    by_service,
    claim,
    finish,
    key,
    let_pass,
    refused,
    row,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection

NOBODY = ["no-default-models"]


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


def create(db: Connection, user_id: UUID, **chosen: object) -> Row:
    made: Row = by_owner(db, user_id, "create_virtual_key", **chosen)
    return made


def change(db: Connection, user_id: UUID, key_id: UUID, **chosen: object) -> Row:
    changed: Row = by_owner(db, user_id, "update_virtual_key", key_id=key_id, **chosen)
    return changed


def either(db: Connection, user_id: UUID, made: Row) -> list[Callable[..., Row]]:
    """The two ways to choose: for a new key, and for this one."""
    return [partial(create, db, user_id), partial(change, db, user_id, made["id"])]


def pushed(db: Connection, user_id: UUID) -> Row:
    """What LiteLLM is told of the one key that is outstanding."""
    push = claim(db, user_id)
    (told,) = push["keys"]
    assert finish(db, push)
    told_key: Row = told
    return told_key


def soon(**later: float) -> datetime:
    return datetime.now(UTC) + timedelta(**(later or {"hours": 1}))


# --------------------------------------------------------------------- all three


def test_a_new_key_is_as_chosen_whether_it_takes_the_placeholder_or_not(
    db: Connection, user_id: UUID
) -> None:
    ends = soon()
    for _ in range(2):
        made = create(db, user_id, budget_duration="7d", models=["b", "a", "b"], expires_at=ends)
        assert (made["budget_duration"], made["models"], made["expires_at"]) == ("7d", ["a", "b"], ends)
    told = claim(db, user_id)["keys"]
    assert [(one["budget_duration"], one["models"]) for one in told] == [("7d", ["a", "b"])] * 2
    assert [datetime.fromisoformat(one["expires_at"]) for one in told] == [ends] * 2


def test_a_key_of_which_nothing_is_chosen_has_the_usual(db: Connection, user_id: UUID) -> None:
    made = create(db, user_id)
    assert (made["budget_duration"], made["models"], made["expires_at"]) == ("30d", None, None)
    told = pushed(db, user_id)
    assert (told["budget_duration"], told["models"], told["expires_at"]) == ("30d", [], None)


@pytest.mark.parametrize(
    "given",
    [{"name": "other"}, {"rpm_limit": 7}, {"max_budget": 5}, {"budget_duration": None, "models": None}],
    ids=str,
)
def test_a_change_of_something_else_leaves_the_choices_alone(
    db: Connection, user_id: UUID, given: dict[str, Any]
) -> None:
    chosen = {"budget_duration": "lifetime", "models": ["a"], "expires_at": soon()}
    made = synced_key(db, user_id, **chosen)
    changed = change(db, user_id, made["id"], **given)
    assert (changed["budget_duration"], changed["models"]) == (None, ["a"])
    assert changed["expires_at"] == made["expires_at"]


@pytest.mark.parametrize(
    ("name", "first", "second", "stored"),
    [
        ("budget_duration", "1h", "1d", "1d"),
        ("budget_duration", "1h", "lifetime", None),
        ("models", ["a"], ["b"], ["b"]),
        ("models", ["a"], ["*"], None),
        ("expires_at", soon(), "infinity", None),
    ],
)
def test_a_choice_is_changed_and_taken_back_and_each_reaches_litellm(
    db: Connection, user_id: UUID, name: str, first: Any, second: Any, stored: Any
) -> None:
    made = synced_key(db, user_id, **{name: first})
    changed = change(db, user_id, made["id"], **{name: second})
    assert (changed[name], changed["sync_status"]) == (stored, "pending")
    assert pushed(db, user_id)[name] == ([] if (name, stored) == ("models", None) else stored)
    again = change(db, user_id, made["id"], **{name: second})
    assert again["sync_status"] == "synced"  # nothing is new


def test_a_change_reaches_the_former_string_as_well(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"])
    chosen = {"budget_duration": "1d", "models": ["a"], "expires_at": soon()}
    change(db, user_id, made["id"], **chosen)
    told = claim(db, user_id)["keys"]
    assert [(one["budget_duration"], one["models"]) for one in told] == [("1d", ["a"])] * 2
    assert [datetime.fromisoformat(one["expires_at"]) for one in told] == [chosen["expires_at"]] * 2


def test_a_former_string_is_what_the_key_was_chosen_to_be(db: Connection, user_id: UUID) -> None:
    ends = soon()
    made = synced_key(db, user_id, budget_duration="1d", models=["a"], expires_at=ends)
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"])
    former = row(db, "select * from public.virtual_keys where key_hash = %s", made["key_hash"])
    assert (former["budget_duration"], former["models"], former["expires_at"]) == ("1d", ["a"], ends)


def test_choices_are_written_down(db: Connection, user_id: UUID) -> None:
    made = create(db, user_id, budget_duration="lifetime", models=["a"], expires_at="infinity")
    change(db, user_id, made["id"], budget_duration="7d")
    query = "select details from public.audit_log where key_id = %s order by id"
    told = [one["details"] for one in rows(db, query, made["id"])]
    assert [one["budget_duration"] for one in told] == ["lifetime", "7d"]
    assert [one["models"] for one in told] == [["a"], ["a"]]


# -------------------------------------------------------------------- the period


@pytest.mark.parametrize("junk", ["", "30", "2d", "1mo", "daily", "-1d", "30D", "null", "never", "1h ", "0s"])
def test_another_period_is_refused(db: Connection, user_id: UUID, junk: str) -> None:
    made = synced_key(db, user_id)
    for act in either(db, user_id, made):
        with refused(400, "invalid_budget_duration"):
            act(budget_duration=junk)


@pytest.mark.parametrize("by", ["operator", "administrator"])
def test_a_ceiling_is_not_outwitted_by_a_shorter_period(db: Connection, user_id: UUID, by: str) -> None:
    """$10 per 30 days is no ceiling where the cap may begin anew each hour."""
    made = synced_key(db, user_id, budget_duration="1h", max_budget=500)
    if by == "operator":
        db.execute("update keyfund.settings set most_max_budget = 1000")
        with refused(400, "duration_beyond_ceiling"):
            create(db, user_id, budget_duration="7d")
        assert create(db, user_id, budget_duration="lifetime")["budget_duration"] is None
    else:
        admin = sign_up(db)
        db.execute("insert into keyfund.administrators (user_id) values (%s)", [admin])
        by_owner(db, admin, "limit_virtual_key", key_id=made["id"], reason="too much", max_budget=1000)
    assert (key(db, made["id"])["budget_duration"], key(db, made["id"])["max_budget"]) == ("30d", 500)
    for duration in ("1h", "1d", "7d"):
        with refused(400, "duration_beyond_ceiling"):
            change(db, user_id, made["id"], budget_duration=duration)
    assert change(db, user_id, made["id"], budget_duration="lifetime")["budget_duration"] is None
    assert change(db, user_id, made["id"], budget_duration="30d")["budget_duration"] == "30d"


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("1s", 1), ("5m", 300), ("1h", 3600), ("hourly", 3600), ("2d", 172_800), ("daily", 86_400),
     ("1w", 604_800), ("weekly", 604_800), ("1mo", 2_592_000), ("monthly", 2_592_000), ("30d", 2_592_000),
     (None, 3_153_600_000)],
)  # fmt: skip
def test_the_length_of_a_period_is_known_for_all_that_litellm_takes(
    db: Connection, duration: str | None, seconds: int
) -> None:
    query = "select extract(epoch from keyfund.period_length(%s))::bigint"
    assert value(db, query, duration) == seconds


def test_what_a_former_string_spent_counts_in_the_new_period_too(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id, max_budget=100, budget_duration="1h")
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"], overlap_seconds=0)
    assert finish(db, claim(db, user_id))
    let_pass(db, 31)
    ends = datetime.now(UTC) + timedelta(minutes=30)
    assert by_service(
        db, "count_share", p_key_hash=made["key_hash"], p_is_there=True, p_is_blocked=True,
        p_budget_cents=50, p_spent_cents=90, p_resets_at=ends,
    )  # fmt: skip
    change(db, user_id, made["id"], budget_duration="7d")
    let_pass(db, 3 * 86_400)
    by_service(db, "retire_keys", p_limit=10)
    query = "select keyfund.cap_cents(k) from public.virtual_keys k where id = %s"
    assert value(db, query, made["id"]) == 10
    let_pass(db, 5 * 86_400)
    by_service(db, "retire_keys", p_limit=10)
    assert value(db, query, made["id"]) == 100


# -------------------------------------------------------------------- the models


@pytest.mark.parametrize(
    "junk",
    [[], [""], [None], ["a", None], [["a"]], ["x" * 201], [f"m{number}" for number in range(101)], ['["a"]'],
     ['{"a": 1}']],
    ids=lambda junk: str(junk)[:20],
)  # fmt: skip
def test_what_is_no_list_of_models_is_refused(db: Connection, user_id: UUID, junk: list[Any]) -> None:
    made = synced_key(db, user_id)
    for act in either(db, user_id, made):
        with refused(400, "invalid_models"):
            act(models=junk)


@pytest.mark.parametrize(
    ("allowed", "chosen"),
    [
        (["a", "b"], ["a", "c"]),
        (["a"], ["a*"]),
        (["gpt-4*"], ["gpt-*"]),
        (["gpt-4*"], ["gpt-3"]),
        (["a_b"], ["axb"]),
        (["a%"], ["ab"]),
        (["a\\"], ["a"]),
        (None, ["gpt-*"]),
        (None, ["all-proxy-models"]),
        (["a", "all-team-models"], ["all-team-models"]),
        (None, ["no-default-models"]),
    ],
)
def test_a_model_that_is_not_allowed_is_refused_by_its_name(
    db: Connection, user_id: UUID, allowed: list[str] | None, chosen: list[str]
) -> None:
    made = synced_key(db, user_id)
    db.execute("update keyfund.settings set allowed_models = %s", [allowed])
    for act in either(db, user_id, made):
        with refused(400, "model_not_allowed") as caught:
            act(models=chosen)
        named = str(caught.value).splitlines()[0].rpartition(": ")[2].rstrip(".").split(", ")
        assert named == [name for name in chosen if name != "a" or "a" not in (allowed or [])]


@pytest.mark.parametrize(
    ("before", "chosen", "after", "told"),
    [
        (None, ["a", "b"], ["b", "c"], ["b"]),
        (["a", "b"], ["a", "b"], None, ["a", "b"]),
        (None, ["a"], ["b"], NOBODY),
        (None, ["*"], ["b", "a"], ["b", "a"]),
        (["a"], ["*"], None, []),
        (None, ["gpt-4o", "o3"], ["gpt-*"], ["gpt-4o"]),
        (["gpt-*"], ["gpt-*"], ["gpt-4o", "o3"], ["gpt-4o"]),
        (["gpt-*"], ["gpt-*"], ["*"], ["gpt-*"]),
    ],
)
def test_what_litellm_is_told_is_what_is_chosen_and_allowed_whenever_either_changes(
    db: Connection,
    user_id: UUID,
    before: list[str] | None,
    chosen: list[str],
    after: list[str] | None,
    told: list[str],
) -> None:
    db.execute("update keyfund.settings set allowed_models = %s", [before])
    made = synced_key(db, user_id, models=chosen)
    db.execute("update keyfund.settings set allowed_models = %s", [after])
    assert key(db, made["id"])["models"] == (None if chosen == ["*"] else sorted(chosen))
    assert pushed(db, user_id)["models"] == told
    held = by_service(db, "read_drift_key", p_key_hash=made["key_hash"])
    assert held["models"] == told


def test_the_choice_comes_back_when_the_operator_allows_it_again(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id, models=["a", "b"])
    seen = []
    for allowed in (["b"], ["c"], ["a", "b", "c"], None):
        db.execute("update keyfund.settings set allowed_models = %s", [allowed])
        seen.append(pushed(db, user_id)["models"])
    assert seen == [["b"], NOBODY, ["a", "b"], ["a", "b"]]


# ----------------------------------------------------------------------- the end


@pytest.mark.parametrize("junk", ["-infinity", "1970-01-01T00:00:00Z", "now", "9999-12-31T00:00:00Z"])
def test_an_end_that_is_over_or_too_far_is_refused(db: Connection, user_id: UUID, junk: str) -> None:
    made = synced_key(db, user_id)
    for act in either(db, user_id, made):
        with refused(400, "invalid_expires_at"):
            act(expires_at=junk)


def test_an_expired_key_keeps_its_state_and_can_be_extended(db: Connection, user_id: UUID) -> None:
    made = synced_key(db, user_id, expires_at=soon(seconds=60))
    let_pass(db, 61)
    expired = key(db, made["id"])
    assert expired["expires_at"] < datetime.now(UTC)
    assert (expired["state"], expired["sync_status"]) == ("active", "synced")
    changed = change(db, user_id, made["id"], name="still changeable")
    assert changed["expires_at"] == expired["expires_at"]
    changed = change(db, user_id, made["id"], expires_at=soon())
    assert (changed["state"], changed["sync_status"]) == ("active", "pending")


def test_nobody_asks_with_an_expired_key_whether_money_can_be_spent(db: Connection, user_id: UUID) -> None:
    synced_key(db, user_id, expires_at=soon(seconds=60))
    lasting = synced_key(db, user_id, models=["a"])
    let_pass(db, 61)
    value(db, "select keyfund.touch_account(%s)", user_id)
    asked = [{"key": lasting["litellm_key_id"], "models": ["a"]}]
    assert claim(db, user_id)["live_keys"] == asked


def test_administrators_see_the_choices(db: Connection, user_id: UUID) -> None:
    admin = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [admin])
    made = synced_key(db, user_id, models=["a"], expires_at=soon())
    shown = by_owner(db, admin, "read_key", key_id=made["id"])
    assert shown["models"] == ["a"]
    assert datetime.fromisoformat(shown["expires_at"]) == made["expires_at"]


def test_everybody_is_told_which_models_are_allowed(db: Connection, user_id: UUID) -> None:
    assert by_owner(db, user_id, "read_limits")["allowed_models"] is None
    db.execute("update keyfund.settings set allowed_models = '{b,a}'")
    assert by_owner(db, user_id, "read_limits")["allowed_models"] == ["b", "a"]
