"""What the doctor says of prices: which models no wallet holds, and what the dearest call would cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.domain.models import Model, describe_faults, find_faults
from operate.finding import Finding, broken, ok, warning

MOST_CHOICES = 128  # the most that a provider's API takes as `n`
MOST_IMAGES = 10
TIERED = (
    "A caller may ask for a service tier (service_tier), and is charged that tier's price: {}. Set the price "
    "of each tier, or load the guard, which refuses the field."
)


@dataclass(frozen=True, slots=True)
class DearCall:
    """A call that spends far more than LiteLLM reserves for it; ``dollars`` is the least that it may cost."""

    model: str
    how: str
    dollars: float


def examine_models(models: Sequence[Model], *, guarded: bool) -> Iterator[Finding]:
    if not models:
        yield warning(
            "LiteLLM shows no models to this key (/model/info, /model_group/info), so their prices were not "
            "examined."
        )
        return
    faults = find_faults(models)
    for kind, text in describe_faults(faults, guarded=guarded).items():
        yield broken(text) if kind == "broken" else warning(text)
    if not guarded and (tiered := [model.name for model in models if model.has_tiers]):
        yield warning(TIERED.format(", ".join(dict.fromkeys(sorted(tiered)))))
    faulty = {*faults.broken, *faults.free, *faults.unpriced, *faults.endless, *faults.unbounded}
    names = {model.name for model in models}
    yield ok(f"{len(names - faulty)} of {len(names)} models are priced by units that a wallet can hold:")
    yield from (ok(f"  {line}") for line in describe_prices(models))


def describe_prices(models: Sequence[Model]) -> tuple[str, ...]:
    """A line for each model: its mode, and its price by every unit."""
    return tuple(
        f"{model.name} ({model.mode or 'no mode'}): {prices or 'no price'}"
        for model in sorted(models, key=lambda model: model.name)
        for prices in (", ".join(f"{unit} ${price:g}" for unit, price in model.prices.items()),)
    )


def choose(models: Sequence[Model]) -> Model | None:
    """The cheapest model that generates text at a price and has a limit."""
    priced = [one for one in models if one.mode in (None, "chat") and one.output_price > 0]
    fit = [one for one in priced if one.most_output_tokens]
    return min(fit or priced, key=lambda one: (one.output_price, len(one.prices), one.name), default=None)


def dearest_call(models: Sequence[Model]) -> DearCall | None:
    """The dearest call that LiteLLM alone would let through at these prices. None: nothing has a price."""
    return max(_dear_calls(models), key=lambda call: call.dollars, default=None)


def _dear_calls(models: Sequence[Model]) -> Iterator[DearCall]:
    for model in models:
        if model.generates and model.most_output_tokens and model.output_price:
            dollars = model.output_price * model.most_output_tokens * MOST_CHOICES
            yield DearCall(
                model.name, f"two token limits that contradict each other and n = {MOST_CHOICES}", dollars
            )
        image = sum(price for unit, price in model.prices.items() if unit.endswith("_cost_per_image"))
        if model.mode == "image_generation" and image:
            yield DearCall(model.name, f"n = {MOST_IMAGES}", image * MOST_IMAGES)


def describe_dearest(call: DearCall | None, at_once: int) -> str:
    """``at_once``: how many calls a key may have in flight."""
    if call is None:
        return "No model has a price from which the dearest call could be worked out."
    return (
        f"The dearest call that the doctor could build, {call.model} with {call.how}, costs at least "
        f"${call.dollars:,.2f}, and a key may have {at_once} such calls in flight."
    )
