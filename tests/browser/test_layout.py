"""Every view, in both themes and on a phone: nothing too wide, nothing that axe calls serious."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DARK, PHONE
from tests.browser.visitor import Visitor
from tests.integration.world import World

VIEWS = ("Keys", "Usage", "Credits", "Estimate", "Admin")


@pytest.fixture
def administrator(visit: Callable[..., Visitor], world: World) -> Callable[..., Visitor]:
    """An administrator with a key, a call, a payment, and nothing that is still on its way."""

    def sign_in(**options: Any) -> Visitor:
        user = world.administrator()
        world.call(world.synced_key(user, name="laptop", max_budget=500), "mock-large")
        world.pay(world.order(user)["reference"])
        visitor = visit(**options)
        visitor.sign_in(user)
        return visitor

    return sign_in


def settled(visitor: Visitor, view: str) -> None:
    visitor.go(view)
    expect(visitor.page.locator(".skeleton")).to_have_count(0, timeout=20_000)


@pytest.mark.parametrize("theme", [{}, DARK], ids=["light", "dark"])
def test_no_view_has_a_serious_flaw(administrator: Callable[..., Visitor], theme: Any) -> None:
    visitor = administrator(**theme)
    flaws: dict[str, list[str]] = {}
    for view in VIEWS:
        settled(visitor, view)
        flaws[view] = visitor.find_flaws()
    visitor.go("Keys")
    for name in ("Edit laptop", "Rotate laptop", "Revoke laptop"):
        visitor.button(name).click()
        flaws[name] = visitor.find_flaws()
        visitor.page.keyboard.press("Escape")
    visitor.button("Create New Key").click()
    flaws["Create New Key"] = visitor.find_flaws()
    visitor.page.keyboard.press("Escape")
    visitor.sign_out()
    flaws["Sign in"] = visitor.find_flaws()
    assert {where: found for where, found in flaws.items() if found} == {}


def test_no_view_scrolls_sideways_on_a_phone(administrator: Callable[..., Visitor]) -> None:
    visitor = administrator(**PHONE)
    for view in VIEWS:
        settled(visitor, view)
        assert not visitor.is_too_wide(), view
    visitor.go("Keys")
    visitor.button("Reveal laptop").click()
    assert not visitor.is_too_wide(), "a revealed key"
    visitor.button("Edit laptop").click()
    assert not visitor.is_too_wide(), "a dialog"


def test_the_theme_follows_the_system_until_one_is_chosen(visit: Callable[..., Visitor]) -> None:
    visitor = visit(**DARK)
    visitor.come()
    theme = "document.documentElement.dataset.theme"
    visitor.sees_heading("Sign in")
    assert visitor.page.evaluate(theme) == "dark"
    visitor.button("Use the light theme").click()
    assert visitor.page.evaluate(theme) == "light"
    visitor.page.reload()
    visitor.sees_heading("Sign in")
    assert visitor.page.evaluate(theme) == "light"


def test_what_the_policy_forbids_is_noticed(visitor: Visitor) -> None:
    """The control: the check that fails any test does see a violation and an error."""
    visitor.come()
    visitor.sees_heading("Sign in")
    assert visitor.problems == []
    visitor.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'alert(1)'}))"
    )
    visitor.page.evaluate("setTimeout(() => { throw new Error('on purpose') })")
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    assert any("Content Security Policy" in problem for problem in visitor.problems)
    assert any("on purpose" in problem for problem in visitor.problems)
    visitor.problems.clear()
