"""Keys: hidden until asked for, changed in place, stopped for good, and nobody else's business."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.integration.world import World, until

ANY_KEY = re.compile(r"sk-kf-[0-9a-f]{20,}")


def test_a_key_is_in_the_page_only_while_it_is_revealed(person: Visitor) -> None:
    page = person.page
    card = person.create_key("laptop")
    person.sees_synced("laptop")
    assert not ANY_KEY.search(page.content())
    person.button("Reveal laptop").click()
    expect(card.get_by_text(ANY_KEY)).to_be_visible()
    shown = card.locator(".secret code").inner_text()
    assert person.copy_key("laptop") == shown
    person.button("Hide laptop").click()
    assert not ANY_KEY.search(page.content())
    stored = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert shown not in stored
    person.button("Copy the curl example").click()
    person.sees("The example is copied, with laptop in it.")
    assert shown in page.evaluate("navigator.clipboard.readText()")


def test_the_new_string_of_a_revealed_key_is_not_shown_unasked(person: Visitor) -> None:
    card = person.create_key("laptop")
    person.sees_synced("laptop")
    person.button("Reveal laptop").click()
    expect(card.get_by_text(ANY_KEY)).to_be_visible()
    person.button("Rotate laptop").click()
    person.dialog().get_by_role("button", name="Rotate", exact=True).click()
    expect(card.get_by_text("Former string", exact=True)).to_be_visible()
    assert not ANY_KEY.search(person.page.content())
    person.button("Reveal laptop").click()
    expect(card.get_by_text(ANY_KEY)).to_be_visible()
    person.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(card.get_by_text(ANY_KEY)).to_be_hidden()


def test_a_ceiling_is_told_in_the_units_of_the_forms(visitor: Visitor, world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user, name="laptop")
    world.db.execute("update public.virtual_keys set most_max_budget = 200 where id = %s", [key["id"]])
    visitor.sign_in(user)
    expect(visitor.key("laptop")).to_contain_text("At most $2.00 a month")
    visitor.expect_refusals(400)
    visitor.button("Edit laptop").click()
    visitor.dialog().get_by_label("What it may spend").select_option("fixed")
    visitor.dialog().get_by_label("Cap in dollars").fill("2.50")
    visitor.dialog().get_by_role("button", name="Save").click()
    expect(visitor.dialog().get_by_role("alert")).to_contain_text("Highest allowed here: a cap of $2.00.")


def test_a_key_is_renamed_capped_blocked_rotated_and_revoked(person: Visitor, world: World) -> None:
    page = person.page
    person.create_key("laptop")
    person.sees_synced("laptop")
    former = person.copy_key("laptop")

    person.button("Edit laptop").click()
    person.dialog().get_by_label("Name").fill("tablet")
    person.dialog().get_by_label("What it may spend").select_option("fixed")
    person.dialog().get_by_label("Cap in dollars").fill("2.50")
    person.dialog().get_by_role("button", name="Save").click()
    card = person.key("tablet")
    expect(card.get_by_text("$2.50").first).to_be_visible()
    person.sees_synced("tablet")
    expect(person.button("Edit tablet")).to_be_visible()

    person.button("Block tablet").click()
    expect(card.get_by_text("Blocked", exact=True)).to_be_visible()
    person.sees_synced("tablet")
    assert world.call({"litellm_key_id": former}).status_code == 401
    person.button("Unblock tablet").click()
    expect(card.get_by_text("Blocked", exact=True)).to_be_hidden()
    person.sees_synced("tablet")

    person.button("Rotate tablet").click()
    person.dialog().get_by_role("button", name="Rotate", exact=True).click()
    expect(card.get_by_text("Former string", exact=True)).to_be_visible()
    person.sees_synced("tablet", seconds=90)  # once it is known what the former string spent of the cap
    newer = person.copy_key("tablet")
    assert newer != former
    for string in (former, newer):
        until(lambda string=string: world.call({"litellm_key_id": string}).status_code == 200)  # type: ignore[misc]
    person.button("Stop it now: the former string of tablet").click()
    expect(card.get_by_text("Former string", exact=True)).to_be_hidden(timeout=15_000)

    person.button("Revoke tablet").click()
    expect(person.dialog()).to_contain_text("cannot be undone")
    person.dialog().get_by_role("button", name="Revoke for good").click()
    expect(card).to_be_hidden(timeout=15_000)
    person.sees("No keys yet")
    until(lambda: world.call({"litellm_key_id": newer}).status_code == 401, what="the key is refused")
    assert page.evaluate("document.activeElement !== document.body")


def test_the_keyboard_alone_creates_and_revokes_a_key(person: Visitor) -> None:
    page = person.page
    person.sees("No keys yet")

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent)"
            )
            if focused == name:
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        raise AssertionError(f"no way to {name} with the Tab key")

    tab_to("Create New Key")
    page.keyboard.press("Enter")
    expect(person.dialog()).to_be_visible()
    page.keyboard.press("Escape")
    expect(person.dialog()).to_be_hidden()
    expect(person.button("Create New Key")).to_be_focused()
    page.keyboard.press("Enter")
    expect(person.dialog().get_by_label("Name")).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    expect(person.key("typed")).to_be_visible()
    expect(person.button("Create New Key")).to_be_focused()
    person.sees_synced("typed")
    tab_to("Revoke typed")
    page.keyboard.press("Enter")
    expect(person.dialog()).to_be_visible()
    inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(inside), page.evaluate("document.activeElement.outerHTML")
    tab_to("Revoke for good")
    page.keyboard.press("Enter")
    expect(person.key("typed")).to_be_hidden(timeout=15_000)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    tab_to("Buy credits")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Credits")).to_be_focused()


def test_two_people_see_nothing_of_each_other(visit: Callable[..., Visitor], world: World) -> None:
    ada, bob = visit(), visit()
    ada.sign_in(world.sign_up())
    bob.sign_in(world.sign_up())
    ada.create_key("ada's own")
    bob.create_key("bob's own")
    for one, own, other in ((ada, "ada's own", "bob's own"), (bob, "bob's own", "ada's own")):
        one.page.reload()
        expect(one.key(own)).to_be_visible()
        assert other not in one.page.content()
        one.page.goto(f"{one.address}/analytics#/admin")
        one.sees_heading("Keys")
        expect(one.page.get_by_role("link", name="Admin")).to_be_hidden()


def test_one_browser_used_by_two_people_keeps_them_apart(person: Visitor, world: World) -> None:
    person.create_key("the first one's")
    person.sign_out()
    person.sign_in(world.sign_up())
    person.sees("No keys yet")
    assert "the first one's" not in person.page.content()


def test_what_changed_elsewhere_shows_without_a_reload_once_the_tab_is_in_sight(
    visitor: Visitor, world: World
) -> None:
    user = world.sign_up()
    visitor.sign_in(user)
    visitor.sees("No keys yet")
    hidden = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s})"
    turned = "document.dispatchEvent(new Event('visibilitychange'))"
    visitor.page.evaluate(f"{hidden % 'true'}; {turned}")
    world.create_key(user, name="made elsewhere")
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    world.synced_key(user, name="another")  # a second or two in which nobody looks
    assert visitor.page.evaluate("document.hidden")  # also has the browser tell what it did meanwhile
    assert asked == []
    visitor.page.evaluate(f"{hidden % 'false'}; {turned}")
    expect(visitor.key("made elsewhere")).to_be_visible()
    visitor.sees_synced("made elsewhere")
