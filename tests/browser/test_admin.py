"""What an administrator sees and does: failures first, each with its remedy."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visitor import Visitor
from tests.integration.world import World
from tests.support import User


@pytest.fixture
def administrator(visit: Callable[..., Visitor], world: World) -> Visitor:
    user = world.sign_up()
    world.db.execute("insert into keyfund.administrators (user_id) values (%s)", [user.id])
    visitor = visit()
    visitor.sign_in(user)
    visitor.go("Admin")
    return visitor


def section(visitor: Visitor, name: str) -> Locator:
    return visitor.page.get_by_role("region", name=name, exact=True)


def give_reason(visitor: Visitor, action: str) -> None:
    visitor.dialog().get_by_label("Reason").fill("ticket 1234")
    visitor.dialog().get_by_role("button", name=action, exact=True).click()
    expect(visitor.dialog().get_by_label("Reason")).to_be_hidden(timeout=15_000)


def test_a_parked_key_is_shown_first_and_synced_again(administrator: Visitor, world: World) -> None:
    owner = world.sign_up()
    key = world.synced_key(owner, name="stuck one")
    world.db.execute(
        "update public.virtual_keys set sync_status = 'failed', next_attempt_at = null, "
        "last_error = 'litellm_refused: LiteLLM refused it.' where id = %s",
        [key["id"]],
    )
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
    keys = [world.synced_key(world.sign_up(), name="one of many") for _ in range(3)]
    world.db.execute(
        "update public.virtual_keys set sync_status = 'failed', next_attempt_at = null, "
        "last_error = 'litellm_refused: LiteLLM refused it.' where id = any(%s)",
        [[key["id"] for key in keys]],
    )
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
    expect(administrator.dialog()).to_contain_text("success")
    administrator.page.keyboard.press("Escape")
    expect(waiting.get_by_role("button", name=f"Open {reference}")).to_be_hidden()
    assert world.credits(buyer) == 1000


def test_an_account_is_found_suspended_reinstated_and_given_credits(
    administrator: Visitor, world: World
) -> None:
    owner: User = world.sign_up()
    accounts = section(administrator, "Accounts")
    accounts.get_by_label("E-mail or account id").fill(owner.email)
    accounts.get_by_role("button", name="Search").click()
    row = accounts.get_by_role("row", name=owner.email)
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
