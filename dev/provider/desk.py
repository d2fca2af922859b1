"""What the provider keeps: its key, its bill, and what customers have stored with it."""

from dataclasses import dataclass, field
from uuid import uuid4

from dev.provider.bill import Bill
from dev.provider.refusal import JsonObject


@dataclass(frozen=True)
class StoredFile:
    """A file that a customer uploaded, or that a batch made, and what is told of it."""

    told: JsonObject
    content: bytes


@dataclass
class Desk:
    """The state behind the app. `prompts` holds what the cache has read, by its hash."""

    key: str
    bill: Bill = field(default_factory=Bill)
    prompts: set[str] = field(default_factory=set)
    responses: dict[str, JsonObject] = field(default_factory=dict)
    files: dict[str, StoredFile] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    things: dict[str, dict[str, JsonObject]] = field(default_factory=dict)
    """Batches, vector stores and the like: by kind, then by id."""

    def kept(self, kind: str) -> dict[str, JsonObject]:
        """The things of one kind, by id."""
        return self.things.setdefault(kind, {})

    def name(self, kind: str) -> str:
        """A new id."""
        return f"{kind}_{uuid4().hex}"
