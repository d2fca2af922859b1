"""The doctor: a well LiteLLM is well, and each thing that would break a wallet is named."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from core.domain.keys import holds_wallet
from core.gateways.litellm import LiteLLM, make_litellm_client
from core.settings import Settings
from dev import litellm
from dev.child import Child
from dev.stack import ROOT, free_port
from operate.doctor import Finding, Verdict, examine
from tests.integration.world import World

CARELESS = """
model_list:
  - model_name: priced
    litellm_params: {model: openai/priced, api_key: unused, mock_response: ok, input_cost_per_token: 0.001,
      output_cost_per_token: 0.001}
  - model_name: unpriced
    litellm_params: {model: openai/unpriced, api_key: unused, mock_response: ok}
litellm_settings:
  default_internal_user_params: {max_budget: 5, budget_duration: 1d, user_role: internal_user}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  database_url: os.environ/DATABASE_URL
  disable_prisma_schema_update: true
  database_connection_pool_limit: 10
  proxy_batch_write_at: 1
"""


def settings_for(base_url: str, master_key: str) -> Settings:
    return Settings.model_validate(
        {
            "supabase_url": "http://supabase.test",
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
            "litellm_base_url": base_url,
            "litellm_master_key": master_key,
            "litellm_cache_seconds": 0,
        }
    )


def diagnose(base_url: str, master_key: str) -> tuple[bool, list[Finding]]:
    settings = settings_for(base_url, master_key)
    findings: list[Finding] = []
    return asyncio.run(examine(settings, None, findings.append, flush_seconds=15)), findings


def test_the_stacks_litellm_is_well_and_nothing_of_the_doctor_stays(world: World) -> None:
    healthy, findings = diagnose(world.env["LITELLM_BASE_URL"], world.env["LITELLM_MASTER_KEY"])
    assert healthy, findings
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert len(findings) == 7
    with psycopg.connect(world.stack.superuser_url("litellm")) as database:
        left = database.execute(
            """select count(*) from "LiteLLM_UserTable" where user_id like 'keyfund-doctor%'"""
        ).fetchone()
    assert left == (0,)


@pytest.fixture
def careless(world: World, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A LiteLLM beside the stack's, on a database of its own, as somebody might set it up."""
    with psycopg.connect(world.stack.superuser_url("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("drop database if exists careless with (force)"))
        server.execute(sql.SQL("create database careless owner litellm"))
    url = world.stack.address.url("litellm", "careless")
    litellm.prepare(ROOT, url)
    config = tmp_path / "careless.yaml"
    config.write_text(CARELESS)
    part = litellm.part(
        ROOT, database_url=url, port=free_port(), master_key="sk-careless-master", home=tmp_path / "litellm"
    )
    argv = [str(config) if word.endswith("config.yaml") else word for word in part.argv]
    assert world.stack.reaper is not None
    child = Child(replace(part, argv=argv), tmp_path / "careless.log", world.stack.reaper.marks)
    world.stack.reaper.add(child.spawn())
    try:
        child.wait_ready()
        yield part.url, "sk-careless-master"
    finally:
        child.stop()


@pytest.mark.timeout(200)
def test_free_calls_unpriced_models_and_overdrafts_are_named(careless: tuple[str, str]) -> None:
    healthy, findings = diagnose(*careless)
    assert not healthy
    wrong = {finding.verdict: finding.text for finding in findings if finding.verdict is not Verdict.OK}
    assert "global_disable_no_log_param" in wrong[Verdict.BROKEN]
    texts = " ".join(finding.text for finding in findings)
    assert "outside every wallet: unpriced" in texts


async def test_default_user_params_neither_change_a_wallet_nor_give_it_a_reset(
    careless: tuple[str, str],
) -> None:
    base_url, master_key = careless
    settings = settings_for(base_url, master_key)
    async with make_litellm_client(settings) as client:
        gateway = LiteLLM(settings, client)
        user_id = str(uuid4())
        for budget_micros in (10_000_000, 20_000_000, 0, 12_345_678):
            await gateway.write_wallet(user_id, budget_micros)
            assert holds_wallet(await gateway.read_user(user_id), budget_micros)
        assert await gateway.find_unpriced_models() == ("unpriced",)


def test_a_wrong_master_key_and_an_absent_litellm_are_one_clear_line(world: World) -> None:
    healthy, findings = diagnose(world.env["LITELLM_BASE_URL"], "sk-wrong-master-key")
    assert (healthy, [finding.verdict for finding in findings]) == (False, [Verdict.BROKEN])
    assert "LITELLM_MASTER_KEY" in findings[0].text
    healthy, findings = diagnose(f"http://127.0.0.1:{free_port()}", "sk-any-master-key")
    assert (healthy, len(findings)) == (False, 1)
    assert "cannot be reached" in findings[0].text
