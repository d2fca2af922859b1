"""What a text model is to do, and what that costs: chat, completions, responses and messages alike."""

import json
from dataclasses import dataclass, field
from typing import Final

from dev.provider import field as fields
from dev.provider.bill import Call
from dev.provider.demand import Demand
from dev.provider.price import Model
from dev.provider.refusal import JsonObject
from dev.provider.tokens import count
from dev.provider.usage import Usage, cost_micros

REASONING_PERCENT: Final = {"none": 0, "minimal": 10, "low": 25, "medium": 50, "high": 75, "xhigh": 90}
"""The part of the output that is reasoning, by the effort asked for, where the model reasons."""


@dataclass(frozen=True)
class Work:
    """A call of a text model, understood. Every one of the `choices` has `tokens` of output."""

    model: Model
    demand: Demand
    usage: Usage
    tokens: int
    choices: int = 1
    tier: str = "default"
    stream: bool = False
    counted: dict[str, int] = field(default_factory=dict)

    @property
    def visible_tokens(self) -> int:
        """Tokens of each choice that are not reasoning."""
        return self.tokens - self.usage.reasoning_tokens // self.choices

    def asked(self) -> JsonObject:
        """What goes on the bill beside the cost."""
        return {
            "max_tokens": self.tokens,
            "n": self.choices,
            "stream": self.stream,
            "service_tier": self.tier,
            **self.counted,
        }

    def bill(self, call: Call) -> None:
        """Bill all of it."""
        self.bill_output(call, self.usage.output_tokens)

    def bill_output(self, call: Call, output_tokens: int) -> None:
        """Bill the input, and so much of the output as was generated."""
        usage = self.usage.generated(output_tokens)
        call.charge(self.model.name, cost_micros(self.model, usage, self.tier), usage=usage.told())


def tools_tokens(body: JsonObject) -> int:
    """What descriptions of tools and of the answer's form add to the prompt."""
    names = ("tools", "functions", "response_format", "text")
    return sum(count(json.dumps(body[name])) for name in names if body.get(name))


def searches(body: JsonObject) -> int:
    """How often tools are used that run at the provider: once each."""
    tools = fields.items(body, "tools") or []
    hosted = [
        tool
        for tool in tools
        if isinstance(tool, dict) and tool.get("type") not in (None, "function", "custom")
    ]
    return len(hosted) + (body.get("web_search_options") is not None)


def reasoning_tokens(body: JsonObject, name: str, model: Model, tokens: int) -> int:
    """How many of a choice's tokens are reasoning: none, where the model does not reason."""
    effort = fields.one_of(body, name, REASONING_PERCENT)
    if model.price.output_micros_per_reasoning_token is None:
        return 0
    return tokens * REASONING_PERCENT[effort or "medium"] // 100
