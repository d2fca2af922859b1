"""The doctor: a well LiteLLM is well, and what would break a wallet is named, for next to nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from core.domain.keys import KeyState, WantedKey, holds_wallet
from core.domain.models import find_faults
from core.domain.routes import PROOFLESS, Fences
from core.errors import RefusedError
from core.gateways.litellm import LiteLLM, make_litellm_client
from core.guard import shipped_version
from core.settings import Settings
from dev import litellm, provider
from dev.child import Child
from dev.litellm import Proxy
from dev.stack import ROOT, Stack, free_port
from operate.doctor import Visit, examine
from operate.finding import Finding, Verdict
from tests.integration.world import World, until
from tests.support import User

TOKENS = {"input_cost_per_token": 0.00001, "output_cost_per_token": 0.00002}
DEAR = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}
LIMIT = {"max_output_tokens": 4500}


def model(name: str, info: dict[str, Any], **prices: float) -> dict[str, Any]:
    at = {"api_base": "os.environ/PROVIDER_BASE_URL", "api_key": "os.environ/PROVIDER_API_KEY"}
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", **at, **prices},
        "model_info": info,
    }


WELL = [model("live-small", LIMIT, **TOKENS), model("live-large", LIMIT, **DEAR)]
FALLBACK = {"fallbacks": [{"live-small": ["live-large"]}]}
RIGHT = Proxy(
    settings={
        "model_list": [
            *WELL,
            model("live-image", {"mode": "image_generation"}, output_cost_per_image=3),
        ],
        "router_settings": FALLBACK,
    }
)
CARELESS = Proxy(
    guard=False,
    settings={
        "model_list": [
            *WELL,
            model("unpriced", LIMIT),
            model("live-unbounded", {}, **TOKENS),
            model("live-tiered", LIMIT, **TOKENS, input_cost_per_token_priority=0.00002),
            model(
                "live-zero-image",
                {"mode": "image_generation"},
                input_cost_per_token=0,
                output_cost_per_token=0,
                output_cost_per_image=3,
            ),
        ],
        "router_settings": FALLBACK,
        "litellm_settings": {
            "global_disable_no_log_param": False,
            "block_requests_for_models_without_pricing": False,
            "default_internal_user_params": {
                "max_budget": 5,
                "budget_duration": "1d",
                "user_role": "internal_user",
            },
        },
        "general_settings": {
            "enforce_fallback_model_access": False,
            "apply_user_budget_to_team_keys": False,
            "store_model_in_db": True,
        },
    },
)


@dataclass(frozen=True)
class Site:
    """A LiteLLM, and the provider behind it."""

    url: str
    master_key: str
    provider_url: str

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "supabase_url": "http://supabase.test",
                "supabase_service_role_key": "sb_secret_x1234",
                "supabase_anon_key": "sb_publishable_x",
                "litellm_base_url": self.url,
                "litellm_master_key": self.master_key,
                "litellm_cache_seconds": 0,
            }
        )

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.master_key}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **request)

    def diagnose(self, *, really: bool = False, flush_seconds: float = 15) -> tuple[bool, list[Finding]]:
        findings: list[Finding] = []
        visit = Visit(really=really, flush_seconds=flush_seconds)
        return asyncio.run(examine(self.settings, findings.append, visit)), findings

    def bill(self) -> list[dict[str, Any]]:
        """What the provider was paid for since it was last asked."""
        calls = httpx.get(f"{self.provider_url}/sandbox/bill").json()["calls"]
        httpx.delete(f"{self.provider_url}/sandbox/bill")
        return [call for call in calls if call["cost_micros"]]


@contextmanager
def beside(stack: Stack, name: str, proxy: Proxy, database: str) -> Iterator[Site]:
    """A LiteLLM beside the stack's."""
    part = litellm.part(
        ROOT,
        database_url=stack.address.url("litellm", database),
        port=free_port(),
        master_key=stack.master_key,
        home=stack.home / name,
        proxy=proxy,
        env=provider.env(stack.env["PROVIDER_BASE_URL"], stack.provider_key),
    )
    assert stack.reaper is not None
    child = Child(part, stack.logs / f"litellm-{name}.log", stack.reaper.marks)
    stack.reaper.add(child.spawn())
    try:
        child.wait_ready()
        yield Site(part.url, stack.master_key, stack.env["PROVIDER_BASE_URL"])
    finally:
        child.stop()


