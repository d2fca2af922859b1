"""What an installed LiteLLM knows by name, as one JSON document: run by its own virtual environment's Python.

Routes come from the router itself with every feature loaded that LiteLLM loads at a first request: its
OpenAPI leaves out hidden routes, websockets and mounted applications. Fields and headers come from
its lists of parameters and from the text of its source.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    application = import_module("litellm.proxy.proxy_server").app
    load_everything(application)
    types = import_module("litellm.types.utils")
    package = Path(str(import_module("litellm").__file__)).parent
    document = {
        "routes": sorted(set(routes(application.routes))),
        "fields": sorted({str(name) for name in types.all_litellm_params}),
        "headers": sorted(set(headers(package))),
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


def headers(package: Path) -> Iterator[str]:
    for file in package.rglob("*.py"):
        text = file.read_text(errors="replace")
        yield from (name.rstrip("-") for name in re.findall(r"[\"'](x-litellm-[a-z0-9-]+)[\"']", text))


if __name__ == "__main__":
    main()
