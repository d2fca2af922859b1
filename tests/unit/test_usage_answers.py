"""What LiteLLM tells of days, as it is understood: all of it, about what was asked, or none of it."""

from copy import deepcopy
from datetime import date
from typing import Any

import httpx
import pytest
import respx

from core.domain.usage import Figures, UsedDay
from core.errors import TransientError
from core.gateways.litellm import LiteLLM
from core.gateways.usage import used_days
from tests.unit.test_litellm import BASE, litellm

__all__ = ["litellm"]
START, END = date(2026, 11, 1), date(2026, 11, 30)
ROUTE = f"{BASE}/user/daily/activity/aggregated"


def metrics(requests: int, spend: float, failed: int = 0) -> dict[str, Any]:
    """As the real one tells them, less what is not read."""
    return {
        "spend": spend,
        "prompt_tokens": 8 * requests,
        "completion_tokens": 20 * requests,
        "total_tokens": 28 * requests,
        "successful_requests": requests,
        "failed_requests": failed,
        "api_requests": requests + failed,
    }


def group(requests: int, spend: float, keys: dict[str, Any]) -> dict[str, Any]:
    told = {name: {"metrics": one, "metadata": {"key_alias": None}} for name, one in keys.items()}
    return {"metrics": metrics(requests, spend), "metadata": {}, "api_key_breakdown": told}


def body(day: str = "2026-11-26", total: int = 3, **told: Any) -> dict[str, Any]:
    groups = {
        "mock-small": group(3, 0.0015, {"h1": metrics(2, 0.001, failed=4), "h2": metrics(1, 0.0005)}),
    }
    result = {
        "date": day,
        "metrics": metrics(total, 0.0015),
        "breakdown": {"models": {"openai/mock-small": {}}, "model_groups": groups},
    }
    return {"results": [result], "metadata": {"api_key_limit": 1000, "total_api_keys": 2, **told}}


def used(model: str, key_hash: str, requests: int, spend_micros: int) -> UsedDay:
    figures = Figures(requests, 8 * requests, 20 * requests, spend_micros)
    return UsedDay(date(2026, 11, 26), model, key_hash, figures)


def test_calls_that_were_answered_are_told_by_public_name_and_key() -> None:
    assert used_days(body(), START, END) == (
        used("mock-small", "h1", 2, 1000),
        used("mock-small", "h2", 1, 500),
    )


def test_what_no_key_and_no_model_accounts_for_is_not_lost() -> None:
    told = body(total=5)
    del told["results"][0]["breakdown"]["model_groups"]["mock-small"]["api_key_breakdown"]["h2"]
    assert used_days(told, START, END) == (
        used("mock-small", "", 1, 500),
        used("mock-small", "h1", 2, 1000),
        used("unknown", "", 2, 0),
    )


def test_what_rounding_leaves_is_no_usage() -> None:
    """LiteLLM adds up dollars; each of these rounds to 12 micro-dollars, and their sum to 25."""
    told = body()
    parts = {"h1": metrics(2, 0.0000124), "h2": metrics(1, 0.0000124)}
    told["results"][0]["breakdown"]["model_groups"] = {"mock-small": group(3, 0.0000248, parts)}
    told["results"][0]["metrics"] = metrics(3, 0.0000252)
    assert used_days(told, START, END) == (used("mock-small", "h1", 2, 12), used("mock-small", "h2", 1, 12))


def test_a_model_that_was_only_refused_leaves_no_row() -> None:
    """Anybody may ask for a model of any name."""
    told = body()
    told["results"][0]["breakdown"]["model_groups"]["x" * 5000] = {
        "metrics": metrics(0, 0.0, failed=9),
        "api_key_breakdown": {"h1": {"metrics": metrics(0, 0.0, failed=9)}},
    }
    assert used_days(told, START, END) == used_days(body(), START, END)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("results"),
        lambda told: told.update(results={}),
        lambda told: told["results"].append(1),
        lambda told: told["results"].append(deepcopy(told["results"][0])),  # a page of a day in parts
        lambda told: told["results"][0].pop("date"),
        lambda told: told["results"][0].update(date="2026-10-31"),
        lambda told: told["results"][0].update(date="26.11.2026"),
        lambda told: told["results"][0].update(date=None),
        lambda told: told["results"][0].pop("metrics"),
        lambda told: told["results"][0]["metrics"].update(spend="0.1"),
        lambda told: told["results"][0]["metrics"].update(spend=float("nan")),
        lambda told: told["results"][0]["metrics"].update(spend=10**400),
        lambda told: told["results"][0]["metrics"].update(prompt_tokens=10**19),
        lambda told: told["results"][0]["metrics"].pop("prompt_tokens"),
        lambda told: told["results"][0].pop("breakdown"),
        lambda told: told["results"][0]["breakdown"].update(model_groups=[]),
        lambda told: told["results"][0]["breakdown"]["model_groups"].update(x=None),
        lambda told: told["results"][0]["breakdown"]["model_groups"]["mock-small"].pop("api_key_breakdown"),
    ],
)
def test_another_answer_is_none(spoil: Any) -> None:
    told = body()
    spoil(told)
    with pytest.raises(TransientError):
        used_days(told, START, END)


async def test_the_user_is_always_named_and_days_are_in_utc(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.get(ROUTE).respond(json=body())
        await litellm.read_days("u1", START, END)
    assert dict(route.calls.last.request.url.params) == {
        "user_id": "u1",
        "start_date": "2026-11-01",
        "end_date": "2026-11-30",
        "timezone": "0",
        "api_key_limit": "1000",
    }


async def test_fewer_days_are_asked_for_where_keys_would_be_left_out(litellm: LiteLLM) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        start, end = request.url.params["start_date"], request.url.params["end_date"]
        asked.append((start, end))
        whole = body() if start <= "2026-11-26" <= end else {"results": []}
        many = start < "2026-11-26" and end > "2026-11-20"
        return httpx.Response(
            200, json=whole | {"metadata": body(total_api_keys=1001 if many else 1)["metadata"]}
        )

    with respx.mock:
        respx.get(ROUTE).mock(side_effect=answer)
        days = await litellm.read_days("u1", START, END)
    assert days == used_days(body(), START, END)
    assert asked[0] == ("2026-11-01", "2026-11-30")
    assert len(asked) > 1


async def test_a_single_day_is_taken_as_it_is(litellm: LiteLLM) -> None:
    with respx.mock:
        route = respx.get(ROUTE).respond(json=body(total_api_keys=5000))
        assert await litellm.read_days("u1", date(2026, 11, 26), date(2026, 11, 26))
    assert route.call_count == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_a_litellm_that_does_not_know_the_route_or_fails_is_away(litellm: LiteLLM, status: int) -> None:
    with respx.mock:
        respx.get(ROUTE).respond(status, json={"detail": "Not Found"})
        with pytest.raises(TransientError):
            await litellm.read_days("u1", START, END)
