"""Estimates: LiteLLM's word first, a flat rate last, from whom it is always told, and no prompt kept."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import respx

from core.domain.usage import Estimate, FlatRate, Question
from core.errors import NotConfiguredError, RefusedError, TransientError
from core.flows.estimate import Estimator, Kept
from core.gateways.litellm import LiteLLM
from tests.unit.service import LITELLM, make_settings, running, supabase, token
from tests.unit.test_litellm import BASE, litellm

__all__ = ["litellm"]
SECRET = "the launch code is 0000"
FLAT = FlatRate(characters_per_token=4, micros_per_1000_tokens=10_000)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    estimator: Estimator
    kept: Kept
    clock: Clock
    counted: respx.Route = field(init=False)
    priced: respx.Route = field(init=False)
    listed: respx.Route = field(init=False)

    def answer(self, mock: respx.MockRouter) -> None:
        self.counted = mock.post(f"{BASE}/utils/token_counter").mock(side_effect=count)
        self.priced = mock.post(f"{BASE}/cost/estimate").mock(side_effect=price)
        self.listed = mock.get(f"{BASE}/models").respond(
            json={"data": [{"id": "mock-small"}, {"id": "openai/*"}, {"id": 7}, {"id": "mock-small"}]}
        )


def count(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    return httpx.Response(200, json={"total_tokens": 100, "request_model": asked["model"]})


def price(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    dollars = asked["input_tokens"] * 1e-5 + asked["output_tokens"] * 2e-5
    return httpx.Response(200, json={"model": asked["model"], "cost_per_request": dollars})


@pytest.fixture
def scene(litellm: LiteLLM) -> Iterator[Scene]:
    clock = Clock()
    kept = Kept(most=3, clock=clock)
    with respx.mock(assert_all_called=False) as mock:
        made = Scene(Estimator(litellm, FLAT, kept, clock), kept, clock)
        made.answer(mock)
        yield made


def ask(**other: Any) -> Question:
    given = {"model": "mock-small", "prompt": SECRET, "messages": None, "completion_tokens": 20}
    return Question(**{"user_id": "u1"} | given | other)


FROM_LITELLM = Estimate(100, 20, 1400, "litellm", "litellm")


async def test_litellm_counts_and_prices(scene: Scene) -> None:
    assert await scene.estimator.estimate(ask()) == FROM_LITELLM
    assert json.loads(scene.counted.calls.last.request.content) == {"model": "mock-small", "prompt": SECRET}
    messages = ({"role": "user", "content": "half of a pair: \ud83d"},)
    assert (await scene.estimator.estimate(ask(prompt=None, messages=messages))).tokens_from == "litellm"


async def test_the_same_question_is_asked_once_and_the_answer_says_so(scene: Scene) -> None:
    await scene.estimator.estimate(ask())
    again = await scene.estimator.estimate(ask())
    assert (again.cached, again.spend_micros) == (True, 1400)
    assert scene.counted.call_count == 1
    for other in ({"user_id": "u2"}, {"model": "openai/x"}, {"prompt": "x"}, {"completion_tokens": 21}):
        assert not (await scene.estimator.estimate(ask(**other))).cached


async def test_what_is_kept_is_bounded_and_grows_old(scene: Scene) -> None:
    for number in range(10):
        await scene.estimator.estimate(ask(prompt=str(number)))
    assert len(scene.kept) == 3
    assert (await scene.estimator.estimate(ask(prompt="9"))).cached
    assert not (await scene.estimator.estimate(ask(prompt="0"))).cached
    scene.clock.now += 601
    assert not (await scene.estimator.estimate(ask(prompt="9"))).cached


async def test_nothing_kept_holds_a_prompt(scene: Scene) -> None:
    await scene.estimator.estimate(ask())
    assert SECRET not in repr(vars(scene.kept))
    assert Kept().name(ask()) != Kept().name(ask()), "a hash that everybody can compute could be tried"


async def test_what_the_call_s_own_headers_told_comes_first(scene: Scene) -> None:
    told = await scene.estimator.estimate(ask(told_micros=77))
    assert (told.spend_micros, told.cost_from, told.tokens_from) == (77, "headers", "litellm")
    assert await scene.estimator.estimate(ask()) == Estimate(100, 20, 1400, "litellm", "litellm", cached=True)


async def test_a_model_that_is_not_there_is_refused(scene: Scene) -> None:
    with pytest.raises(RefusedError) as refused:
        await scene.estimator.estimate(ask(model="nothing"))
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
    assert scene.counted.call_count == 0
    assert (await scene.estimator.estimate(ask(model="openai/gpt"))).tokens_from == "litellm"


async def test_a_model_without_a_price_has_a_flat_one(scene: Scene) -> None:
    scene.priced.mock(return_value=httpx.Response(404, json={"detail": {"error": "no price"}}))
    told = await scene.estimator.estimate(ask())
    assert (told.tokens_from, told.cost_from, told.spend_micros) == ("litellm", "flat", 1200)
    assert not (await scene.estimator.estimate(ask())).cached


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={"error": {"message": SECRET}}),
        httpx.Response(200, json={"total_tokens": 5, "request_model": "another"}),
        httpx.Response(200, json={"total_tokens": -1, "request_model": "mock-small"}),
        httpx.Response(200, text="<html>"),
        httpx.ConnectError("no"),
    ],
)
async def test_while_litellm_is_away_or_odd_the_rate_is_flat_and_it_is_left_alone(
    scene: Scene, answer: Any
) -> None:
    scene.counted.mock(side_effect=[answer])
    flat = Estimate(6, 20, 260, "flat", "flat")
    assert await scene.estimator.estimate(ask()) == flat
    assert await scene.estimator.estimate(ask()) == flat  # not kept, and nobody is asked
    assert scene.counted.call_count == 1
    scene.clock.now += 6
    scene.counted.mock(side_effect=count)
    assert await scene.estimator.estimate(ask()) == FROM_LITELLM


async def test_a_question_that_litellm_refuses_is_guessed_at_and_others_are_asked(scene: Scene) -> None:
    scene.counted.mock(return_value=httpx.Response(400, json={"error": {"message": SECRET, "code": "400"}}))
    assert (await scene.estimator.estimate(ask())).tokens_from == "flat"
    scene.counted.mock(side_effect=count)
    assert await scene.estimator.estimate(ask()) == FROM_LITELLM


@pytest.mark.parametrize(
    "answer",
    [
        {"model": "another", "cost_per_request": 1},
        {"model": "mock-small"},
        {"model": "mock-small", "cost_per_request": -1},
        {"model": "mock-small", "cost_per_request": 1e300},
    ],
)
async def test_an_odd_price_is_none(scene: Scene, answer: dict[str, Any]) -> None:
    scene.priced.mock(return_value=httpx.Response(200, json=answer))
    assert (await scene.estimator.estimate(ask())).cost_from == "flat"


async def test_models_are_asked_for_twice_a_minute_at_most_and_outlive_an_outage(scene: Scene) -> None:
    assert await scene.estimator.list_models() == ("mock-small", "openai/*")
    await scene.estimator.list_models()
    assert scene.listed.call_count == 1
    scene.clock.now += 31
    scene.listed.mock(side_effect=httpx.ConnectError("no"))
    for _ in range(3):
        assert await scene.estimator.list_models() == ("mock-small", "openai/*")
    assert scene.listed.call_count == 2, "and an absent LiteLLM is left alone for a while"


async def test_a_litellm_that_never_answered_has_no_models(scene: Scene) -> None:
    scene.listed.mock(side_effect=httpx.ConnectError("no"))
    with pytest.raises(TransientError):
        await scene.estimator.list_models()
    assert (await scene.estimator.estimate(ask(model="nothing"))).tokens_from == "flat"


async def test_without_litellm_there_is_the_flat_rate_alone() -> None:
    estimator = Estimator(None, FLAT)
    assert await estimator.estimate(ask()) == Estimate(6, 20, 260, "flat", "flat")
    with pytest.raises(NotConfiguredError):
        await estimator.list_models()


# --- over HTTP ----------------------------------------------------------------------------------------------

BODY = {"model": "mock-small", "prompt": SECRET}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"model": "mock-small"}, "either prompt or messages"),
        (BODY | {"messages": [{"role": "user", "content": "x"}]}, "either prompt or messages"),
        ({"model": "", "prompt": SECRET}, "model"),
        ({"model": "m" * 301, "prompt": SECRET}, "model"),
        ({"model": "half \ud83d", "prompt": SECRET}, "model"),
        ({"model": "mock-small", "prompt": SECRET * 10_000}, "prompt"),
        ({"model": "mock-small", "messages": []}, "messages"),
        ({"model": "mock-small", "messages": [{"role": "user", "content": SECRET}] * 1001}, "messages"),
        ({"model": "mock-small", "messages": [{"role": "user", "content": SECRET * 1000}] * 20}, "200000"),
        (
            {"model": "mock-small", "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}]},
            "messages.0",
        ),
        (BODY | {"max_tokens": 0}, "max_tokens"),
        (BODY | {"max_tokens": 10**9}, "max_tokens"),
        (BODY | {"response_headers": {"x-litellm-response-cost": SECRET}}, "dollars"),
        (BODY | {"response_headers": {"x-litellm-response-cost": "-1"}}, "dollars"),
        (BODY | {"response_headers": {"x-litellm-response-cost": "nan"}}, "dollars"),
        (BODY | {"response_headers": {"x-litellm-response-cost": "inf"}}, "dollars"),
        (BODY | {"response_headers": {"x-litellm-response-cost": 1}}, "response_headers"),
        ([SECRET], ""),
    ],
)  # fmt: skip
async def test_what_cannot_be_estimated_is_refused_without_a_word_of_it(
    body: Any, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with supabase():
        async with running(make_settings()) as service:
            answer = await service.call(
                "POST",
                "/api/usage/estimate",
                token("u1") | {"content-type": "application/json"},
                content=json.dumps(body).encode(),
            )
    assert answer.status_code == 422
    assert place in answer.json()["error"]["message"]
    assert SECRET not in answer.text + caplog.text


async def test_no_prompt_is_logged_whatever_litellm_does(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master", log_level="debug")
    with supabase() as mock:
        mock.get(f"{LITELLM}/models").respond(json={"data": [{"id": "mock-small"}]})
        mock.post(f"{LITELLM}/utils/token_counter").respond(500, json={"error": {"message": SECRET}})
        async with running(settings) as service:
            answer = await service.call("POST", "/api/usage/estimate", token("u1"), json=BODY)
    assert answer.json()["source"] == {"tokens": "flat", "cost": "flat"}
    assert answer.json()["rough"] is True
    assert SECRET not in caplog.text + "".join(capsys.readouterr()) + answer.text
