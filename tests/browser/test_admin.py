"""What an administrator sees and does: failures first, each with its remedy."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.visitor import LOOK, Visitor, answer_as_a_gateway
from tests.integration.world import World, until
from tests.support import User


@pytest.fixture
def administrator(visit: Callable[..., Visitor], world: World) -> Visitor:
    visitor = visit()
    visitor.sign_in(world.administrator())
    visitor.go("Admin")
    return visitor


def section(visitor: Visitor, name: str) -> Locator:
    return visitor.page.get_by_role("region", name=name, exact=True)


def find(visitor: Visitor, owner: User) -> Locator:
    """The account's row."""
    accounts = section(visitor, "Accounts")
    accounts.get_by_label("E-mail or account id").fill(owner.email)
    accounts.get_by_role("button", name="Search").click()
    return accounts.get_by_role("row", name=owner.email)


def give_reason(visitor: Visitor, action: str) -> None:
    visitor.dialog().get_by_label("Reason").fill("ticket 1234")
    visitor.dialog().get_by_role("button", name=action, exact=True).click()
    expect(visitor.dialog().get_by_label("Reason")).to_be_hidden(timeout=15_000)


def test_a_parked_key_is_shown_first_and_synced_again(administrator: Visitor, world: World) -> None:
    _, key = world.parked_key(name="stuck one")
    administrator.button("Look again").click()
    failing = section(administrator, "Keys that LiteLLM does not have as wanted")
    row = failing.get_by_role("row", name="stuck one")
    expect(row).to_contain_text("LiteLLM refused it.")
    expect(row).to_contain_text("Parked")
    expect(section(administrator, "This waits for a person")).to_contain_text("parked")
    assert key["litellm_key_id"] not in administrator.page.content()
    row.get_by_role("button", name="Sync now: stuck one").click()
    expect(row).to_be_hidden(timeout=15_000)


def test_everything_that_failed_is_synced_with_its_progress(administrator: Visitor, world: World) -> None:
    world.set_failures_aside()
    for _ in range(3):
        world.parked_key(name="one of many")
    administrator.button("Sync all that failed").click()
    progress = section(administrator, "Keys that LiteLLM does not have as wanted").get_by_text("confirmed")
    expect(progress).to_contain_text("3 accounts of 3 confirmed", timeout=30_000)


def test_a_payment_that_does_not_fit_is_credited_by_hand(administrator: Visitor, world: World) -> None:
    buyer = world.sign_up()
    reference = world.order(buyer)["reference"]
    world.pay(reference, amount=100)
    world.until_status(buyer, reference, "needs_review")
    administrator.button("Look again").click()
    waiting = section(administrator, "Payments that wait for a decision")
    waiting.get_by_role("button", name=f"Open {reference}").click()
    expect(administrator.dialog()).to_contain_text(buyer.email)
    administrator.dialog().get_by_role("button", name="Credit as ordered").click()
    give_reason(administrator, "Credit it")
    expect(administrator.dialog()).to_contain_text("credited")
    administrator.page.keyboard.press("Escape")
    expect(waiting.get_by_role("button", name=f"Open {reference}")).to_be_hidden()
    assert world.credits(buyer) == 1000


def test_an_account_is_found_suspended_reinstated_and_given_credits(
    administrator: Visitor, world: World
) -> None:
    owner: User = world.sign_up()
    row = find(administrator, owner)
    row.get_by_role("button", name="Suspend").click()
    give_reason(administrator, "Suspend")
    expect(row).to_contain_text("suspended")
    row.get_by_role("button", name="Reinstate").click()
    give_reason(administrator, "Reinstate")
    expect(row).to_contain_text("active")
    row.get_by_role("button", name="Adjust credits").click()
    administrator.dialog().get_by_label("Credits").fill("-40")
    give_reason(administrator, "Adjust")
    expect(row).to_contain_text("460")
    log = section(administrator, "Audit log")
    expect(log.get_by_text("account suspended").first).to_be_visible()
    expect(log).to_contain_text("ticket 1234")


def test_a_payment_is_credited_in_proportion_to_what_was_paid(administrator: Visitor, world: World) -> None:
    buyer = world.sign_up()
    reference = world.order(buyer)["reference"]
    world.pay(reference, amount=640_000, requested_amount=1_600_000)
    world.until_status(buyer, reference, "needs_review")
    administrator.button("Look again").click()
    waiting = section(administrator, "Payments that wait for a decision")
    waiting.get_by_role("button", name=f"Open {reference}").click()
    administrator.dialog().get_by_role("button", name="Credit what was paid").click()
    give_reason(administrator, "Credit it")
    expect(administrator.dialog()).to_contain_text("200 of them credited")
    assert world.credits(buyer) == 700


