"""What an installed LiteLLM knows by name, as one JSON document: run by its own virtual environment's Python.

Routes come from the router itself with every feature loaded that LiteLLM loads at a first request: its
OpenAPI leaves out hidden routes, websockets and mounted applications. Fields and headers come from its lists
of parameters and from the text of its source, and the documented fields from the provider's own Python
package, which is made from the published OpenAPI.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

DOCUMENTED = {
    "chat": ("openai.types.chat.completion_create_params", "CompletionCreateParamsBase"),
    "completions": ("openai.types.completion_create_params", "CompletionCreateParamsBase"),
    "embeddings": ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
    "responses": ("openai.types.responses.response_create_params", "ResponseCreateParamsBase"),
}
BODY = "(?:data|kwargs|body|request_data|request_body|request_kwargs|optional_params|non_default_params)"
READ = re.compile(
    rf"""\b{BODY}(?:\.(?:get|pop|setdefault)\(\s*|\[)["']([\w-]+)["']|["']([\w-]+)["'] (?:not )?in {BODY}\b"""
)
"""A name that LiteLLM looks for in a request."""

HEADER = re.compile(r"""["'](x-litellm-[a-z0-9-]+?)-?["']""")


def main() -> None:
    application = import_module("litellm.proxy.proxy_server").app
    load_everything(application)
    owned = import_module("litellm.types.utils").all_litellm_params
    sources = list(texts(Path(str(import_module("litellm").__file__)).parent))
    document = {
        "routes": sorted(set(routes(application.routes))),
        "documented": {route: documented(*where) for route, where in DOCUMENTED.items()},
        "fields": sorted({str(name) for name in owned} | found(READ, sources)),
        "headers": sorted(found(HEADER, sources)),
    }
    json.dump(document, sys.stdout)


def load_everything(application: Any) -> None:
    """Releases from before the lazy features have all of them from the start."""
    try:
        lazy = import_module("litellm.proxy._lazy_features")
    except ImportError:
        return
    lazy.register_all_features(application)


def routes(found: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Pairs of method and path; WEBSOCKET and MOUNT stand where there is no method."""
    for route in found:
        for path, methods, below in shapes(route):
            yield from ((method, prefix + path) for method in methods)
            yield from routes(below, prefix + path)


def shapes(route: Any) -> Iterator[tuple[str, list[str], Iterable[Any]]]:
    """A route's own path and methods, or those of each route of an included router."""
    if hasattr(route, "effective_route_contexts"):
        for context in route.effective_route_contexts():
            inner = context.starlette_route or context.original_route
            path = getattr(context, "path", None) or inner.path
            yield path, methods_of(context) or methods_of(inner), []
    else:
        yield route.path, methods_of(route), getattr(route, "routes", None) or []


def methods_of(route: Any) -> list[str]:
    kind = type(getattr(route, "original_route", route)).__name__
    if "WebSocket" in kind:
        return ["WEBSOCKET"]
    return ["MOUNT"] if kind == "Mount" else sorted(getattr(route, "methods", None) or [])


def documented(module: str, name: str) -> list[str]:
    return sorted(getattr(import_module(module), name).__annotations__)


def texts(package: Path) -> Iterator[str]:
    """The source of what every call passes: LiteLLM's own, the proxy's and the router's."""
    folders = (".", "proxy", "proxy/auth", "proxy/hooks", "proxy/spend_tracking", "litellm_core_utils")
    for folder in (*folders, "router_utils", "router_utils/pre_call_checks"):
        yield from (file.read_text(errors="replace") for file in (package / folder).glob("*.py"))


def found(pattern: re.Pattern[str], sources: Iterable[str]) -> set[str]:
    return {next(filter(None, one.groups())) for text in sources for one in pattern.finditer(text)}


if __name__ == "__main__":
    main()
