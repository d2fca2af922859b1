"""The dashboard's files: served under a strict policy, told public facts alone, absent in words."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.service import Service, make_settings, running, supabase
from webhook.routes import dashboard


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Keyfund</title>")
    (tmp_path / "assets" / "index-a1B2_c3.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("not for anybody")
    monkeypatch.setattr(dashboard, "BUILT", tmp_path)
    return tmp_path


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    with supabase():
        async with running(make_settings(api_rate_per_minute=2)) as service:
            yield service


@pytest.mark.usefixtures("built")
async def test_the_page_runs_its_own_files_alone(service: Service) -> None:
    for path in ("/analytics", "/analytics/"):
        answer = await service.call("GET", path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'; " in policy
        assert "connect-src 'self' http://supabase.test; " in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("realtime", "allowed"),
    [
        (False, "connect-src 'self' https://p.supabase.co;"),
        (True, "connect-src 'self' https://p.supabase.co wss://p.supabase.co;"),
    ],
)
def test_a_socket_is_allowed_only_with_realtime(realtime: bool, allowed: str) -> None:
    settings = make_settings(supabase_url="https://p.supabase.co", supabase_realtime=realtime)
    assert allowed in dashboard.content_security_policy(settings)


@pytest.mark.usefixtures("built")
async def test_files_are_kept_for_good_and_nothing_else_is_given_out(service: Service) -> None:
    answer = await service.call("GET", "/analytics/assets/index-a1B2_c3.js")
    assert answer.text == "export {}"
    assert answer.headers["content-encoding"] == "gzip"
    plain = {"accept-encoding": "identity"}
    answer = await service.call("GET", "/analytics/assets/index-a1B2_c3.js", plain)
    assert answer.content == b"export {}"
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    for name in ("other.js", "..%2Fsecret.txt", "..%5Csecret.txt", ".", "%2e%2e", "a/b.js"):
        assert (await service.call("GET", f"/analytics/assets/{name}")).status_code in (404, 422), name


async def test_what_is_not_built_says_how_to_build_it(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "BUILT", tmp_path)
    answer = await service.call("GET", "/analytics")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "dashboard_not_built"
    assert "npm run build" in answer.json()["error"]["message"]


async def test_the_page_is_told_public_facts_alone(service: Service) -> None:
    told = (await service.call("GET", "/analytics/config.json")).json()
    assert told == {
        "supabase_url": "http://supabase.test",
        "supabase_anon_key": "sb_publishable_x",
        "supabase_schema": "public",
        "credit_value_cents": 2,
        "payments": True,
        "realtime": False,
        "seller": None,
    }
    assert "secret" not in json.dumps(told)


@pytest.mark.usefixtures("built")
async def test_loads_of_the_page_are_not_counted(service: Service) -> None:
    for path in ("/analytics", "/analytics/config.json", "/analytics/assets/index-a1B2_c3.js") * 3:
        assert (await service.call("GET", path)).status_code == 200
    assert (await service.call("GET", "/analyticsx")).status_code == 404