def test_what_is_taken_beyond_the_balance_is_asked_about_twice(administrator: Visitor, world: World) -> None:
    owner = world.sign_up()
    row = find(administrator, owner)
    row.get_by_role("button", name="Adjust credits").click()
    dialog = administrator.dialog()
    dialog.get_by_label("Credits").fill("-400")
    expect(dialog).to_contain_text("500 credits before, 100 after.")
    dialog.get_by_label("Credits").fill("-700")
    expect(dialog).to_contain_text("500 credits before, -200 after.")
    dialog.get_by_label("Reason").fill("ticket 1234")
    dialog.get_by_role("button", name="Adjust", exact=True).click()
    expect(dialog).to_be_visible()  # it waits for the second yes
    assert world.credits(owner) == 500
    dialog.get_by_label("Take more than there is").check()
    dialog.get_by_role("button", name="Adjust", exact=True).click()
    expect(row).to_contain_text("-200")
    assert world.credits(owner) == -200


def test_an_adjustment_whose_answer_was_lost_is_booked_once(administrator: Visitor, world: World) -> None:
    owner = world.sign_up()
    row = find(administrator, owner)
    held: list[Route] = []
    administrator.page.route("**/rpc/adjust_credits", lambda route: held.append(route), times=1)  # noqa: PLW0108
    administrator.expect_refusals("net::ERR_FAILED")
    row.get_by_role("button", name="Adjust credits").click()
    dialog = administrator.dialog()
    dialog.get_by_label("Credits").fill("500")
    dialog.get_by_label("Reason").fill("ticket 1234")
    dialog.get_by_role("button", name="Adjust", exact=True).click()
    expect(dialog.get_by_role("button", name="Cancel")).to_be_disabled()
    administrator.page.keyboard.press("Escape")  # not while it goes on, or its error is told to nobody
    expect(dialog).to_be_visible()
    held[0].fetch()
    held[0].abort()
    expect(dialog.get_by_role("alert")).to_contain_text("it may have been done")
    expect(row).to_contain_text("1,000")
    administrator.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    row.get_by_role("button", name="Adjust credits").click()
    dialog.get_by_label("Credits").fill("500")
    give_reason(administrator, "Adjust")
    administrator.sees(f"The credits of {owner.email} are adjusted.")
    assert world.credits(owner) == 1000


@pytest.fixture
def long_lists(world: World) -> Iterator[None]:
    world.db.execute("update keyfund.settings set keys_per_account = 100")
    yield
    world.db.execute("update keyfund.settings set keys_per_account = default")


@pytest.mark.usefixtures("long_lists")
def test_a_later_page_that_became_empty_leads_back(administrator: Visitor, world: World) -> None:
    world.set_failures_aside()
    owner = world.sign_up()
    for number in range(21):
        world.create_key(owner, name=f"one of many {number}")
    until(lambda: all(key["sync_status"] == "synced" for key in world.keys(owner)), what="all are synced")
    world.park(owner)
    failing = section(administrator, "Keys that LiteLLM does not have as wanted")
    administrator.button("Look again").click()
    expect(failing.get_by_role("button", name="Sync now")).to_have_count(20)
    failing.get_by_role("button", name="Next page").click()
    expect(failing.get_by_role("button", name="Sync now")).to_have_count(1)
    world.set_failures_aside()
    administrator.button("Look again").click()
    expect(failing).to_contain_text("Nothing is on this page any more")
    failing.get_by_role("button", name="First page").click()
    expect(failing).to_contain_text("No key fails")


def test_an_error_is_told_beside_what_was_read_before(administrator: Visitor, world: World) -> None:
    row = find(administrator, world.sign_up())
    expect(row).to_be_visible()
    administrator.expect_refusals(502)
    administrator.page.route("**/rpc/find_accounts", answer_as_a_gateway)
    administrator.button("Look again").click()
    accounts = section(administrator, "Accounts")
    expect(accounts.get_by_role("alert")).to_contain_text("The service cannot be reached.")
    expect(row).to_be_visible()
    administrator.page.unroute("**/rpc/find_accounts")
    accounts.get_by_role("button", name="Try again").click()
    expect(accounts.get_by_role("alert")).to_be_hidden()


def test_what_goes_on_after_the_view_is_left_asks_no_more(administrator: Visitor) -> None:
    page = administrator.page
    expect(page.locator(".skeleton")).to_have_count(0)
    held: list[Route] = []
    page.route(
        "**/api/admin/resync",
        lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
    )
    with page.expect_request(lambda request: request.method == "POST" and "resync" in request.url):
        administrator.button("Sync all that failed").click()
    with page.expect_request("**/api/usage/models"):  # what the next view asks for once the last is done with
        administrator.go("Keys")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    held[0].fulfill(json={"ended_at": "2026-11-26T00:00:00Z", "keys": 0, "accounts": 0})
    administrator.sees("are on their way again.")
    with page.expect_request("**/api/status"):
        page.evaluate(LOOK)
    assert not [request for request in asked if "resync" in request]