@pytest.fixture(scope="module")
def right(stack: Stack) -> Iterator[Site]:
    """Set up as the documentation says, with a router's fallback; on the stack's database."""
    with beside(stack, "right", RIGHT, "litellm") as site:
        yield site


@pytest.fixture(scope="module")
def careless(stack: Stack) -> Iterator[Site]:
    """Without the guard, everything wrong that somebody might set up, on a database of its own."""
    with psycopg.connect(stack.superuser_url("postgres"), autocommit=True) as server:
        server.execute("create database careless owner litellm")
    litellm.prepare(ROOT, stack.address.url("litellm", "careless"))
    with beside(stack, "careless", CARELESS, "careless") as site:
        yield site


# ------------------------------------------------------------------------ right


@pytest.mark.timeout(200)
def test_a_right_litellm_is_well_costs_next_to_nothing_and_keeps_nothing_of_the_doctor(
    right: Site, stack: Stack
) -> None:
    right.bill()
    healthy, findings = right.diagnose()
    assert healthy, findings
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    texts = " ".join(finding.text for finding in findings)
    assert f"guard {shipped_version()} is loaded" in texts
    assert "refuses that to a key that may use live-small alone" in texts
    assert "live-image (image_generation): output_cost_per_image $3" in texts
    assert sum(call["cost_micros"] for call in right.bill()) < 1_000
    with psycopg.connect(stack.superuser_url("litellm")) as database:
        for table in ("LiteLLM_UserTable", "LiteLLM_VerificationToken"):
            query = sql.SQL("select count(*) from {} where user_id like 'keyfund-doctor%'")
            left = database.execute(query.format(sql.Identifier(table))).fetchone()
            assert left == (0,)


def test_the_stacks_own_litellm_shows_its_guard_its_version_and_its_bad_models(world: World) -> None:
    site = Site(
        world.env["LITELLM_BASE_URL"], world.env["LITELLM_MASTER_KEY"], world.env["PROVIDER_BASE_URL"]
    )

    async def look() -> tuple[Any, ...]:
        async with make_litellm_client(site.settings) as client:
            gateway = LiteLLM(site.settings, client)
            faults = find_faults(await gateway.list_deployments())
            return await gateway.read_callbacks(), await gateway.read_version(), faults

    callbacks, version, faults = asyncio.run(look())
    assert callbacks.guard_version == shipped_version()
    assert version
    assert faults.broken == {"live-zero-image": ("output_cost_per_image",)}
    assert "live-unbounded" in faults.endless


def test_the_status_tells_administrators_alone_what_endangers_wallets(world: World, admin: User) -> None:
    def warnings(user: User) -> str:
        told: list[str] = world.api(user, "GET", "/api/status").json()["litellm"]["warnings"]
        return " ".join(told)

    text = until(lambda: warnings(admin), what="a worker has had a look")
    assert "live-zero-image (output_cost_per_image)" in text
    assert "live-unbounded" in text
    assert "guard is not loaded" not in text
    assert warnings(world.sign_up()) == ""


# --------------------------------------------------------------------- careless


@pytest.mark.timeout(200)
def test_everything_that_is_wrong_is_named_with_its_setting_and_nothing_dear_is_called(
    careless: Site,
) -> None:
    careless.bill()
    healthy, findings = careless.diagnose(flush_seconds=8)
    assert not healthy
    bad = {verdict: [f.text for f in findings if f.verdict is verdict] for verdict in Verdict}
    broken, warned = " ".join(bad[Verdict.BROKEN]), " ".join(bad[Verdict.WARNING])
    for word in (
        "guard is not loaded",
        "live-zero-image (output_cost_per_image)",
        "global_disable_no_log_param",
        "enforce_fallback_model_access",
        "?model=",
        "no number is promised",
    ):
        assert word in broken
    for word in (
        "outside every wallet: unpriced",
        "live-unbounded",
        "service_tier",
        "apply_user_budget_to_team_keys",
        "store_model_in_db",
        "live-large with two token limits",
        "at least $1,152.00",
        "--yes tries it",
    ):
        assert word in warned
    assert sum(call["cost_micros"] for call in careless.bill()) < 1_000


