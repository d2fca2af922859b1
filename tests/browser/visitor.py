"""Somebody at the dashboard: what they click and read, and what the browser complained about meanwhile."""

import re
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, Route, expect

from dev.browser import AXE
from tests.support import User

REFUSAL = re.compile(r"^Failed to load resource: (?:the server responded with a status of )?(\d+|net::\w+)")
GRAVE = ("serious", "critical")
LOOK = "dispatchEvent(new Event('online'))"
"""Has the page look at once at what it looks at now and then."""


def answer_as_a_gateway(route: Route) -> None:
    headers = {"content-type": "text/html", "access-control-allow-origin": "*"}
    route.fulfill(status=502, headers=headers, body="<h1>Bad Gateway</h1>")


@dataclass
class Visitor:
    """One tab. Its ``problems`` must be empty at the end of a test."""

    page: Page
    address: str
    problems: list[str] = field(default_factory=list)
    expected_refusals: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        refusal = REFUSAL.match(message.text)
        if refusal is None or refusal[1] not in self.expected_refusals:
            self.problems.append(f"{message.type}: {message.text} ({message.location['url']})")

    def expect_refusals(self, *statuses: int | str) -> None:
        """The browser writes every call that failed to its console: say which ones the test is about."""
        self.expected_refusals |= {str(status) for status in statuses}

    # -------------------------------------------------------------- sign-in

    def come(self, view: str = "") -> None:
        self.page.goto(f"{self.address}/analytics{f'#/{view}' if view else ''}")

    def sign_in(self, user: User) -> None:
        self.come()
        self.fill_in(user.email, user.password)
        self.button("Sign in").click()
        self.sees_heading("Keys")

    def fill_in(self, email: str, password: str) -> None:
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)

    def sign_out(self) -> None:
        self.button("Sign out").click()
        self.sees_heading("Sign in")

    # ------------------------------------------------------------ the views

    def go(self, view: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()
        self.sees_heading(view)

    def sees_heading(self, name: str, seconds: float = 15) -> None:
        expect(self.page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible(
            timeout=seconds * 1000
        )

    def sees(self, text: str | re.Pattern[str], seconds: float = 15) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    @property
    def status_line(self) -> Locator:
        return self.page.locator("header .status")

    # ----------------------------------------------------------------- keys

    def create_key(self, name: str, cap_dollars: str = "") -> Locator:
        self.button("Create New Key").click()
        self.dialog().get_by_label("Name").fill(name)
        if cap_dollars:
            self.dialog().get_by_label("Cap in dollars").fill(cap_dollars)
        self.dialog().get_by_role("button", name="Create the key").click()
        card = self.key(name)
        expect(card).to_be_visible(timeout=15_000)
        return card

    def key(self, name: str) -> Locator:
        return self.page.get_by_role("article", name=name, exact=True)

    def sees_synced(self, name: str, seconds: float = 30) -> None:
        expect(self.key(name).get_by_text("Synced", exact=True)).to_be_visible(timeout=seconds * 1000)

    def copy_key(self, name: str) -> str:
        self.button(f"Copy {name}").click()
        expect(self.key(name).get_by_text("Copied")).to_be_visible()
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    # ----------------------------------------------------------- inspection

    def find_flaws(self) -> list[str]:
        """What axe calls serious or critical on the page as it is."""
        if not self.page.evaluate("'axe' in window"):
            # By the debugger, which the page's own policy does not bind.
            self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{flaw['id']}: {flaw['help']}: {[node['html'][:160] for node in flaw['nodes'][:3]]}"
            for flaw in found["violations"]
            if flaw["impact"] in GRAVE
        ]

    def is_too_wide(self) -> bool:
        # Not innerWidth: a phone zooms out until what is too wide fits.
        return bool(self.page.evaluate("document.documentElement.scrollWidth > screen.width"))
