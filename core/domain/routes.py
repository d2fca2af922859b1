"""The routes that keys may call: names for operators, literal paths for LiteLLM.

LiteLLM takes a path on a key's ``allowed_routes`` literally as to spelling: ``/chat/completions`` answers 403
where only ``/v1/chat/completions`` is named, so each route names every spelling that clients use. But a
listed path also opens everything below it, with any method (``proxy/auth/route_checks.py``, litellm 1.106.2):
what hangs below ``/v1/responses`` or ``/models`` is for the guard to close. An empty list opens everything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

ALWAYS = ("/utils/token_counter", "/v1/models", "/models")
"""On every key: our own probe, and what clients list models with."""

PATHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "chat": ("/v1/chat/completions", "/chat/completions"),
        "completions": ("/v1/completions", "/completions"),
        "embeddings": ("/v1/embeddings", "/embeddings"),
        "responses": ("/v1/responses", "/responses"),
        "messages": ("/v1/messages",),
        "images": ("/v1/images/generations", "/images/generations"),
        "speech": ("/v1/audio/speech", "/audio/speech"),
        "transcriptions": ("/v1/audio/transcriptions", "/audio/transcriptions"),
        "rerank": ("/v1/rerank", "/rerank", "/v2/rerank"),
        "moderations": ("/v1/moderations", "/moderations"),
    }
)
"""By name. The database has the same names, and refuses any other (``keyfund.route_names``)."""

PROOFLESS = ("chat", "completions", "embeddings")
"""Open without a proof of the doctor's: LiteLLM itself charges for them and reserves what they may cost."""


def paths_of(names: Iterable[str]) -> tuple[str, ...]:
    """The ``allowed_routes`` of a key for which these routes are open."""
    return (*ALWAYS, *(path for name in sorted(names) for path in PATHS[name]))


@dataclass(frozen=True, slots=True)
class Fences:
    """What bounds every key besides its limits, as the operator set it.

    ``open_routes`` are names; ``proved`` has the models of each that needs a proof; ``*``: all.
    The two bounds are calls in flight: of a key, held by LiteLLM, and of an account over all of its keys,
    held by the guard.
    """

    open_routes: tuple[str, ...]
    proved: Mapping[str, tuple[str, ...]]
    key_max_parallel: int
    account_max_parallel: int

    @property
    def paths(self) -> tuple[str, ...]:
        return paths_of(self.open_routes)

    @property
    def told_guard(self) -> dict[str, Any]:
        """What a key's metadata tells the guard."""
        routes = {name: list(models) for name, models in self.proved.items()}
        return {"in_flight": self.account_max_parallel, "routes": routes}


@dataclass(frozen=True, slots=True)
class RouteProof:
    """That a route was charged, bounded and private when the doctor tried it with a model.

    ``guard_version`` is None where it holds without the guard. ``counts``: for the LiteLLM recorded last.
    """

    route: str
    model: str
    litellm_version: str
    guard_version: str | None
    proved_at: datetime
    counts: bool


@dataclass(frozen=True, slots=True)
class RouteReport:
    """What is open, and on which proofs. ``stale``: open, but not proved for the LiteLLM recorded last.

    The versions are None until one was recorded; ``guard_version`` also where no guard answered.
    """

    fences: Fences
    proofs: tuple[RouteProof, ...]
    stale: tuple[str, ...]
    litellm_version: str | None
    guard_version: str | None
    recorded_at: datetime | None
