"""What Keyfund builds on in LiteLLM holds for the stand-in as for the real one."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.domain.keys import KeyState, ObservedUser, differences
from core.domain.models import find_faults
from core.domain.pushes import Probe
from core.errors import RefusedError, TransientError
from core.gateways.litellm import LiteLLM
from tests.conformance.standin import COSTS
from tests.conformance.subject import Subject, error_of, settings_for, shown, wanted

CALL_MICROS = round(COSTS["mock-costly"] * 1_000_000)


# ----------------------------------------------------------------------- users


async def test_a_user_that_was_never_written_is_not_there(subject: Subject) -> None:
    assert await subject.gateway.read_user(subject.user_id) is None
    answer = await subject.get("/v2/user/info", user_id=subject.user_id)
    assert error_of(answer) == (404, "internal_server_error")


async def test_a_wallet_is_made_by_its_first_write(subject: Subject) -> None:
    await subject.wallet(2.5)
    assert await subject.user() == ObservedUser(2_500_000, None, 0, None)
    told = (await subject.get("/v2/user/info", user_id=subject.user_id)).json()
    shown = [told[name] for name in ("user_id", "spend", "max_budget", "budget_duration", "user_role")]
    assert shown == [subject.user_id, 0.0, 2.5, None, None]


@pytest.mark.parametrize("dollars", [0, 7.25, 123_456.78, 0.000001])
async def test_a_wallet_is_what_it_was_last_set_to(subject: Subject, dollars: float) -> None:
    await subject.wallet(2.5)
    await subject.wallet(dollars)
    assert (await subject.user()).budget_micros == round(dollars * 1_000_000)


async def test_null_takes_a_reset_away_and_omitting_keeps_it(subject: Subject) -> None:
    await subject.post("/user/update", user_id=subject.user_id, max_budget=1, budget_duration="30d")
    await subject.post("/user/update", user_id=subject.user_id, max_budget=2)
    assert (await subject.user()).budget_duration == "30d"
    await subject.wallet(3)
    assert (await subject.user()).budget_duration is None


async def test_a_user_lost_behind_its_back_is_not_there_and_can_be_made_again(subject: Subject) -> None:
    await subject.wallet(2)
    key = await subject.key()
    await subject.lose_user(subject.user_id)
    assert await subject.gateway.read_user(subject.user_id) is None
    assert await subject.gateway.read_key(key.key_hash) is not None
    await subject.wallet(1)
    assert (await subject.user()).spend_micros == 0


async def test_spend_can_be_set_back_by_others(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    assert (await subject.call(key)).status_code == 200
    await subject.until_spent(CALL_MICROS)
    await subject.post("/user/update", user_id=subject.user_id, spend=0.25)
    assert (await subject.user()).spend_micros == 250_000


# ------------------------------------------------------------------------ keys


async def test_a_key_that_was_never_made_is_not_there(subject: Subject) -> None:
    key = wanted(subject.user_id)
    assert await subject.gateway.read_key(key.key_hash) is None
    assert error_of(await subject.get("/key/info", key=key.key_hash)) == (404, "not_found_error")


async def test_a_key_is_made_as_wanted(subject: Subject) -> None:
    key = await subject.key()
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed == shown(key)
    assert differences(key, observed) == ()


async def test_a_key_can_be_made_blocked(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key(state=KeyState.BLOCKED)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert observed.blocked
    assert await subject.gateway.probe_key(str(key.key)) is Probe.KEY_REFUSED


async def test_making_a_key_does_not_make_its_user(subject: Subject) -> None:
    await subject.key()
    assert await subject.gateway.read_user(subject.user_id) is None


async def test_a_repeated_create_is_echoed_and_changes_nothing(subject: Subject) -> None:
    key = await subject.key()
    answer = await subject.post("/key/generate", key=key.key, user_id=subject.user_id, max_budget=7)
    assert (answer.status_code, answer.json()["max_budget"], answer.json()["token"]) == (200, 7, key.key_hash)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert observed.budget_cents == 10_000


async def test_a_repeated_create_does_not_unblock(subject: Subject) -> None:
    key = await subject.key()
    await subject.gateway.block_key(key.key_hash)
    await subject.gateway.create_key(key)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert observed.blocked


async def test_many_creates_at_once_make_one_key(subject: Subject) -> None:
    key = wanted(subject.user_id)
    await asyncio.gather(*(subject.gateway.create_key(key) for _ in range(8)))
    assert await subject.gateway.read_key(key.key_hash) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_cents": 0},
        {"budget_cents": None},
        {"rpm_limit": 7, "tpm_limit": 8},
        {"budget_duration": "1d"},
        {"budget_duration": None},
        {"models": ("mock-small",)},
        {"expires_at": timedelta(days=400, seconds=7)},
        {"expires_at": timedelta(days=-1)},
    ],
    ids=str,
)
async def test_a_key_is_changed_as_wanted(subject: Subject, changes: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    chosen: dict[str, Any] = {
        name: now + one if isinstance(one, timedelta) else one for name, one in changes.items()
    }
    key = replace(await subject.key(), **chosen)
    await subject.gateway.update_key(key, new_period="budget_duration" in changes)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(key, observed) == ()


async def test_a_change_of_the_cap_leaves_its_reset_where_it_is(subject: Subject) -> None:
    """A period that is given is counted from now: on LiteLLM 1.106 a reset that was due would never come."""
    key = await subject.key(budget_duration="1s")
    made = await subject.gateway.read_key(key.key_hash)
    assert made is not None
    assert made.resets_at is not None
    await asyncio.sleep(max(0, (made.resets_at - datetime.now(UTC)).total_seconds()) + 0.01)  # it is due
    await subject.gateway.update_key(replace(key, budget_cents=77))
    changed = await subject.gateway.read_key(key.key_hash)
    await subject.gateway.update_key(replace(key, budget_duration="30d"), new_period=True)
    renewed = await subject.gateway.read_key(key.key_hash)
    assert changed is not None
    assert renewed is not None
    assert made.resets_at == changed.resets_at
    assert renewed.resets_at is not None
    assert renewed.resets_at > made.resets_at


async def test_another_period_gives_nothing_back(subject: Subject) -> None:
    """What was spent of the cap stays spent until the new period ends."""
    await subject.wallet(9)
    key = await subject.key(budget_cents=150, budget_duration="30d")
    assert (await subject.call(key)).status_code == 200
    await subject.until_key_spent(key, CALL_MICROS)
    for duration in ("7d", "1d", None, "30d"):
        await subject.gateway.update_key(replace(key, budget_duration=duration), new_period=True)
        observed = await subject.gateway.read_key(key.key_hash)
        assert observed is not None
        assert (observed.budget_duration, observed.spend_micros) == (duration, CALL_MICROS)
        assert (observed.resets_at is None) == (duration is None)
        assert error_of(await subject.call(key)) == (422, "budget_exceeded")


# ------------------------------------------------------------------- their end


async def test_a_key_ends_when_it_was_told_to_and_lives_again_when_it_is_extended(subject: Subject) -> None:
    await subject.wallet(9)
    key = await subject.key(expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert (await subject.call(key, "mock-small")).status_code == 200
    over = replace(key, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await subject.gateway.update_key(over)
    assert error_of(await subject.call(key, "mock-small")) == (401, "expired_key")
    assert await subject.gateway.probe_key(str(key.key)) is Probe.KEY_REFUSED
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(over, observed) == ()
    for later in (datetime.now(UTC) + timedelta(days=1), None):
        await subject.gateway.update_key(replace(key, expires_at=later))
        observed = await subject.gateway.read_key(key.key_hash)
        assert observed is not None
        assert differences(replace(key, expires_at=later), observed) == ()
        assert (observed.expires_at is None) == (later is None)
        assert (await subject.call(key, "mock-small")).status_code == 200


async def test_a_key_that_is_over_can_be_made(subject: Subject) -> None:
    """As after a rotation of an expired key."""
    await subject.wallet(9)
    key = await subject.key(expires_at=datetime.now(UTC) - timedelta(days=1))
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(key, observed) == ()
    assert error_of(await subject.call(key, "mock-small")) == (401, "expired_key")


async def test_a_key_s_end_is_its_own_beside_its_block(subject: Subject) -> None:
    key = await subject.key(expires_at=datetime.now(UTC) + timedelta(hours=1))
    await subject.gateway.block_key(key.key_hash)
    await subject.gateway.unblock_key(key.key_hash)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(key, observed) == ()


# ---------------------------------------------------------------- their models


async def test_a_key_may_use_the_models_of_its_list_alone(subject: Subject) -> None:
    await subject.wallet(9)
    key = await subject.key(models=("mock-small",))
    assert (await subject.call(key, "mock-small")).status_code == 200
    assert error_of(await subject.call(key)) == (403, "key_model_access_denied")
    await subject.gateway.update_key(replace(key, models=()))
    assert (await subject.call(key)).status_code == 200


async def test_a_key_for_no_model_may_use_none_and_is_shown_none(subject: Subject) -> None:
    await subject.wallet(9)
    key = await subject.key(models=("no-default-models",))
    for model in ("mock-small", "mock-costly", "no-default-models"):
        assert (await subject.call(key, model)).status_code in (400, 403)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(key, observed) == ()
    headers = {"authorization": f"Bearer {key.key}"}
    listed = (await subject.http.get("/v1/models", headers=headers)).json()["data"]
    assert [one["id"] for one in listed] == []


async def test_a_change_keeps_what_it_omits(subject: Subject) -> None:
    key = await subject.key()
    await subject.post("/key/update", key=key.key_hash, max_budget=1)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed == replace(shown(key), budget_cents=100)


async def test_blocking_and_unblocking_can_be_repeated(subject: Subject) -> None:
    key = await subject.key()
    for blocked, change in ((True, subject.gateway.block_key), (False, subject.gateway.unblock_key)):
        await change(key.key_hash)
        await change(key.key_hash)
        observed = await subject.gateway.read_key(key.key_hash)
        assert observed is not None
        assert observed.blocked is blocked


async def test_a_change_leaves_a_block_and_a_block_leaves_the_limits(subject: Subject) -> None:
    key = await subject.key()
    await subject.gateway.block_key(key.key_hash)
    await subject.gateway.update_key(replace(key, rpm_limit=5))
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed == replace(shown(key), blocked=True, rpm_limit=5)


@pytest.mark.parametrize("path", ["/key/update", "/key/block", "/key/unblock"])
async def test_nothing_can_be_done_to_a_key_that_is_not_there(subject: Subject, path: str) -> None:
    assert error_of(await subject.post(path, key="0" * 64)) == (404, "not_found_error")


async def test_a_deleted_key_is_gone_for_us_and_shown_as_deleted(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    assert (await subject.post("/key/delete", keys=[key.key_hash])).status_code == 200
    assert await subject.gateway.read_key(key.key_hash) is None
    told = await subject.get("/key/info", key=key.key_hash)
    assert (told.status_code, told.json()["info"]["status"]) == (200, "deleted")
    assert await subject.gateway.probe_key(str(key.key)) is Probe.KEY_REFUSED
    assert error_of(await subject.post("/key/delete", keys=[key.key_hash]))[0] == 404


async def test_a_key_made_again_after_its_deletion_comes_back_to_life(subject: Subject) -> None:
    key = await subject.key()
    await subject.post("/key/delete", keys=[key.key_hash])
    await subject.gateway.create_key(key)
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert differences(key, observed) == ()


@pytest.mark.parametrize(
    "wrong",
    [{"key": "sk-short"}, {"max_budget": -1}, {"budget_duration": "junk"}],
    ids=["short", "negative", "junk"],
)
async def test_what_makes_no_sense_is_refused(subject: Subject, wrong: dict[str, Any]) -> None:
    body = {"key": wanted(subject.user_id).key, "user_id": subject.user_id} | wrong
    assert (await subject.http.post("/key/generate", json=body)).status_code == 400


async def test_a_refusal_reaches_us_as_one(subject: Subject) -> None:
    with pytest.raises(RefusedError) as caught:
        await subject.gateway.create_key(wanted(subject.user_id, budget_duration="junk"))
    assert caught.value.code == "litellm_refused"


# --------------------------------------------------------------------- budgets


async def test_two_keys_share_one_wallet(subject: Subject) -> None:
    await subject.wallet(2.5)
    keys = [await subject.key(), await subject.key()]
    assert [(await subject.call(key)).status_code for key in keys] == [200, 200]
    for key in keys:
        refusal = await subject.call(key)
        assert error_of(refusal) == (422, "budget_exceeded")
        assert f"User={subject.user_id}" in refusal.text
    await subject.until_spent(2 * CALL_MICROS)


async def test_a_call_that_the_wallet_does_not_cover_is_refused(subject: Subject) -> None:
    await subject.wallet(0.5)
    key = await subject.key()
    assert error_of(await subject.call(key)) == (422, "budget_exceeded")
    assert (await subject.call(key, "mock-small")).status_code == 200


async def test_a_wallet_of_exactly_one_call_admits_exactly_one(subject: Subject) -> None:
    await subject.wallet(COSTS["mock-costly"])
    key = await subject.unmarked_key()
    assert [(await subject.call(key)).status_code for _ in range(2)] == [200, 422]


async def test_a_raised_wallet_admits_the_very_next_call(subject: Subject) -> None:
    await subject.wallet(0)
    key = await subject.key()
    assert await subject.gateway.probe_key(str(key.key)) is Probe.WALLET_EXCEEDED
    await subject.wallet(2)
    assert await subject.gateway.probe_key(str(key.key)) is Probe.USABLE
    assert (await subject.call(key)).status_code == 200


async def test_a_lowered_wallet_refuses_the_very_next_call(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    assert (await subject.call(key)).status_code == 200
    await subject.wallet(1)
    assert await subject.gateway.probe_key(str(key.key)) is Probe.WALLET_EXCEEDED
    assert (await subject.call(key, "mock-small")).status_code == 422


async def test_a_cap_stops_its_own_key_alone(subject: Subject) -> None:
    await subject.wallet(9)
    capped, free = await subject.key(budget_cents=0), await subject.key()
    assert await subject.gateway.probe_key(str(capped.key)) is Probe.CAP_EXCEEDED
    refusal = await subject.call(capped)
    assert error_of(refusal) == (422, "budget_exceeded")
    assert "Key=" in refusal.text
    assert await subject.gateway.probe_key(str(free.key)) is Probe.USABLE


async def test_of_a_cap_and_a_wallet_both_used_up_the_cap_is_named(subject: Subject) -> None:
    await subject.wallet(0)
    key = await subject.key(budget_cents=0)
    assert await subject.gateway.probe_key(str(key.key)) is Probe.CAP_EXCEEDED
    assert "Key=" in (await subject.call(key)).text


async def test_without_its_user_a_key_has_no_wallet(subject: Subject) -> None:
    key = await subject.unmarked_key()
    assert (await subject.call(key)).status_code == 200
    assert await subject.gateway.probe_key(str(key.key)) is Probe.USABLE


async def test_a_probe_costs_nothing(subject: Subject) -> None:
    await subject.wallet(COSTS["mock-costly"])
    key = await subject.unmarked_key()
    for _ in range(3):
        assert await subject.gateway.probe_key(str(key.key)) is Probe.USABLE
    assert (await subject.call(key)).status_code == 200


async def test_a_blocked_key_is_refused_by_its_block(subject: Subject) -> None:
    await subject.wallet(0)
    key = await subject.key()
    await subject.gateway.block_key(key.key_hash)
    assert (await subject.ask(key, "/utils/token_counter", model="mock-small", prompt="x")).status_code == 401
    assert await subject.gateway.probe_key(str(key.key)) is Probe.KEY_REFUSED


# ---------------------------------------------------------------------- lists


async def test_who_spent_last_is_first_in_the_list_of_changes(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    await subject.key()
    before = (await subject.gateway.read_changes()).newest
    assert (await subject.call(key)).status_code == 200
    await subject.until_spent(CALL_MICROS)
    assert before is not None
    async with asyncio.timeout(30):
        # One flush writes its users first and its keys, which the list is sorted by, a moment later.
        while (changes := await subject.gateway.read_changes()).newest in (None, before):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert {one.user_id: one.spend_micros for one in changes.spenders}[subject.user_id] == CALL_MICROS
    assert changes.newest is not None
    assert changes.oldest is not None
    assert changes.oldest <= before < changes.newest


async def test_a_walk_finds_every_user_with_a_key_and_says_whose_row_is_missing(subject: Subject) -> None:
    await subject.wallet(5)
    await subject.key()
    stranger = replace(subject, user_id=wanted("").id)
    await stranger.key()
    found = {
        one.user_id: one.spend_micros async for page in subject.gateway.walk_keys() for one in page.spenders
    }
    assert (found[subject.user_id], found[stranger.user_id]) == (0, None)


async def test_pages_go_by_token_and_end(subject: Subject) -> None:
    made = {(await subject.key()).key_hash for _ in range(5)}
    asked = {
        "size": 2,
        "sort_by": "token",
        "sort_order": "asc",
        "return_full_object": "true",
        "expand": "user",
    }
    first = (await subject.get("/key/list", page=1, **asked)).json()
    pages = [
        (await subject.get("/key/list", page=page, **asked)).json()
        for page in range(1, first["total_pages"] + 1)
    ]
    tokens = [key["token"] for page in pages for key in page["keys"]]
    assert tokens == sorted(tokens)
    assert made <= set(tokens)
    assert len(tokens) == first["total_count"]
    beyond = (await subject.get("/key/list", page=first["total_pages"] + 1, **asked)).json()
    assert beyond["keys"] == []


async def test_a_page_has_at_most_a_hundred_keys(subject: Subject) -> None:
    assert (await subject.get("/key/list", page=1, size=101, sort_by="token")).status_code == 422


async def test_deleted_keys_are_not_listed(subject: Subject) -> None:
    key = await subject.key()
    await subject.post("/key/delete", keys=[key.key_hash])
    found = {one.user_id async for page in subject.gateway.walk_keys() for one in page.spenders}
    assert subject.user_id not in found


# --------------------------------------------------------------------- health


async def test_it_answers_that_it_is_ready(subject: Subject) -> None:
    await subject.gateway.ping()
    answer = await subject.get("/health/readiness")
    assert (answer.status_code, answer.json()["db"]) == (200, "connected")


async def test_its_models_have_a_price(subject: Subject) -> None:
    assert not set(COSTS) & set(find_faults(await subject.gateway.list_deployments()).unpriced)
    told = (await subject.get("/models")).json()
    assert set(COSTS) <= {model["id"] for model in told["data"]}


async def test_another_master_key_is_not_accepted(subject: Subject) -> None:
    intruder = LiteLLM(settings_for(str(subject.http.base_url), "sk-not-the-master-key"), subject.http)
    with pytest.raises(TransientError) as caught:
        await intruder.read_user(subject.user_id)
    assert caught.value.code == "litellm_unauthorised"


@pytest.mark.parametrize("path", ["/key/block", "/key/update", "/user/update"])
async def test_a_users_key_manages_nothing(subject: Subject, path: str) -> None:
    await subject.wallet(5)
    key = await subject.key()
    answer = await subject.ask(key, path, key=key.key_hash, user_id=subject.user_id, max_budget=99)
    assert answer.status_code in (401, 403)
    assert (await subject.user()).budget_micros == 5_000_000


# --- limits of the account, models, former strings ----------------------------------------------------------


async def test_limits_of_the_account_are_set_and_cleared_and_the_wallet_stays(subject: Subject) -> None:
    await subject.gateway.write_wallet(subject.user_id, 2_500_000, 60, 9_000)
    assert await subject.user() == ObservedUser(2_500_000, None, 0, None, 60, 9_000)
    await subject.gateway.write_wallet(subject.user_id, 2_500_000)
    assert await subject.user() == ObservedUser(2_500_000, None, 0, None)


async def test_the_models_of_a_key_are_set_changed_and_cleared(subject: Subject) -> None:
    await subject.wallet(2.5)
    key = await subject.key(models=("mock-small",))
    observed = await subject.gateway.read_key(key.key_hash)
    assert observed is not None
    assert observed.models == ("mock-small",)
    assert (await subject.call(key, "mock-large")).status_code in (401, 403)
    assert (await subject.call(key, "mock-small")).status_code == 200
    for models in (("mock-large", "mock-small"), ()):
        await subject.gateway.update_key(replace(key, models=models))
        observed = await subject.gateway.read_key(key.key_hash)
        assert observed is not None
        assert sorted(observed.models) == sorted(models)


async def test_a_key_shows_what_it_spent_of_its_cap(subject: Subject) -> None:
    await subject.wallet(5)
    key = await subject.key()
    assert (await subject.call(key)).status_code == 200
    await subject.until_spent(1_000_800)
    await subject.until_key_spent(key, 1_000_800)  # LiteLLM writes a key's spend apart from its user's
