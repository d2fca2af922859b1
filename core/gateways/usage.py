"""What LiteLLM's answers about usage mean: days as our values, or no answer at all."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from core.domain.money import micros_from_dollars
from core.domain.usage import Figures, UsedDay
from core.gateways.answers import Json, unreadable

UNKNOWN = "unknown"
LONGEST = 300
LARGEST = 10**12  # a trillion tokens, or dollars: as micro-dollars it fits the database


def tells_all_keys(body: Json) -> bool:
    """LiteLLM names at most a thousand keys at once; older ones name all, and no limit."""
    told = body.get("metadata")
    told = told if isinstance(told, Mapping) else {}
    limit, total = told.get("api_key_limit"), told.get("total_api_keys")
    return not isinstance(limit, int) or not isinstance(total, int) or total <= limit


def used_days(body: Json, start: date, end: date) -> tuple[UsedDay, ...]:
    """The days of ``/user/daily/activity/aggregated``, by public model name and key.

    Raises:
        TransientError: it is not the answer to this question, or not in the form that is known.
    """
    results = body.get("results")
    if not isinstance(results, list):
        raise unreadable()
    summed: dict[tuple[date, str, str], Figures] = {}
    seen: set[date] = set()
    for result in results:
        day = _day(result, start, end)
        if day in seen:
            raise unreadable()  # an answer in pages: the rest of the day would be missing
        seen.add(day)
        for model, key_hash, figures in _parts(result):
            place = (day, model[:LONGEST], key_hash)
            summed[place] = summed.get(place, Figures()) + figures
    return tuple(
        UsedDay(*place, figures) for place, figures in sorted(summed.items()) if figures != Figures()
    )


def _day(result: Any, start: date, end: date) -> date:
    try:
        day = date.fromisoformat(result["date"])
    except (KeyError, TypeError, ValueError):
        raise unreadable() from None
    if not start <= day <= end:
        raise unreadable()
    return day


def _parts(result: Mapping[str, Any]) -> Iterator[tuple[str, str, Figures]]:
    """Model, key and figures; what no model or no key accounts for comes without one."""
    models = []
    for model, told in _items(_section(result, "breakdown"), "model_groups"):
        models.append(_figures(told))
        keys = []
        for key_hash, of_key in _items(told, "api_key_breakdown"):
            keys.append(_figures(of_key))
            yield model or UNKNOWN, key_hash[:100], keys[-1]
        yield model or UNKNOWN, "", _rest(models[-1], keys)
    yield UNKNOWN, "", _rest(_figures(result), models)


def _rest(whole: Figures, parts: Sequence[Figures]) -> Figures:
    """What the parts leave. Each was rounded by itself: a micro-dollar for each, without a call, is none."""
    rest = whole.less(sum(parts, Figures()))
    is_rounding = rest == Figures(spend_micros=rest.spend_micros) and rest.spend_micros <= len(parts)
    return Figures() if is_rounding else rest


def _items(holder: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in _section(holder, name).items():
        if not isinstance(value, Mapping):
            raise unreadable()
        yield str(key), value


def _section(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = holder.get(name)
    if not isinstance(section, Mapping):
        raise unreadable()
    return section


def _figures(holder: Mapping[str, Any]) -> Figures:
    """Only calls that were answered: a refused one, or a probe of ours, is nobody's usage."""
    metrics = _section(holder, "metrics")
    numbers = [
        metrics.get(name) for name in ("successful_requests", "prompt_tokens", "completion_tokens", "spend")
    ]
    if not all(isinstance(one, int | float) and -LARGEST <= one <= LARGEST for one in numbers):
        raise unreadable()
    requests, prompt, completion, spend = (max(0, one) for one in numbers if one is not None)
    return Figures(int(requests), int(prompt), int(completion), micros_from_dollars(spend))