@pytest.mark.timeout(200)
def test_told_to_the_doctor_overspends_a_wallet_and_says_beforehand_what_that_may_cost(
    careless: Site,
) -> None:
    careless.bill()
    _, findings = careless.diagnose(really=True, flush_seconds=8)
    texts = [finding.text for finding in findings]
    said = next(place for place, text in enumerate(texts) if "Now tried, for up to $0.45" in text)
    assert findings[said + 1].verdict is Verdict.BROKEN
    assert "5 of 5 calls of live-small at once" in texts[said + 1]
    spent = sum(call["cost_micros"] for call in careless.bill())
    assert 225_000 < spent <= 460_000


async def test_default_user_params_neither_change_a_wallet_nor_give_it_a_reset(careless: Site) -> None:
    async with make_litellm_client(careless.settings) as client:
        gateway = LiteLLM(careless.settings, client)
        user_id = str(uuid4())
        for budget_micros in (10_000_000, 20_000_000, 0, 12_345_678):
            await gateway.write_wallet(user_id, budget_micros)
            assert holds_wallet(await gateway.read_user(user_id), budget_micros)
        assert find_faults(await gateway.list_deployments()).unpriced == ("unpriced",)


@pytest.fixture
def without_custom_keys(careless: Site) -> Iterator[Site]:
    """LiteLLM chooses the strings of all keys."""
    setting = {"disable_custom_api_keys": True}
    assert careless.ask("PATCH", "/update/ui_settings", json=setting).is_success
    yield careless
    careless.ask("PATCH", "/update/ui_settings", json={"disable_custom_api_keys": False})


def test_a_litellm_that_chooses_keys_itself_is_told_which_setting_to_remove(
    without_custom_keys: Site,
) -> None:
    healthy, findings = without_custom_keys.diagnose()
    assert (healthy, len(findings)) == (False, 1)
    assert "general_settings.disable_custom_api_keys" in findings[0].text


async def test_a_create_that_litellm_forbids_is_a_refusal_and_no_wrong_master_key(
    without_custom_keys: Site,
) -> None:
    key = f"sk-kf-{uuid4().hex}"
    wanted = WantedKey(
        id=str(uuid4()), user_id=str(uuid4()), installation_id="i", key=key, key_hash="h", name="Key",
        state=KeyState.ACTIVE, budget_cents=None, budget_duration=None, rpm_limit=None, tpm_limit=None,
        revision=1, confirmed=False, maybe_created=False, fences=Fences(PROOFLESS, {}, 10, 20),
    )  # fmt: skip
    async with make_litellm_client(without_custom_keys.settings) as client:
        with pytest.raises(RefusedError, match="disable_custom_api_keys"):
            await LiteLLM(without_custom_keys.settings, client).create_key(wanted)


# ---------------------------------------------------------------------- the key


def test_a_wrong_master_key_and_an_absent_litellm_are_one_clear_line(world: World) -> None:
    url, bill = world.env["LITELLM_BASE_URL"], world.env["PROVIDER_BASE_URL"]
    healthy, findings = Site(url, "sk-wrong-master-key", bill).diagnose()
    assert (healthy, [finding.verdict for finding in findings]) == (False, [Verdict.BROKEN])
    assert "check LITELLM_MASTER_KEY" in findings[0].text
    healthy, findings = Site(f"http://127.0.0.1:{free_port()}", "sk-any-master-key", bill).diagnose()
    assert (healthy, len(findings)) == (False, 1)
    assert "cannot be reached" in findings[0].text


def test_a_key_of_fewer_rights_is_not_called_wrong(right: Site) -> None:
    person = {"user_id": f"keyfund-{uuid4()}", "user_role": "proxy_admin", "auto_create_key": False}
    assert right.ask("POST", "/user/new", json=person).is_success
    key = f"sk-{uuid4().hex}"
    body = {"key": key, "user_id": person["user_id"], "key_type": "management"}
    assert right.ask("POST", "/key/generate", json=body).is_success
    healthy, findings = Site(right.url, key, right.provider_url).diagnose()
    assert not healthy
    assert "one of fewer rights" in findings[-1].text
    assert "general_settings.master_key" in findings[-1].text
