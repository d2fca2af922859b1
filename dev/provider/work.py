"""What a text model is to do, and what that costs: chat, completions, responses and messages alike."""

from dataclasses import dataclass, field

from dev.provider.bill import Call
from dev.provider.demand import Demand
from dev.provider.price import Model
from dev.provider.usage import Usage, cost_micros


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

    def bill(self, call: Call) -> None:
        """Bill all of it."""
        self.bill_output(call, self.usage.output_tokens)

    def bill_output(self, call: Call, output_tokens: int) -> None:
        """Bill the input, and so much of the output as was generated."""
        usage = self.usage.generated(output_tokens)
        call.charge(self.model.name, cost_micros(self.model, usage, self.tier), usage=usage.told())
