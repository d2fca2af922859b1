"""What LiteLLM tells of its models, as our values."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.domain.models import TOKEN_PRICES, Model

Json = Mapping[str, Any]


def configured_models(rows: object) -> Iterator[Model]:
    """The deployments of ``/model/info``: what an operator set stands above LiteLLM's own list."""
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and row.get("model_name"):
            info, params = _object(row.get("model_info")), _object(row.get("litellm_params"))
            own = {name: value for name, value in params.items() if "cost" in name and value is not None}
            yield _model(str(row["model_name"]), {**info, **own}, str(params.get("model") or ""))


def grouped_models(rows: object) -> Iterator[Model]:
    """The models of ``/model_group/info``: all that a LiteLLM tells where the other is refused."""
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and row.get("model_group"):
            yield _model(str(row["model_group"]), row, "")


def _object(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _model(name: str, info: Json, backend: str) -> Model:
    prices = dict(_prices(info))
    most = info.get("max_output_tokens")
    return Model(
        name=name,
        mode=info.get("mode"),
        prices={unit: price for unit, price in prices.items() if price > 0},
        most_output_tokens=int(most) if isinstance(most, int | float) and most > 0 else None,
        is_waived=all(prices.get(unit) == 0 for unit in TOKEN_PRICES),
        backend=backend,
    )


def _prices(info: Json) -> Iterator[tuple[str, float]]:
    for name, value in info.items():
        if "cost" in name and isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
    for step in info.get("tiered_pricing") or ():
        for name, value in _object(step).items():
            if "cost" in name and isinstance(value, int | float):
                yield f"{name}_above_0k_tokens", float(value)
