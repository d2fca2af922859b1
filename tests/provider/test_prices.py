"""The prices in LiteLLM's configuration are the provider's."""

from dataclasses import asdict
from typing import Any

import pytest
import yaml

from dev.litellm.release import HERE
from dev.provider.price import MODELS, Price
from tests.odd import ZERO_IMAGE

CONFIGURED: list[dict[str, Any]] = yaml.safe_load((HERE / "config.yaml").read_text())["model_list"]
LIVE = {row["model_name"]: row for row in CONFIGURED if row["model_name"].startswith("live-")}
UNBOUNDED = {"live-unbounded"}


def served(row: dict[str, Any]) -> str:
    """The name that the provider knows a model by."""
    return str(row["litellm_params"]["model"].split("/", 1)[1])


@pytest.mark.parametrize("name", LIVE)
def test_a_model_is_configured_with_the_providers_prices(name: str) -> None:
    told = LIVE[name]["litellm_params"] | LIVE[name].get("model_info", {})
    configured = {key: round(float(value) * 1_000_000) for key, value in told.items() if "cost" in key}
    assert {key: micros for key, micros in configured.items() if micros} == prices(
        MODELS[served(LIVE[name])].price
    )


def prices(price: Price) -> dict[str, int]:
    """A price's units by LiteLLM's names for them."""
    return {name.replace("micros", "cost"): micros for name, micros in asdict(price).items() if micros}


@pytest.mark.parametrize("name", sorted(set(LIVE) - UNBOUNDED))
def test_a_model_that_generates_text_is_configured_with_its_ceiling(name: str) -> None:
    model = MODELS[served(LIVE[name])]
    configured = LIVE[name].get("model_info", {}).get("max_output_tokens")
    assert configured == (model.output_tokens if model.mode in ("chat", "completion") else None)


def test_every_model_of_the_provider_is_behind_one_of_litellms() -> None:
    """But for one that the tests add themselves."""
    assert {served(row) for row in (*LIVE.values(), ZERO_IMAGE)} == set(MODELS)
