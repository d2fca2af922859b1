"""What endangers wallets is looked for once a minute, kept, and told to administrators alone."""

from pathlib import Path
from typing import cast

import httpx
import pytest
import respx

from core.domain.models import Model
from core.domain.routes import PROOFLESS, Fences, RouteReport
from core.domain.watch import Callbacks
from core.errors import TransientError
from core.flows.watch import Watcher
from core.gateways.litellm import LiteLLM
from core.guard import shipped_version
from core.store import ServiceStore
from tests.unit.service import LITELLM, REST, STATUS, make_settings, running, supabase, token
from worker.jobs.sync import WatchLiteLLM

WAIVED = Model("waived", "image_generation", {"output_cost_per_image": 3.0}, None, is_waived=True)
WELL = Model("well", None, {"output_cost_per_token": 0.1}, 100)


class Proxy:
    def __init__(self, guard: Callbacks | None, *models: Model) -> None:
        self.guard, self.models, self.away = guard, models, False

    async def read_callbacks(self) -> Callbacks | None:
        return self.guard

    async def read_version(self) -> str | None:
        return "1.106.2"

    async def list_deployments(self) -> tuple[Model, ...]:
        if self.away:
            raise TransientError("litellm_unreachable", "LiteLLM cannot be reached.")
        return self.models


class Database:
    def __init__(self, *routes: str) -> None:
        self.routes, self.recorded = routes, list[tuple[str, ...]]()

    async def record_warnings(self, warnings: tuple[str, ...]) -> None:
        self.recorded.append(warnings)

    async def read_routes(self) -> RouteReport:
        return RouteReport(Fences((*PROOFLESS, *self.routes), {}, 10, 20), (), (), None, None, None)


def job(proxy: Proxy, database: Database) -> WatchLiteLLM:
    store = cast(ServiceStore, database)
    return WatchLiteLLM(store, Watcher(store, cast(LiteLLM, proxy)))


async def test_a_well_litellm_warns_of_nothing() -> None:
    database = Database()
    await job(Proxy(Callbacks(shipped_version()), WELL), database).run_once()
    assert database.recorded == [()]


async def test_a_missing_guard_a_model_outside_every_wallet_and_an_old_proof_are_named() -> None:
    database = Database("images")
    await job(Proxy(Callbacks(None), WAIVED), database).run_once()
    guard, model, route = database.recorded[0]
    assert "guard is not loaded" in guard
    assert "waived (output_cost_per_image)" in model
    assert "images" in route


async def test_a_key_that_may_not_see_the_callbacks_is_not_told_that_the_guard_is_missing() -> None:
    database = Database()
    await job(Proxy(None, WELL), database).run_once()
    assert database.recorded == [()]


async def test_warnings_stay_while_litellm_is_away() -> None:
    database = Database()
    proxy = Proxy(Callbacks(None))
    proxy.away = True
    await job(proxy, database).run_once()
    assert database.recorded == []


@pytest.mark.parametrize(
    ("shown", "version"),
    [
        (["<litellm.A object at 0x1>", "<Keyfund guard 1.2.3>"], "1.2.3"),
        (["<litellm.A object at 0x1>"], None),
    ],
)
async def test_the_guard_shows_among_litellms_callbacks(shown: list[str], version: str | None) -> None:
    settings = make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master")
    with respx.mock:
        respx.get(f"{LITELLM}/active/callbacks").respond(json={"litellm.callbacks": shown})
        respx.get(f"{LITELLM}/health/readiness/details").respond(403, json={"error": {}})
        litellm = LiteLLM(settings, httpx.AsyncClient())
        assert await litellm.read_callbacks() == Callbacks(version)
        assert await litellm.read_version() is None


@pytest.mark.parametrize(("is_administrator", "told"), [(True, ["Mind the gap."]), (False, [])])
async def test_only_administrators_are_told_which_fence_is_missing(
    is_administrator: bool, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    with supabase() as rest:
        rest.post(f"{REST}/rpc/read_status").respond(json={**STATUS, "litellm_warnings": ["Mind the gap."]})
        rest.post(f"{REST}/rpc/is_administrator").respond(json=is_administrator)
        async with running(make_settings()) as service:
            rest.post(f"{REST}/rpc/list_missing_triggers").respond(json=["keyfund_new_user"])
            answer = await service.get("/api/status", token("ada"))
    assert answer.json()["litellm"]["warnings"] == told
    assert answer.json()["supabase"]["missing_triggers"] == (["keyfund_new_user"] if is_administrator else [])


@pytest.mark.parametrize(
    ("is_administrator", "backlog"),
    [
        (False, {"keys": 1, "events": 0, "parked": 0, "oldest_seconds": 7}),
        (True, {"keys": 80, "events": 9, "parked": 3, "oldest_seconds": 600}),
    ],
)
async def test_what_everybody_waits_for_is_told_to_administrators_alone(
    is_administrator: bool, backlog: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    everybody = {"keys": 80, "events": 9, "parked": 3, "oldest_seconds": 600}
    with supabase() as rest:
        rest.post(f"{REST}/rpc/read_status").respond(json={**STATUS, **everybody})
        rest.post(f"{REST}/rpc/list_missing_triggers").respond(json=[])
        rest.post(f"{REST}/rpc/is_administrator").respond(json=is_administrator)
        async with running(make_settings()) as service:
            answer = await service.get("/api/status", token("ada"))
    assert answer.json()["backlog"] == backlog
    assert answer.json()["backlog_of"] == ("everybody" if is_administrator else "account")
