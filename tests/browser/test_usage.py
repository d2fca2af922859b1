"""What was used and what a call would cost, as a person sees it."""

import csv
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.visitor import Visitor, answer_as_a_gateway
from tests.integration.world import World, until


def test_a_call_is_shown_by_model_and_key_and_taken_home_as_csv(
    visitor: Visitor, world: World, tmp_path: Path
) -> None:
    user = world.sign_up()
    key = world.synced_key(user, name="laptop")
    assert world.call(key, "mock-large").status_code == 200
    until(
        lambda: world.api(user, "GET", "/api/analytics/usage").json()["total"]["requests"] == 1,
        what="LiteLLM tells of the call",
        seconds=150,  # on a busy machine one reading of usage may be missed
    )
    visitor.sign_in(user)
    visitor.go("Usage")
    page = visitor.page
    visitor.sees("From LiteLLM")
    visitor.sees(re.compile("UTC"))
    expect(page.get_by_role("row", name="mock-large").first).to_be_visible()
    expect(page.get_by_role("row", name="laptop")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("by day, stacked by model"))).to_be_visible()
    visitor.sees(re.compile(r"a day over the last 7 days"))
    expect(page.get_by_role("img", name="Credits left by day")).to_be_visible()

    page.get_by_label("Range").select_option("7")
    page.get_by_role("combobox", name="Model", exact=True).select_option("mock-large")
    expect(page.get_by_role("region", name="Budget")).to_be_hidden()  # it is about the whole wallet
    with page.expect_download() as saved:
        visitor.button("Export CSV").click()
    file = tmp_path / "usage.csv"
    saved.value.save_as(file)
    (line,) = csv.DictReader(file.read_text().splitlines())
    assert (line["model"], line["key_name"], line["requests"]) == ("mock-large", "laptop", "1")


def test_figures_are_not_shown_as_those_of_a_key_that_could_not_be_read(
    visitor: Visitor, world: World
) -> None:
    user = world.sign_up()
    key = world.synced_key(user, name="laptop")
    visitor.sign_in(user)
    visitor.go("Usage")
    visitor.sees("Days begin at midnight")
    visitor.expect_refusals(502)
    visitor.page.route(re.compile(r"usage\?.*key_id="), answer_as_a_gateway)
    visitor.page.get_by_role("combobox", name="Key", exact=True).select_option(key["id"])
    expect(visitor.page.get_by_role("alert")).to_contain_text("The service cannot be reached.")
    expect(visitor.page.locator(".stale")).to_contain_text("Days begin at midnight")


def test_an_estimate_is_what_the_call_then_costs_at_most(person: Visitor) -> None:
    page = person.page
    person.go("Estimate")
    page.get_by_role("combobox", name="Model", exact=True).select_option("mock-costly")
    page.get_by_label("Prompt").fill("Hello")
    page.get_by_label("max_tokens").fill("20")
    page.get_by_role("button", name="Estimate", exact=True).click()
    result = page.get_by_role("region", name="At most")
    expect(result).to_contain_text("up to 20 tokens")
    expect(result).to_contain_text(re.compile(r"\$1\.00"))
    expect(result).to_contain_text("Counted and priced by LiteLLM.")


def test_a_suspended_person_is_told_so(person: Visitor, world: World) -> None:
    email = person.page.locator(".email").inner_text()
    world.db.execute("update public.profiles set status = 'suspended' where email = %s", [email])
    person.page.reload()
    person.sees("This account is suspended")
