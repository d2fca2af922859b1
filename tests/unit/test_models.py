"""Which models no wallet holds, by LiteLLM's own names of units."""

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from core.domain.models import Model, describe_faults, find_faults, unbounded_units
from core.gateways.models import configured_models, grouped_models
from core.guard import FILE, shipped_version

TOKENS = {"input_cost_per_token": 0.00001, "output_cost_per_token": 0.00002}


def model(name: str, mode: str | None = None, most: int | None = 100, **prices: float) -> Model:
    return Model(name, mode, prices, most)


def row(name: str, info: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"model_name": name, "model_info": info, "litellm_params": {"model": f"openai/{name}", **params}}


@pytest.mark.parametrize(
    "unit",
    ["output_cost_per_image", "input_cost_per_query", "input_cost_per_second", "input_cost_per_character"],
)
def test_a_price_of_any_unit_is_a_price(unit: str) -> None:
    (read,) = configured_models([row("m", {"mode": "image_generation", unit: 3})])
    assert read.prices == {unit: 3.0}
    assert find_faults([read]).unpriced == ()


def test_an_operators_price_stands_above_litellms_list() -> None:
    (read,) = configured_models([row("m", TOKENS, input_cost_per_token=0.5, output_cost_per_token=None)])
    assert read.prices == {**TOKENS, "input_cost_per_token": 0.5}


def test_zero_token_prices_with_another_price_are_broken_and_without_one_free() -> None:
    zero = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    read = [*configured_models([row("image", {**zero, "output_cost_per_image": 3}), row("free", zero)])]
    faults = find_faults(read)
    assert faults.broken == {"image": ("output_cost_per_image",)}
    assert faults.free == ("free",)
    assert faults.unpriced == ()


def test_one_zero_token_price_waives_nothing() -> None:
    (read,) = configured_models([row("embed", {"input_cost_per_token": 0.1, "output_cost_per_token": 0})])
    assert not read.is_waived


def test_only_models_that_generate_text_need_a_ceiling() -> None:
    read = [
        model("chat", None, None, **TOKENS),
        model("image", "image_generation", None, output_cost_per_image=3),
        model("embed", "embedding", None, input_cost_per_token=1),
        model("ended", "chat", 100, **TOKENS),
    ]
    assert find_faults(read).endless == ("chat",)


def test_what_a_group_tells_is_read_where_no_more_is_shown() -> None:
    told = {"model_group": "m", "mode": "chat", "max_output_tokens": 4500.0, **TOKENS}
    (read,) = grouped_models([told, "rubbish", {}])
    assert (read.name, read.most_output_tokens, read.prices) == ("m", 4500, TOKENS)


def test_each_fault_is_one_sentence_with_the_setting_to_change() -> None:
    waived = Model("waived", "image_generation", {"output_cost_per_image": 3.0}, None, is_waived=True)
    pixels = model("pixels", "image_generation", None, input_cost_per_pixel=1)
    read = [waived, pixels, model("none"), model("endless", None, None, **TOKENS)]
    unguarded, guarded = (describe_faults(find_faults(read), guarded=guarded) for guarded in (False, True))
    assert list(unguarded) == ["broken", "unpriced", "endless", "unbounded"]
    assert "pixels (input_cost_per_pixel)" in unguarded["unbounded"]
    assert guarded["endless"].startswith("Refused by the guard")
    assert "model_info.max_output_tokens" in guarded["endless"]
    assert describe_faults(find_faults([model("well", None, 9, **TOKENS)]), guarded=True) == {}


# ----------------------------------------------------------------- the guard's own rule


@pytest.fixture(scope="module")
def guard() -> Iterator[ModuleType]:
    """The guard's file, with stand-ins for the four names of LiteLLM's that it imports at the top."""
    names = ("", "._logging", ".integrations", ".integrations.custom_logger", ".proxy", ".proxy._types")
    stubs = {f"litellm{name}": ModuleType(f"litellm{name}") for name in names}
    stubs["litellm._logging"].__dict__["verbose_proxy_logger"] = None
    stubs["litellm.integrations.custom_logger"].__dict__["CustomLogger"] = object
    stubs["litellm.proxy._types"].__dict__["ProxyException"] = Refusal
    spec = importlib.util.spec_from_file_location("keyfund_guard_under_test", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, {**stubs, spec.name: module}):
        spec.loader.exec_module(module)
        yield module


class Refusal(Exception):  # noqa: N818  # in the place of LiteLLM's ProxyException
    def __init__(self, message: str, type: str, param: str | None, code: int) -> None:
        super().__init__(message)


ROUTES = {
    None: "chat",
    "chat": "chat",
    "completion": "completions",
    "responses": "responses",
    "embedding": "embeddings",
    "image_generation": "images",
    "audio_speech": "speech",
    "rerank": "rerank",
    "moderation": "moderations",
}
UNITS = [
    *TOKENS,
    "input_cost_per_token_above_200k_tokens",
    "output_cost_per_token_above_128k_tokens",
    "output_cost_per_reasoning_token",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
    "cache_read_input_token_cost",
    "input_cost_per_audio_token",
    "output_cost_per_audio_token",
    "input_cost_per_image",
    "output_cost_per_image",
    "output_cost_per_image_token",
    "input_cost_per_pixel",
    "output_cost_per_pixel",
    "input_cost_per_query",
    "input_cost_per_request",
    "input_cost_per_second",
    "output_cost_per_second",
    "input_cost_per_character",
    "output_cost_per_character",
    "input_cost_per_token_batches",
    "output_cost_per_token_priority",
    "output_cost_per_video_per_second",
    "input_cost_per_session",
]


@pytest.mark.parametrize("mode", ROUTES)
@pytest.mark.parametrize("unit", UNITS)
def test_the_doctor_names_exactly_the_units_that_the_guard_refuses(
    guard: ModuleType, mode: str | None, unit: str
) -> None:
    prices = dict(guard._prices({unit: 1.0}, ""))
    deployment = guard.Deployment("m", mode, prices, most_output=10, most_input=10)
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 1}
    try:
        guard.bound(ROUTES[mode], asked, deployment)
        refused = False
    except Refusal as refusal:
        refused = "cannot be bounded" in str(refusal)
    assert bool(unbounded_units(Model("m", mode, {unit: 1.0}, 10))) is refused


def test_the_version_of_the_shipped_guard_is_read_from_its_file(guard: ModuleType) -> None:
    assert shipped_version() == guard.VERSION
