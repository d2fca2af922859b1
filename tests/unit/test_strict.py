"""What no route asks for is refused, and a body that may be left out may be."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import respx
from fastapi.routing import APIRoute

from tests.unit.service import LITELLM, REST, Service, listed, make_settings, running, supabase, token
from webhook import examples
from webhook.app import routes

ID = examples.KEY_ID
METRICS = "m" * 20
OPEN = {
    "/webhooks/paystack",
    "/webhooks/paystack/",
    "/payment-webhook",
    "/payment-webhook/",
    "/checkout/return",
}
PAGE = "/analytics"
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/keys/manage": {"max_buget": 100},
    "PATCH /api/keys/manage/{key_id}": {"blockd": True},
    "POST /api/keys/manage/{key_id}/rotate": {"overlap": 0},
    "POST /api/keys/sync": {"keyId": ID, "action": "update", "all": True},
    "POST /api/credits/checkout": {"package_id": "starter-ngn", "amout": 1},
    "POST /api/usage/estimate": {"model": "m", "prompt": "x", "max_token": 1},
    "POST /api/admin/payments/{reference}/retry": {"stp": "verified"},
    "POST /api/admin/payments/{reference}/refund": {"reason": "x", "amount": 1},
    "POST /api/admin/resync": {"limit": 1},
    "DELETE /api/keys/manage/{key_id}": {"force": True},
}


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env


@pytest.fixture
def rest() -> Any:
    with supabase() as mock:
        mock.post(f"{REST}/rpc/is_administrator").respond(json=True)
        for function in ("create_virtual_key", "rotate_virtual_key", "update_virtual_key"):
            mock.post(f"{REST}/rpc/{function}").respond(json=examples.KEY)
        mock.post(f"{REST}/rpc/claim_push").respond(json=None)
        mock.get(f"{REST}/virtual_keys").mock(return_value=listed())
        yield mock


@pytest.fixture
async def service(rest: respx.MockRouter) -> AsyncIterator[Service]:
    settings = make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master", metrics_token=METRICS)
    async with running(settings) as service:
        yield service


def every_route() -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for route in routes().routes
        if isinstance(route, APIRoute) and route.path not in OPEN and not route.path.startswith(PAGE)
        for method in sorted(route.methods or ())
    ]


def filled(path: str) -> str:
    return path.replace("{key_id}", ID).replace("{reference}", "kf-1")


@pytest.mark.parametrize(("method", "path"), every_route())
async def test_an_unknown_parameter_is_refused(service: Service, method: str, path: str) -> None:
    who = token("ada") if path != "/metrics" else {"authorization": f"Bearer {METRICS}"}
    body: dict[str, Any] = {"json": {}} if method in ("POST", "PATCH") else {}
    answer = await service.call(method, f"{filled(path)}?limt=5", who, **body)
    assert answer.status_code == 422
    if method != "HEAD":
        assert answer.json()["error"]["message"] == "limt: There is no such parameter"


@pytest.mark.parametrize(("route", "body"), BODIES.items())
async def test_an_unknown_field_is_refused_and_nothing_is_done(
    service: Service, rest: respx.MockRouter, route: str, body: dict[str, Any]
) -> None:
    method, path = route.split()
    answer = await service.call(method, filled(path), token("ada"), json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    called = {call.request.url.path.rpartition("/")[2] for call in rest.calls}
    assert called <= {"check_installation", "is_administrator"}


def test_every_route_with_a_body_is_among_them() -> None:
    with_body = {f"{method} {path}" for method, path in every_route() if method not in ("GET", "HEAD")}
    assert with_body == set(BODIES)


async def test_a_parameter_given_twice_is_refused(service: Service) -> None:
    answer = await service.get("/api/keys/sync?limit=5&limit=6", token("ada"))
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "limit: Given twice")


@pytest.mark.parametrize("body", [[], [{"name": "a"}, {"name": "b"}], "x", 5, True])
async def test_a_body_that_is_no_object_is_refused(service: Service, body: Any) -> None:
    answer = await service.call("POST", "/api/keys/manage", token("ada"), json=body)
    assert answer.status_code == 422


async def test_a_stranger_hears_of_the_token_first(service: Service) -> None:
    answer = await service.call("POST", "/api/keys/manage?x=1", json={"max_buget": 100})
    assert answer.status_code == 401


@pytest.mark.parametrize("sent", [{}, {"content": b""}, {"json": {}}], ids=str)
@pytest.mark.parametrize(
    ("route", "function", "arguments"),
    [
        ("POST /api/keys/manage", "create_virtual_key", {"name": "Key"}),
        ("PATCH /api/keys/manage/{key_id}", "update_virtual_key", {"key_id": ID}),
        (
            "POST /api/keys/manage/{key_id}/rotate",
            "rotate_virtual_key",
            {"key_id": ID, "overlap_seconds": 3600},
        ),
    ],
)
async def test_without_a_body_the_usual_is_meant(
    service: Service, rest: respx.MockRouter, route: str, function: str, arguments: Any, sent: Any
) -> None:
    method, path = route.split()
    answer = await service.call(method, filled(path), token("ada"), **sent)
    assert answer.status_code in (200, 201), answer.text
    (called,) = [call for call in rest.calls if call.request.url.path.endswith(function)]
    assert json.loads(called.request.content) == arguments


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/analytics", "/analytics/", "/analytics/config.json", "/openapi.json"],
)
async def test_head_is_answered_as_get_is_where_that_is_public(service: Service, path: str) -> None:
    got, head = [await service.call(method, path) for method in ("GET", "HEAD")]
    assert head.status_code == got.status_code != 405
    assert head.headers.get("content-type") == got.headers.get("content-type")


async def test_head_of_the_return_page_is_answered(service: Service, rest: respx.MockRouter) -> None:
    rest.post(f"{REST}/rpc/get_payment").respond(json=None)
    head = await service.call("HEAD", "/checkout/return?reference=kf-1&trxref=kf-1")
    assert head.status_code == 200
