"""Which routes an operator may open, what every key is held to, and who waits when that changes."""

import psycopg
import pytest

from core.domain.routes import PATHS, PROOFLESS
from tests.sql.acting import (
    FENCES,
    Row,
    account,
    all_by_service,
    append,
    by_owner,
    by_service,
    claim,
    finish,
    key,
    let_pass,
    refused,
    results,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection

OLD, NEW = "1.106.2", "1.109.3"


def record(db: Connection, version: str = OLD, guard: str | None = "1.0.0") -> None:
    by_service(db, "record_litellm", p_version=version, p_guard_version=guard)


def prove(db: Connection, route: str, model: str, version: str = OLD, guard: str | None = "1.0.0") -> None:
    by_service(
        db,
        "record_route_proof",
        p_route=route,
        p_model=model,
        p_litellm_version=version,
        p_guard_version=guard,
    )


def open_routes(db: Connection, *routes: str | None) -> None:
    db.execute("update keyfund.settings set open_routes = %s", [[*PROOFLESS, *routes]])


def told(db: Connection) -> Row:
    answer: Row = by_service(db, "read_routes")
    return answer


def due(db: Connection) -> list[str]:
    return [one["user_id"] for one in all_by_service(db, "claim_pushes", p_limit=99, p_lease_seconds=60)]


# ---------------------------------------------------------------------- names


def test_the_database_and_the_processes_know_the_same_routes(db: Connection) -> None:
    assert set(value(db, "select keyfund.route_names()")) == set(PATHS)
    needing = value(
        db, "select array_agg(name) from unnest(keyfund.route_names()) name where keyfund.needs_proof(name)"
    )
    assert set(PATHS) - set(needing) == set(PROOFLESS)


def test_at_first_the_three_that_need_no_proof_are_open(db: Connection) -> None:
    assert told(db) == {
        "fences": FENCES, "litellm_version": None, "guard_version": None, "recorded_at": None, "proofs": [],
        "stale": [],
    }  # fmt: skip
    assert value(db, "select keys_per_account from keyfund.settings") == 20


@pytest.mark.parametrize("route", ["batches", "/v1/files", "", None])
def test_a_name_that_is_no_route_s_is_refused(db: Connection, route: str | None) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match=r"there is no route named .* Names are chat, "):
        open_routes(db, route)


