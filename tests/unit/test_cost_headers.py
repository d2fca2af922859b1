"""INCLUDE_COST_HEADERS: what a caller has left, on answers that succeed, and nothing where it is off."""

from typing import Any

import httpx
import pytest
import respx

from tests.unit.service import REST, make_settings, running, supabase, token

BALANCE = {"credits": 123, "after_top_up": 500, "left_percent": 25, "notice": 50, "topped_up_at": None}
ME = token("0d4f4c7e-9a51-4b8e-8f0a-2c1d3e4f5a6b")
NAMES = {"x-keyfund-credits-balance", "x-keyfund-estimated-cost-micros"}
ESTIMATE = {"model": "m", "prompt": "12345678", "max_tokens": 998}


async def call(
    on: bool, method: str, path: str, headers: dict[str, str] = ME, balance: Any = BALANCE, **request: Any
) -> tuple[httpx.Response, respx.Route]:
    with supabase() as mock:
        route = mock.post(f"{REST}/rpc/read_balance")
        route.mock(
            side_effect=[balance] if isinstance(balance, Exception) else [httpx.Response(200, json=balance)]
        )
        mock.get(f"{REST}/credit_packages").respond(json=[])
        async with running(make_settings(include_cost_headers=on)) as service:
            return await service.call(method, path, headers, **request), route


async def test_a_signed_in_caller_is_told_what_is_left() -> None:
    answer, route = await call(True, "GET", "/api/credits/packages")
    assert answer.headers["x-keyfund-credits-balance"] == "123"
    assert route.calls.last.request.headers["authorization"] == ME["authorization"], "as the caller"


async def test_an_estimate_has_its_cost_in_a_header_too() -> None:
    answer, _ = await call(True, "POST", "/api/usage/estimate", json=ESTIMATE)
    assert answer.headers["x-keyfund-estimated-cost-micros"] == "10000"
    assert answer.json()["spend_micros"] == 10_000
    assert answer.headers["x-keyfund-credits-balance"] == "123"


@pytest.mark.parametrize(
    ("method", "path", "request_body"),
    [("GET", "/api/credits/packages", None), ("POST", "/api/usage/estimate", ESTIMATE)],
)
async def test_off_there_are_no_headers_and_nobody_is_asked(
    method: str, path: str, request_body: Any
) -> None:
    answer, route = await call(False, method, path, json=request_body)
    assert answer.status_code == 200
    assert not NAMES & set(answer.headers)
    assert not route.called


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/healthz", ME, 200),  # nobody is signed in there
        ("/api/credits/packages", {}, 401),
        ("/api/nothing", ME, 404),
        ("/api/analytics/usage?start_date=x", ME, 422),
    ],
)
async def test_what_fails_or_is_for_everybody_costs_no_call(
    path: str, headers: dict[str, str], status: int
) -> None:
    answer, route = await call(True, "GET", path, headers)
    assert answer.status_code == status
    assert not NAMES & set(answer.headers)
    assert not route.called


async def test_a_balance_that_cannot_be_had_is_left_out_of_an_answer_that_is_right() -> None:
    answer, route = await call(True, "GET", "/api/credits/packages", balance=httpx.ConnectError("no"))
    assert (answer.status_code, route.called) == (200, True)
    assert not NAMES & set(answer.headers)


@pytest.mark.parametrize("on", [True, False])
async def test_a_browser_may_read_them_where_there_are_any(on: bool) -> None:
    settings = make_settings(include_cost_headers=on, allowed_origins=["https://app.example.com"])
    with supabase():
        async with running(settings) as service:
            answer = await service.get("/healthz", {"origin": "https://app.example.com"})
    shown = set(answer.headers["access-control-expose-headers"].split(", "))
    assert (shown >= NAMES) is on
