"""Signing in and out, and what a wrong or a forgotten password leads to."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Dialog, expect

from dev.stack import Stack
from tests.browser.visitor import Visitor
from tests.integration.world import World, until

LINK = re.compile(r"(http\S+/auth/v1/verify\?token=[0-9a-z_]+&type=recovery\S*)")


def test_a_wrong_password_is_refused_in_words_and_the_right_one_is_not(
    visitor: Visitor, world: World
) -> None:
    user = world.sign_up()
    visitor.expect_refusals(400)
    visitor.come()
    visitor.fill_in(user.email, "not the password")
    visitor.button("Sign in").click()
    expect(visitor.page.get_by_role("alert")).to_have_text(
        "This e-mail address and password do not go together."
    )
    visitor.page.get_by_label("Password").fill(user.password)
    visitor.button("Sign in").click()
    visitor.sees_heading("Keys")


def test_a_session_outlives_a_reload_and_ends_with_the_sign_out(person: Visitor) -> None:
    person.page.reload()
    person.sees_heading("Keys")
    person.sign_out()
    person.page.reload()
    person.sees_heading("Sign in")
    left = person.page.evaluate("Object.keys(localStorage).filter(name => name !== 'keyfund-theme')")
    assert left == []


def test_a_forgotten_password_is_replaced_by_the_link_of_the_mail(
    visitor: Visitor, world: World, stack: Stack
) -> None:
    user = world.sign_up()
    visitor.come()
    visitor.button("Forgot your password?").click()
    visitor.page.get_by_label("E-mail").fill(user.email)
    visitor.button("Send the link").click()
    visitor.sees("a mail with a link is on its way")

    visitor.page.goto(landing(stack, world, user.email, visitor.address))
    visitor.sees_heading("Choose a new password")
    visitor.page.get_by_label("New password").fill("another long password")
    visitor.button("Save the password").click()
    visitor.sees_heading("Keys")
    assert "access_token" not in visitor.page.url
    visitor.sign_out()
    visitor.fill_in(user.email, "another long password")
    visitor.button("Sign in").click()
    visitor.sees_heading("Keys")


def test_a_link_leaves_no_token_behind_and_a_new_password_ends_other_sessions(
    visit: Callable[..., Visitor], world: World, stack: Stack
) -> None:
    user = world.sign_up()
    thief, owner = visit(), visit()
    thief.sign_in(user)
    owner.come()
    owner.button("Forgot your password?").click()
    owner.page.get_by_label("E-mail").fill(user.email)
    owner.button("Send the link").click()
    owner.sees("a mail with a link is on its way")
    link = landing(stack, world, user.email, owner.address)
    owner.page.add_init_script("window.requestAnimationFrame = () => 0")  # as in a tab behind another
    owner.page.goto("about:blank")
    owner.page.goto(link)
    owner.sees_heading("Choose a new password")
    owner.page.get_by_label("New password").fill("another long password")
    with owner.page.expect_response("**/auth/v1/logout?scope=others"):
        owner.button("Save the password").click()
    owner.sees_heading("Keys")
    visited = owner.page.evaluate("navigation.entries().map(entry => entry.url)")
    assert not [url for url in visited if "token" in url]

    thief.expect_refusals(400, 401, 403)
    refreshed = thief.page.evaluate(
        """async ([url, key]) => {
             const session = JSON.parse(localStorage.getItem("keyfund-session"));
             const answer = await fetch(`${url}/auth/v1/token?grant_type=refresh_token`, {
               method: "POST", headers: { apikey: key, "content-type": "application/json" },
               body: JSON.stringify({ refresh_token: session.refresh_token }) });
             return answer.status;
           }""",
        [world.env["SUPABASE_URL"], world.env["SUPABASE_ANON_KEY"]],
    )
    assert refreshed == 400


@pytest.mark.parametrize("goes_on", [False, True])
def test_nobody_is_signed_in_to_another_account_unasked(person: Visitor, world: World, goes_on: bool) -> None:
    before = person.page.locator(".email").inner_text()
    stranger = world.sign_up()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if goes_on else dialog.dismiss()

    person.page.on("dialog", answer)
    person.page.goto("about:blank")
    person.page.goto(
        f"{person.address}/analytics#access_token={stranger.token}&refresh_token=x&expires_in=3600"
        "&token_type=bearer&type=magiclink"
    )
    person.sees_heading("Keys")
    expect(person.page.locator(".email")).to_have_text(stranger.email if goes_on else before)
    assert len(asked) == 1
    assert "token" not in person.page.url


@pytest.mark.parametrize("kind", ["magiclink", "signup", "recovery"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_link_that_this_browser_did_not_ask_for_signs_nobody_in_unasked(
    visitor: Visitor, world: World, goes_on: bool, kind: str
) -> None:
    stranger = world.sign_up()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if goes_on else dialog.dismiss()

    visitor.page.on("dialog", answer)
    visitor.page.goto(
        f"{visitor.address}/analytics#access_token={stranger.token}&refresh_token=x&expires_in=3600"
        f"&token_type=bearer&type={kind}"
    )
    visitor.sees_heading(
        "Sign in" if not goes_on else "Choose a new password" if kind == "recovery" else "Keys"
    )
    assert len(asked) == 1
    assert "Did you ask for it?" in asked[0]
    assert "token" not in visitor.page.url


def test_a_link_with_a_code_works_only_where_it_was_asked_for(
    visit: Callable[..., Visitor], world: World, stack: Stack
) -> None:
    user = world.sign_up()
    owner, elsewhere = visit(), visit()
    owner.come()
    owner.button("Forgot your password?").click()
    owner.page.get_by_label("E-mail").fill(user.email)
    owner.button("Send the link").click()
    owner.sees("a mail with a link is on its way")
    link = landing(stack, world, user.email, owner.address)
    assert "code=" in link
    elsewhere.page.goto(link)
    elsewhere.sees("Open that link in the browser in which you asked for it.")
    elsewhere.sees_heading("Sign in")
    assert "code" not in elsewhere.page.url
    owner.page.goto(link)
    owner.sees_heading("Choose a new password")
    assert "code" not in owner.page.url


def test_what_a_link_says_is_not_shown(visitor: Visitor) -> None:
    visitor.come()
    visitor.sees_heading("Sign in")
    visitor.page.goto("about:blank")
    visitor.page.goto(f"{visitor.address}/analytics#error=x&error_description=Call+0900+now")
    visitor.sees("That link does not work, or not any more.")
    expect(visitor.page.get_by_text("0900")).to_have_count(0)
    assert "#" not in visitor.page.url


def landing(stack: Stack, world: World, email: str, address: str) -> str:
    """Where the mail's link leads. The stand-in knows one address for all pages: ours is put in its place."""

    def mailed() -> str | None:
        mails = (stack.logs / "supabase.log").read_text().split("To: ")
        mine = [mail for mail in mails if mail.startswith(email)]
        link = LINK.search(mine[-1]) if mine else None
        return link[1] if link else None

    link = until(mailed, what="the mail with the link")
    assert link is not None
    path = link.partition("/auth/v1/")[2]
    answer = httpx.get(f"{world.env['SUPABASE_URL']}/auth/v1/{path}", follow_redirects=False)
    assert answer.is_redirect, answer.text
    brought = urlsplit(answer.headers["location"])
    return f"{address}/analytics?{brought.query}#{brought.fragment}"
