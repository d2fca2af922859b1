"""The LiteLLM client: what is sent, and what each kind of answer means."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx

from core.domain.keys import KeyState
from core.domain.pushes import Probe
from core.errors import RefusedError, TransientError
from core.gateways.litellm import LiteLLM
from core.settings import Settings
from tests.unit.test_decisions import WANTED

BASE = "http://litellm.test"
OVER = {"error": {"message": "", "type": "budget_exceeded", "param": None, "code": "422"}}


@pytest.fixture
def litellm() -> LiteLLM:
    settings = Settings.model_validate(
        {
            "supabase_url": "http://supabase.test",
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
            "litellm_base_url": BASE,
            "litellm_master_key": "sk-master-key",
            "litellm_timeout_seconds": 2,
        }
    )
    return LiteLLM(settings, httpx.AsyncClient())


def over(owner: str) -> httpx.Response:
    message = f"ExceededBudget: {owner}=u1 over budget. Spend=2.5, Budget=2.5"
    return httpx.Response(422, json={"error": {**OVER["error"], "message": message}})


async def test_a_wallet_is_absolute_for_life_and_carries_nothing_else(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.post(f"{BASE}/user/update").respond(json={})
        await litellm.write_wallet("u1", 12_345_678)
        sent = json.loads(route.calls.last.request.content)
        await litellm.write_wallet("u1", 1, 60, 9000)
        limited = json.loads(route.calls.last.request.content)
    assert sent == {
        "user_id": "u1",
        "max_budget": 12.345678,
        "budget_duration": None,
        "rpm_limit": None,
        "tpm_limit": None,
    }
    assert (limited["rpm_limit"], limited["tpm_limit"]) == (60, 9000)


async def test_a_wallet_below_zero_is_never_sent(litellm: LiteLLM) -> None:
    with pytest.raises(ValueError, match="never below 0"):
        await litellm.write_wallet("u1", -1)


async def test_a_key_is_created_bound_to_its_user_and_unable_to_manage(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.post(f"{BASE}/key/generate").respond(json={})
        await litellm.create_key(replace(WANTED, state=KeyState.REVOKED))
        sent = json.loads(route.calls.last.request.content)
    assert sent == {
        "key": "sk-kf-1",
        "user_id": "u1",
        "metadata": WANTED.marks,
        "blocked": True,
        "max_budget": 20.0,
        "budget_duration": "30d",
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "max_parallel_requests": 10,
        "allowed_routes": list(WANTED.fences.paths),
        "models": [],
        "duration": None,
    }


async def test_spend_is_never_written(litellm: LiteLLM) -> None:
    with respx.mock:
        respx.post(url__startswith=BASE).respond(json={})
        await litellm.write_wallet("u1", 1)
        await litellm.create_key(WANTED)
        await litellm.update_key(WANTED)
        assert not any(b"spend" in call.request.content for call in respx.calls)


async def test_a_period_is_given_again_only_when_it_is_to_begin_anew(litellm: LiteLLM) -> None:
    with respx.mock:
        written = respx.post(f"{BASE}/key/update").respond(json={})
        await litellm.update_key(WANTED)
        assert b"budget_duration" not in written.calls.last.request.content
        await litellm.update_key(WANTED, new_period=True)
        assert b'"budget_duration":"30d"' in written.calls.last.request.content


@pytest.mark.parametrize(
    ("left", "duration"),
    [(None, None), (timedelta(days=2, seconds=30), 172_829), (timedelta(seconds=-1), 0), (timedelta(-9), 0)],
)
async def test_the_end_is_told_as_the_time_that_is_left_and_never_rounded_up(
    litellm: LiteLLM, left: timedelta | None, duration: int | None
) -> None:
    with respx.mock:
        written = respx.post(f"{BASE}/key/update").respond(json={})
        ends = None if left is None else datetime.now(UTC) + left
        await litellm.update_key(replace(WANTED, expires_at=ends))
        told = json.loads(written.calls.last.request.content)["duration"]
    assert told == (None if duration is None else f"{duration}s")


async def test_a_deleted_key_and_an_unknown_one_are_none(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.get(f"{BASE}/key/info")
        route.respond(json={"key": "h", "info": {"status": "deleted"}})
        assert await litellm.read_key("h") is None
        route.respond(404, json={"error": {"message": "", "type": "not_found_error", "code": "404"}})
        assert await litellm.read_key("h") is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 302])
async def test_an_outage_is_transient(litellm: LiteLLM, status: int) -> None:
    with respx.mock:
        respx.post(f"{BASE}/user/update").respond(status, headers={"retry-after": "7"}, json={"detail": "x"})
        with pytest.raises(TransientError) as caught:
            await litellm.write_wallet("u1", 1)
    assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("status", [401, 403])
async def test_our_own_wrong_credentials_park_nobody(litellm: LiteLLM, status: int) -> None:
    with respx.mock:
        respx.post(f"{BASE}/user/update").respond(status, json={"error": {"type": "token_not_found_in_db"}})
        respx.get(f"{BASE}/v2/user/info").respond(status, json={"error": {"type": "token_not_found_in_db"}})
        with pytest.raises(TransientError, match="check LITELLM_MASTER_KEY"):
            await litellm.write_wallet("u1", 1)


async def test_a_400_while_litellms_database_is_away_is_an_outage(litellm: LiteLLM) -> None:
    with respx.mock:
        respx.post(f"{BASE}/user/update").respond(400, json={"error": {"type": "auth_error"}})
        respx.get(f"{BASE}/v2/user/info").respond(500, json={"error": {"type": "internal_server_error"}})
        with pytest.raises(TransientError):
            await litellm.write_wallet("u1", 1)


@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_a_refusal_is_a_refusal_and_never_quotes_the_vendor(litellm: LiteLLM, status: int) -> None:
    with respx.mock:
        respx.post(f"{BASE}/key/update").respond(status, json={"error": {"message": "sk-secret-0123456789"}})
        respx.get(f"{BASE}/v2/user/info").respond(404, json={"error": {}})
        with pytest.raises(RefusedError) as caught:
            await litellm.update_key(WANTED)
    assert (caught.value.status, caught.value.vendor_status) == (400, status)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json=[])])
async def test_rubbish_after_a_write_leaves_its_outcome_unknown(
    litellm: LiteLLM, answer: httpx.Response
) -> None:
    with respx.mock:
        respx.post(f"{BASE}/user/update").mock(return_value=answer)
        with pytest.raises(TransientError) as caught:
            await litellm.write_wallet("u1", 1)
    assert caught.value.outcome_unknown


async def test_a_write_is_repeated_only_when_it_was_certainly_not_sent(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.post(f"{BASE}/user/update")
        route.side_effect = [httpx.ConnectError("x"), httpx.Response(200, json={})]
        await litellm.write_wallet("u1", 1)
        assert route.call_count == 2
        route.side_effect = [httpx.ReadTimeout("x"), httpx.Response(200, json={})]
        with pytest.raises(TransientError) as caught:
            await litellm.write_wallet("u1", 1)
        assert route.call_count == 3
    assert caught.value.outcome_unknown


async def test_a_read_is_repeated_within_the_call(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.get(f"{BASE}/v2/user/info")
        route.side_effect = [
            httpx.Response(500),
            httpx.ReadError("x"),
            httpx.Response(200, json={"user_id": "u1", "max_budget": 20.0, "spend": 0.1 + 0.2}),
        ]
        user = await litellm.read_user("u1")
    assert user is not None
    assert (user.budget_micros, user.spend_micros) == (20_000_000, 300_000)


@pytest.mark.parametrize(
    ("answer", "probe"),
    [
        (httpx.Response(200, json={"total_tokens": 1}), Probe.USABLE),
        (over("User"), Probe.WALLET_EXCEEDED),
        (over("Key"), Probe.CAP_EXCEEDED),
        (httpx.Response(401, json={"error": {"type": "auth_error"}}), Probe.KEY_REFUSED),
        (httpx.Response(403, json={"error": {"type": "key_model_access_denied"}}), Probe.KEY_REFUSED),
    ],
    ids=["usable", "wallet", "cap", "blocked", "model"],
)
async def test_what_the_free_probe_tells(litellm: LiteLLM, answer: httpx.Response, probe: Probe) -> None:
    with respx.mock:
        respx.get(f"{BASE}/models").respond(json={"data": [{"id": "gpt-*"}, {"id": "mock-small"}]})
        route = respx.post(f"{BASE}/utils/token_counter").mock(return_value=answer)
        assert await litellm.probe_key("sk-kf-own") is probe
        assert route.calls.last.request.headers["authorization"] == "Bearer sk-kf-own"


async def test_a_budget_refusal_is_known_by_its_type_whatever_its_status(litellm: LiteLLM) -> None:
    with respx.mock:
        respx.get(f"{BASE}/models").respond(json={"data": [{"id": "m"}]})
        body = {"error": {**OVER["error"], "message": "ExceededBudget: User=u1 over budget."}}
        respx.post(f"{BASE}/utils/token_counter").respond(400, json=body)
        assert await litellm.probe_key("sk-kf-own") is Probe.WALLET_EXCEEDED


async def test_a_write_that_is_repeated_takes_no_longer_than_one_call_may(litellm: LiteLLM) -> None:
    """Else it could land after the lease under which it was sent."""
    sent: list[float] = []

    async def slow(_request: httpx.Request) -> httpx.Response:
        sent.append(time.monotonic())
        await asyncio.sleep(1.2)
        if len(sent) == 1:
            raise httpx.ConnectTimeout("x")
        await asyncio.sleep(5)
        return httpx.Response(200, json={})

    began = time.monotonic()
    with respx.mock:
        respx.post(f"{BASE}/user/update").mock(side_effect=slow)
        with pytest.raises(TransientError) as caught:
            await litellm.write_wallet("u1", 1)
    assert caught.value.outcome_unknown
    assert len(sent) == 2
    assert time.monotonic() - began < 3  # two seconds, not those of each attempt


async def test_a_403_of_a_create_where_a_read_works_names_the_setting_that_forbids_it(
    litellm: LiteLLM,
) -> None:
    with respx.mock:
        respx.post(f"{BASE}/key/generate").respond(403, json={"error": {"type": "internal_server_error"}})
        respx.get(f"{BASE}/v2/user/info").respond(404, json={"error": {"type": "not_found_error"}})
        with pytest.raises(RefusedError, match="disable_custom_api_keys"):
            await litellm.create_key(WANTED)


async def test_a_403_of_any_other_write_where_a_read_works_is_a_refusal(litellm: LiteLLM) -> None:
    with respx.mock:
        respx.post(f"{BASE}/key/update").respond(403, json={"error": {"type": "internal_server_error"}})
        respx.get(f"{BASE}/v2/user/info").respond(json={})
        with pytest.raises(RefusedError) as refusal:
            await litellm.update_key(WANTED)
    assert (refusal.value.code, refusal.value.status) == ("litellm_forbidden", 403)


async def test_a_403_of_reads_too_is_a_wrong_key(litellm: LiteLLM) -> None:
    with respx.mock:
        respx.post(f"{BASE}/key/generate").respond(403, json={"error": {"type": "auth_error"}})
        respx.get(f"{BASE}/v2/user/info").respond(403, json={"error": {"type": "auth_error"}})
        with pytest.raises(TransientError, match="LITELLM_MASTER_KEY"):
            await litellm.create_key(WANTED)
