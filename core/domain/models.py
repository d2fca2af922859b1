"""The models that LiteLLM offers: what a call of them is charged by, and what of that no wallet can hold.

The names of units are LiteLLM's own: ``input_cost_per_token``, ``output_cost_per_image`` and so on. Which of
them can be bounded before a call, the guard decides (guard/keyfund_guard.py); a test compares the two.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GENERATING = frozenset({None, "chat", "completion", "responses"})
"""Modes whose answer is text of the model's: how long it becomes decides what it costs. None: not given."""

TOKEN_PRICES = ("input_cost_per_token", "output_cost_per_token")
TIERS = re.compile(r"_(?:flex|priority|balanced|ultrafast|decisions|batches)$")
NOT_ASKED_FOR = re.compile(
    r"cache_read_.*|explicit_cache_read.*|.*_dbu_.*|code_interpreter_.*|computer_use_.*|file_search_.*|vector_store_.*"
    r"|google_maps_.*|guardrail_.*|.*_cache_hit|cache_creation_input_audio_token_cost"
    r"|output_cost_per_audio_token|search_context_.*|input_cost_per_character.*_tokens"
)
"""Prices of what no field that the guard lets through can ask for."""
OF_TOKENS = re.compile(
    r"(?:input_cost_per_token|cache_creation_input_token_cost)(?:_above_1hr)?(?:_above_\d+k_tokens)?"
    r"|output_cost_per_(?:token|reasoning_token)(?:_above_\d+k_tokens)?"
    r"|input_cost_per_(?:audio|image|video)_token|input_cost_per_(?:image|request|query|character)"
)
OF_MEDIA = re.compile(
    r"input_cost_per_(?:audio|video)_per_second.*|input_cost_per_pixel|input_cost_per_image_above.*"
)
"""Prices of what goes in besides text: the guard refuses the content, not the model, but for embeddings."""
BOUNDED: Mapping[str, re.Pattern[str]] = {
    "embedding": OF_TOKENS,
    "moderation": OF_TOKENS,
    "image_generation": re.compile(r"(?:input|output)_cost_per_image"),
    "audio_speech": re.compile(r"input_cost_per_character"),
    "audio_transcription": re.compile(r"(?:input|output)_cost_per_second"),
    "rerank": re.compile(r"input_cost_per_query"),
}
"""The units by which a model of each mode may be priced for the guard to bound it."""


@dataclass(frozen=True, slots=True)
class Model:
    """One deployment of a public model name, as LiteLLM tells it.

    ``prices`` are dollars by LiteLLM's name of the unit, of those above 0. ``is_waived``: both token prices
    are 0, for which LiteLLM checks no budget, whatever else the model costs (``is_model_cost_zero``).
    ``backend`` is the provider's name of it; empty where LiteLLM does not tell.
    """

    name: str
    mode: str | None
    prices: Mapping[str, float]
    most_output_tokens: int | None = None
    is_waived: bool = False
    backend: str = ""

    @property
    def generates(self) -> bool:
        return self.mode in GENERATING

    @property
    def has_tiers(self) -> bool:
        """Whether a service tier that a caller may ask for has a price of its own."""
        return any(TIERS.search(unit) and not unit.endswith("_batches") for unit in self.prices)

    @property
    def output_price(self) -> float:
        """The highest price of one output token, over all steps; dollars."""
        return max((price for unit, price in self.prices.items() if _is_output(unit)), default=0.0)

    @property
    def input_price(self) -> float:
        return max((price for unit, price in self.prices.items() if _is_input(unit)), default=0.0)


def _is_output(unit: str) -> bool:
    return unit.startswith(("output_cost_per_token", "output_cost_per_reasoning_token")) and not TIERS.search(
        unit
    )


def _is_input(unit: str) -> bool:
    return unit.startswith("input_cost_per_token") and not TIERS.search(unit)


@dataclass(frozen=True, slots=True)
class Faults:
    """What of the models no wallet can hold; names in order, each once.

    ``broken`` cost something although LiteLLM waives every budget for them; ``free`` cost nothing;
    ``unpriced`` have no price at all; ``endless`` generate text without ``max_output_tokens``; ``unbounded``
    are priced by units that the guard cannot bound, with those units.
    """

    broken: Mapping[str, tuple[str, ...]]
    free: tuple[str, ...]
    unpriced: tuple[str, ...]
    endless: tuple[str, ...]
    unbounded: Mapping[str, tuple[str, ...]]


def find_faults(models: Iterable[Model]) -> Faults:
    known = sorted(models, key=lambda model: model.name)
    return Faults(
        broken={one.name: tuple(one.prices) for one in known if one.is_waived and one.prices},
        free=_names(one for one in known if one.is_waived and not one.prices),
        unpriced=_names(one for one in known if not one.is_waived and not one.prices),
        endless=_names(one for one in known if _is_endless(one)),
        unbounded={one.name: units for one in known if (units := unbounded_units(one))},
    )


def _is_endless(model: Model) -> bool:
    return model.generates and bool(model.prices) and not model.most_output_tokens


def _names(models: Iterable[Model]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(model.name for model in models))


def unbounded_units(model: Model) -> tuple[str, ...]:
    """The units of the model's prices for which the guard refuses it; none where no route serves its mode."""
    fit = OF_TOKENS if model.generates else BOUNDED.get(str(model.mode))
    if fit is None:
        return ()
    has_media = fit is OF_TOKENS and model.mode != "embedding"
    known = (fit, NOT_ASKED_FOR, OF_MEDIA) if has_media else (fit, NOT_ASKED_FOR)
    units = (unit for unit in model.prices if not TIERS.search(unit))
    return tuple(unit for unit in units if not any(one.fullmatch(unit) for one in known))


def describe_faults(faults: Faults, *, guarded: bool) -> dict[str, str]:
    """By the name of each kind of fault that there is: a sentence with the setting to change."""
    told = {
        "broken": (BROKEN, _with_units(faults.broken)),
        "unpriced": (UNPRICED, ", ".join(faults.unpriced)),
        "free": (FREE, ", ".join(faults.free)),
        "endless": (REFUSED if guarded else ENDLESS, ", ".join(faults.endless)),
        "unbounded": (UNBOUNDED, _with_units(faults.unbounded)),
    }
    return {kind: text.format(names) for kind, (text, names) in told.items() if names}


def _with_units(faults: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name} ({', '.join(units)})" for name, units in faults.items())


BROKEN = (
    "Outside every wallet although they cost something, since LiteLLM checks no budget where both token "
    "prices are 0: {}. Take input_cost_per_token and output_cost_per_token out of their configuration."
)
UNPRICED = (
    "Without a price, so outside every wallet: {}. Give them one, or set "
    "litellm_settings.block_requests_for_models_without_pricing: true."
)
FREE = "Cost nothing, so no wallet holds them: {}. Give them a price where that is not meant."
ENDLESS = (
    "Generate text without max_output_tokens, so nobody knows what an answer may cost: {}. Set "
    "model_info.max_output_tokens."
)
REFUSED = (
    "Refused by the guard, since they generate text without max_output_tokens: {}. Set "
    "model_info.max_output_tokens."
)
UNBOUNDED = (
    "Refused by the guard, since a call cannot be bounded beforehand by the unit of their price: {}. Price "
    "them by another unit."
)
