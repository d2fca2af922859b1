"""What the provider keeps: its key, its bill, and what customers have stored with it."""

from dataclasses import dataclass, field

from dev.provider.bill import Bill


@dataclass
class Desk:
    """The state behind the app. `prompts` holds what the cache has read, by its hash."""

    key: str
    bill: Bill = field(default_factory=Bill)
    prompts: set[str] = field(default_factory=set)
