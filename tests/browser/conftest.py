"""A browser at the running stack's dashboard. Any complaint in its console fails the test it came up in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from dev.browser import browser
from dev.stack import ROOT, Stack
from tests.browser.visitor import Visitor
from tests.integration.world import World
from tests.support import Connection, User

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
CLIPBOARD = ["clipboard-read", "clipboard-write"]


# Of this folder, not of the session: while Playwright runs, no other test can have an event loop.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    ours = browser(ROOT)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=ours.executable, args=list(ours.args), env=dict(ours.env)
        )
        yield launched
        launched.close()


@pytest.fixture
def world(stack: Stack, admin_db: Connection, sign_up: Callable[..., User]) -> Iterator[World]:
    world = World(stack, admin_db, sign_up)
    yield world
    for name in list(stack.children):
        if stack.child(name).state != "running":
            stack.start_part(name)
    world.http.close()


@pytest.fixture
def visit(chromium: Browser, env: dict[str, str]) -> Iterator[Callable[..., Visitor]]:
    """Open the dashboard in a browser of its own: nothing is shared with the others of the test."""
    visitors: list[Visitor] = []

    def visit(**options: Any) -> Visitor:
        context = chromium.new_context(permissions=CLIPBOARD, reduced_motion="reduce", **options)
        visitor = Visitor(context.new_page(), env["WEBHOOK_BASE_URL"])
        visitors.append(visitor)
        return visitor

    yield visit
    problems = [problem for visitor in visitors for problem in visitor.problems]
    for visitor in visitors:
        visitor.page.context.close()
    assert problems == [], "the browser complained"


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    """Somebody who is not signed in, at a desk."""
    return visit()


@pytest.fixture
def person(visit: Callable[..., Visitor], world: World) -> Visitor:
    """Somebody who just signed up and is signed in."""
    visitor = visit()
    visitor.sign_in(world.sign_up())
    return visitor
