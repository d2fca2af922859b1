"""What a key may be asked to be over HTTP: what is passed on as given, and what is malformed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import respx

from tests.unit.service import LITELLM, REST, Service, make_settings, running, supabase, token
from webhook import examples

MANAGE = "/api/keys/manage"
WAYS = {
    "POST": (MANAGE, "create_virtual_key", {"name": "Key"}),
    "PATCH": (f"{MANAGE}/{examples.KEY_ID}", "update_virtual_key", {"key_id": examples.KEY_ID}),
}


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    with supabase() as mock:
        for _, function, _ in WAYS.values():
            mock.post(f"{REST}/rpc/{function}").respond(json=examples.KEY)
        mock.post(f"{REST}/rpc/claim_push").respond(json=None)
        yield mock


@pytest.fixture
async def service(rest: respx.MockRouter) -> AsyncIterator[Service]:
    async with running(make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master")) as service:
        yield service


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({"budget_duration": "lifetime"}, {}),
        ({"models": ["gpt-4o", "*"]}, {}),
        ({"expires_at": "infinity"}, {}),
        ({"expires_at": "2100-01-01T00:00:00Z"}, {"expires_at": "2100-01-01T00:00:00+00:00"}),
        ({"expires_at": "2100-01-01 00:00:00.5+05:30"}, {"expires_at": "2100-01-01T00:00:00.500000+05:30"}),
        ({"budget_duration": None, "models": None, "expires_at": None}, None),
    ],
    ids=str,
)
async def test_what_is_chosen_is_passed_on_and_null_is_as_if_not_given(
    service: Service,
    rest: respx.MockRouter,
    method: str,
    given: dict[str, Any],
    passed: dict[str, Any] | None,
) -> None:
    path, function, always = WAYS[method]
    answer = await service.call(method, path, token("ada"), json=given)
    assert answer.status_code in (200, 201), answer.text
    (called,) = [call for call in rest.calls if call.request.url.path.endswith(function)]
    assert json.loads(called.request.content) == always | ({} if passed is None else given | passed)
    assert answer.json()["models"] == examples.KEY["models"]
    assert answer.json()["expires_at"] == examples.KEY["expires_at"]


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize(
    "body",
    [
        {"budget_duration": "2d"}, {"budget_duration": 30}, {"budget_duration": ""},
        {"budget_duration": "30D"},
        {"models": []}, {"models": "a"}, {"models": [1]}, {"models": [None]}, {"models": [""]},
        {"models": [["a"]]}, {"models": {"a": 1}}, {"models": ["x" * 201]}, {"models": ["a"] * 101},
        {"models": ["a\u0000"]}, {"expires_at": "soon"}, {"expires_at": ""}, {"expires_at": 1_900_000_000},
        {"expires_at": "1900000000"}, {"expires_at": "2100-01-01"}, {"expires_at": "2100-01-01T00:00:00"},
        {"expires_at": "2100-13-01T00:00:00Z"}, {"expires_at": True},
        {"expires_at": ["2100-01-01T00:00:00Z"]},
        {"expires_at": "Infinity"}, {"expires_at": "never"}, {"duration": "30d"}, {"expires": "infinity"},
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    service: Service, rest: respx.MockRouter, method: str, body: dict[str, Any]
) -> None:
    path, function, _ = WAYS[method]
    answer = await service.call(method, path, token("ada"), json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert not [call for call in rest.calls if call.request.url.path.endswith(function)]
