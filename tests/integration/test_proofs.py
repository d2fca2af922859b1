"""A further route opens only after one real call of it was charged, bounded and private."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from core.assembly import assemble
from core.guard import shipped_version
from core.settings import Settings
from operate.finding import Finding, Verdict
from operate.proofs import Wish, prove
from tests.integration.world import World

OPEN = "update keyfund.settings set open_routes = open_routes || array[%s]"
NAMES = ("SUPABASE_", "LITELLM_BASE_URL", "LITELLM_MASTER_KEY")


@pytest.fixture
def proofs(world: World) -> Iterator[World]:
    """No route is proved or open beyond the first three, before and after."""
    httpx.delete(f"{world.env['PROVIDER_BASE_URL']}/sandbox/bill")
    yield world
    world.db.execute("update keyfund.settings set open_routes = default")
    world.db.execute("delete from keyfund.route_proofs")
    world.db.execute("delete from keyfund.litellm_release")


def run(world: World, route: str, *models: str, yes: bool = True) -> tuple[bool, list[Finding], list[str]]:
    """Prove a route; returns whether all held, what was said, and what it was said to cost."""
    settings = Settings.model_validate(
        {name.lower(): value for name, value in world.env.items() if name.startswith(NAMES)}
    )
    findings: list[Finding] = []
    asked: list[str] = []

    def agree(text: str) -> bool:
        asked.append(text)
        return yes

    async def doing() -> bool:
        async with assemble(settings) as parts:
            wish = Wish(route, models, flush_seconds=15)
            return await prove(settings, parts.store, wish, findings.append, agree)

    return asyncio.run(doing()), findings, asked


def recorded(world: World) -> list[tuple[Any, ...]]:
    query = "select route, model, guard_version from keyfund.route_proofs order by route, model"
    return world.db.execute(query).fetchall()


def bill(world: World) -> list[dict[str, Any]]:
    calls = httpx.get(f"{world.env['PROVIDER_BASE_URL']}/sandbox/bill").json()["calls"]
    return [call for call in calls if call["model"]]


@pytest.mark.parametrize(
    ("route", "model", "name"),
    [
        ("images", "live-image", "live-image"),
        ("transcriptions", "live-transcribe", "live-transcribe"),
        ("rerank", "live-rerank", "live-rerank"),
        ("responses", "live-small", "*"),
    ],
)
def test_a_route_that_is_charged_bounded_and_private_is_proved_by_one_call_of_the_providers(
    proofs: World, route: str, model: str, name: str
) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="not proved"):
        proofs.db.execute(OPEN, [route])
    held, findings, asked = run(proofs, route, model)
    assert held, findings
    assert recorded(proofs) == [(route, name, shipped_version())]
    (call,) = bill(proofs)
    assert len(asked) == 1
    assert call["cost_micros"] > 0
    assert f"'{{{route}}}'" in findings[-1].text
    proofs.db.execute(OPEN, [route])


def test_a_route_that_is_charged_at_another_price_than_the_operators_is_not_proved(proofs: World) -> None:
    held, findings, _ = run(proofs, "speech", "live-speech-own")
    assert not held
    assert [finding.verdict for finding in findings] == [Verdict.BROKEN]
    assert "by its configured price" in findings[0].text
    assert recorded(proofs) == []


def test_models_outside_every_wallet_and_routes_that_the_guard_closes_are_not_proved(proofs: World) -> None:
    held, findings, asked = run(proofs, "images", "live-zero-image")
    assert (held, "both of its token prices are 0" in findings[0].text) == (False, True)
    assert "$0.0000" in asked[0]
    held, findings, _ = run(proofs, "messages", "live-claude")
    assert (held, "a call answered 403 (Keyfund guard" in findings[0].text) == (False, True)
    assert (recorded(proofs), bill(proofs)) == ([], [])


def test_nothing_is_called_before_somebody_agrees_to_what_it_may_cost(proofs: World) -> None:
    held, findings, asked = run(proofs, "images", "live-image", yes=False)
    assert not held
    assert asked == ["Proving images with live-image costs up to $6.0000."]
    assert "nothing was called" in findings[0].text
    assert (recorded(proofs), bill(proofs)) == ([], [])


def test_a_route_without_a_trial_or_without_need_of_a_proof_is_named(proofs: World) -> None:
    assert "needs no proof" in run(proofs, "chat")[1][0].text
    assert "images" in run(proofs, "telepathy")[1][0].text