@pytest.mark.parametrize("bound", ["key_max_parallel", "account_max_parallel"])
@pytest.mark.parametrize("number", [0, 1001, None])
def test_a_bound_of_calls_in_flight_is_between_one_and_a_thousand(
    db: Connection, bound: str, number: int | None
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        db.execute(f"update keyfund.settings set {bound} = %s".encode(), [number])


# --------------------------------------------------------------------- proofs


def test_without_a_proof_nothing_opens_and_the_doctor_is_named(db: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match=r"version is not recorded yet.*operate doctor"):
        open_routes(db, "images")
    record(db)
    with pytest.raises(
        psycopg.errors.RaiseException, match=r"images is not proved for LiteLLM 1.106.2.*operate doctor"
    ):
        open_routes(db, "images")
    assert told(db)["fences"] == FENCES


def test_a_proved_route_opens_for_the_models_that_it_is_proved_for(db: Connection) -> None:
    record(db)
    for model in ("pictures", "drawings", "pictures"):
        prove(db, "images", model)
    prove(db, "responses", "*")
    prove(db, "speech", "voice")
    open_routes(db, "responses", "images")
    assert told(db)["fences"] == FENCES | {
        "open_routes": ["chat", "completions", "embeddings", "images", "responses"],
        "proved": {"images": ["drawings", "pictures"], "responses": ["*"]},
    }
    open_routes(db, "images")
    assert told(db)["fences"]["proved"] == {"images": ["drawings", "pictures"]}


def test_a_new_litellm_opens_nothing_on_old_proofs_and_what_is_open_stays_and_is_shown(
    db: Connection,
) -> None:
    record(db)
    prove(db, "images", "pictures")
    prove(db, "rerank", "sorter")
    open_routes(db, "images")
    record(db, NEW)
    assert told(db)["stale"] == ["images"]
    assert told(db)["fences"]["proved"] == {"images": ["pictures"]}
    assert [one["counts"] for one in told(db)["proofs"]] == [False, False]
    with pytest.raises(psycopg.errors.RaiseException, match=r"rerank is not proved for LiteLLM 1.109.3"):
        open_routes(db, "images", "rerank")
    prove(db, "images", "drawings", NEW)
    assert told(db)["stale"] == []
    assert told(db)["fences"]["proved"] == {"images": ["drawings", "pictures"]}


def test_a_route_that_is_opened_anew_opens_for_what_is_proved_now_alone(db: Connection) -> None:
    record(db)
    prove(db, "images", "pictures")
    open_routes(db, "images")
    record(db, NEW)
    open_routes(db)
    prove(db, "images", "drawings", NEW)
    open_routes(db, "images")
    assert told(db)["fences"]["proved"] == {"images": ["drawings"]}


def test_what_was_proved_with_the_guard_opens_nothing_without_it(db: Connection) -> None:
    record(db, guard=None)
    prove(db, "images", "pictures", guard="1.0.0")
    with pytest.raises(psycopg.errors.RaiseException, match="images is not proved"):
        open_routes(db, "images")
    prove(db, "moderations", "judge", guard=None)
    open_routes(db, "moderations")


@pytest.mark.parametrize(
    ("route", "model", "code"),
    [
        ("chat", "mock-small", "unknown_route"),
        ("files", "mock-small", "unknown_route"),
        (None, "mock-small", "unknown_route"),
        ("images", "*", "invalid_model"),
        ("images", None, "invalid_model"),
        ("responses", "mock-small", "invalid_model"),
    ],
)
def test_a_proof_that_makes_no_sense_is_refused(db: Connection, route: str, model: str, code: str) -> None:
    with refused(400, code):
        prove(db, route, model)


# ----------------------------------------------------------------- who waits


@pytest.mark.parametrize(
    "change", ["key_max_parallel = 3", "account_max_parallel = 7", "open_routes = '{chat}'"]
)
def test_every_live_key_is_pushed_again_when_a_fence_moves(db: Connection, change: str) -> None:
    user_id = sign_up(db)
    live, blocked, revoked = (synced_key(db, user_id) for _ in range(3))
    by_owner(db, user_id, "block_virtual_key", key_id=blocked["id"])
    by_owner(db, user_id, "revoke_virtual_key", key_id=revoked["id"])
    finish(db, claim(db, user_id))
    sign_up(db)  # without a key
    db.execute(f"update keyfund.settings set {change}".encode())
    assert key(db, live["id"])["sync_status"] == "pending"
    (push,) = all_by_service(db, "claim_pushes", p_limit=9, p_lease_seconds=60)
    assert [one["id"] for one in push["keys"]] == [str(live["id"])]
    assert push["fences"] == told(db)["fences"] != FENCES
    finish(db, push)
    assert key(db, live["id"])["sync_status"] == "synced"
    db.execute(f"update keyfund.settings set {change}".encode())
    assert due(db) == []  # it is what it was


def test_another_model_of_an_open_route_reaches_the_keys_and_one_of_a_closed_route_does_not(
    db: Connection,
) -> None:
    record(db)
    prove(db, "images", "pictures")
    open_routes(db, "images")
    user_id = sign_up(db)
    synced_key(db, user_id)
    for route, model in (("speech", "voice"), ("images", "pictures")):
        prove(db, route, model)
        assert due(db) == []
    prove(db, "images", "drawings")
    assert due(db) == [str(user_id)]


def test_a_moved_fence_waits_for_purchases_creations_and_blocks(db: Connection) -> None:
    crowd = [sign_up(db) for _ in range(5)]
    made = {user_id: synced_key(db, user_id) for user_id in crowd}
    db.execute("update keyfund.settings set key_max_parallel = 3")
    buyer, maker, blocker = crowd[2:]
    append(db, buyer, 10)
    by_owner(db, maker, "create_virtual_key")
    by_owner(db, blocker, "block_virtual_key", key_id=made[blocker]["id"])
    claimed = due(db)
    assert claimed[0] == str(blocker)
    assert set(claimed[1:3]) == {str(buyer), str(maker)}
    assert set(claimed[3:]) == {str(user_id) for user_id in crowd[:2]}


def test_of_one_account_s_keys_the_one_that_is_new_goes_before_those_that_are_narrowed(
    db: Connection,
) -> None:
    user_id = sign_up(db)
    for _ in range(3):
        synced_key(db, user_id)
    db.execute("update keyfund.settings set key_max_parallel = 3")
    new = by_owner(db, user_id, "create_virtual_key")
    push = by_service(db, "claim_push", p_account_id=user_id, p_lease_seconds=60, p_key_limit=1)
    assert [one["id"] for one in push["keys"]] == [str(new["id"])]


def test_a_key_that_is_parked_is_tried_again(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    by_owner(db, user_id, "resync_virtual_key", key_id=made["id"])
    for _ in range(5):
        let_pass(db, 300)
        push = claim(db, user_id)
        finish(db, push, results(push, "refused", error="litellm_refused: no"))
    assert account(db, user_id)["next_attempt_at"] is None
    db.execute("update keyfund.settings set key_max_parallel = 3")
    assert [one["id"] for one in claim(db, user_id)["keys"]] == [str(made["id"])]


def test_a_push_that_was_claimed_before_the_fence_moved_confirms_nothing(db: Connection) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    append(db, user_id, 10)
    push = claim(db, user_id)
    db.execute("update keyfund.settings set key_max_parallel = 3")
    finish(db, push)
    assert key(db, made["id"])["sync_status"] == "pending"
    assert claim(db, user_id)["fences"]["key_max_parallel"] == 3
