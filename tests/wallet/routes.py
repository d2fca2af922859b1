"""The routes that a LiteLLM accepts, and the written table that says what becomes of each."""

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import httpx

from dev.litellm import Release, environment, lock_file
from dev.stack import ROOT

TABLE = ROOT / "docs" / "routes.md"
LISTING = Path(__file__).parent / "listing.py"

Verdict = Literal["charged", "free", "closed"]


@dataclass(frozen=True, order=True)
class Route:
    """A method (or WEBSOCKET, or MOUNT) and a path with its parameters in braces."""

    path: str
    method: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Installed:
    """What a release knows by name."""

    routes: frozenset[Route]
    documented: Mapping[str, tuple[str, ...]]
    fields: tuple[str, ...]
    headers: tuple[str, ...]


@cache
def installed(release: Release) -> Installed:
    """Ask the release itself, in its own virtual environment: 20 s, once for each lock file."""
    inputs = LISTING.read_bytes() + lock_file(ROOT, release).read_bytes()
    kept = ROOT / ".stack" / "cache" / f"names-{hashlib.sha256(inputs).hexdigest()[:16]}.json"
    if not kept.exists():
        kept.write_text(listed(release))
    told = json.loads(kept.read_text())
    routes = frozenset(Route(plain(path), method) for method, path in told["routes"])
    return Installed(routes, told["documented"], tuple(told["fields"]), tuple(told["headers"]))


def listed(release: Release) -> str:
    python = environment(ROOT, release) / "bin" / "python"
    settings = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    argv = [str(python), "-P", str(LISTING)]
    done = subprocess.run(argv, env=settings, check=True, capture_output=True, text=True, timeout=180)
    return str(done.stdout)


def plain(path: str) -> str:
    """As the OpenAPI writes it: `{endpoint}` for what the router calls `{endpoint:path}`."""
    return re.sub(r":\w+}", "}", path)


def openapi(url: str) -> dict[str, Any]:
    """The running proxy's own description."""
    document: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=60).json()
    return document


def described(document: dict[str, Any]) -> frozenset[Route]:
    """The routes of a description. LiteLLM lists its websockets as GET, too: those are kept as they are."""
    return frozenset(
        Route(plain(path), method.upper())
        for path, methods in document["paths"].items()
        for method in methods
    )


# --- the table ------------------------------------------------------------------------------------------


def written() -> dict[Route, Verdict]:
    """The table: in `docs/routes.md`, each verdict's routes stand in the blocks below its heading."""
    table: dict[Route, Verdict] = {}
    verdict: Verdict | None = None
    inside = False
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            verdict = verdict_of(line)
        elif line.startswith("```"):
            inside = not inside
        elif inside and verdict:
            table |= dict.fromkeys(routes_of(line), verdict)
    return table


def verdict_of(heading: str) -> Verdict | None:
    words: dict[str, Verdict] = {"Charged": "charged", "Free": "free", "Closed": "closed"}
    return words.get(heading.split()[1])


def routes_of(line: str) -> list[Route]:
    """`GET POST /files  what it does` names two routes."""
    methods, path = re.match(r"((?:[A-Z]+ )+)(\S+)", line.strip()).groups()  # type: ignore[union-attr]
    return [Route(path, method) for method in methods.split()]
