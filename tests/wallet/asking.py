"""Asks a LiteLLM for many routes with one key, a few at a time."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from tests.wallet.filling import Filled, Filler
from tests.wallet.routes import Route
from tests.wallet.site import Site

AT_ONCE = 6
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass(frozen=True)
class Answer:
    """What became of a request."""

    route: Route
    status: int
    text: str

    @property
    def closed(self) -> bool:
        """400 is for fields alone; 405 is a method that the route does not have."""
        return self.status in (401, 403, 404, 405)

    def __str__(self) -> str:
        return f"{self.route} -> {self.status} {' '.join(self.text.split())[:200]}"


def ask_all(site: Site, key: str, filler: Filler, routes: Iterable[Route]) -> list[Answer]:
    """An answer for each route, in their order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda route: ask(site, key, route, filler.fill(route)), routes))


def ask(site: Site, key: str, route: Route, filled: Filled) -> Answer:
    if route.method == "WEBSOCKET":
        return Answer(route, upgraded(site, key, filled), "")
    try:
        answer = site.ask(key, filled.method, filled.path, **filled.more, **authorized(route, key))
    except httpx.TransportError as error:
        return Answer(route, 0, repr(error))
    return Answer(route, answer.status_code, answer.text)


def authorized(route: Route, key: str) -> dict[str, object]:
    """Some routes look for the key where their vendor has it."""
    if route.path.startswith("/langfuse"):
        return {"auth": (key, key), "headers": {"authorization": ""}}
    return {"headers": {"x-goog-api-key": key, "x-api-key": key}}


def upgraded(site: Site, key: str, filled: Filled) -> int:
    """The status of a websocket's handshake, 101 where it is let in; on a connection of its own."""
    headers = {"authorization": f"Bearer {key}", **UPGRADE}
    with httpx.Client(timeout=20) as client:
        return client.get(site.litellm_url + filled.path, headers=headers).status_code
