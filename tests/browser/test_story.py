"""The whole story, clicked through as a person would."""

from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.integration.world import World, until


def test_a_person_signs_up_spends_buys_and_goes_on(visitor: Visitor, world: World) -> None:
    page = visitor.page
    visitor.come()
    visitor.button("Create an account").click()
    visitor.fill_in(f"ada-{uuid4().hex[:8]}@example.com", "a long enough password")
    visitor.button("Sign up").click()
    visitor.sees("No keys yet")
    visitor.sees("500 credits")

    visitor.create_key("laptop", cap_dollars="20")
    visitor.sees_synced("laptop")
    key = visitor.copy_key("laptop")
    assert key.startswith("sk-")
    calls = until(lambda: spent(world, key), what="the wallet is spent")
    assert calls > 3
    expect(page.locator(".low-balance")).to_be_visible(timeout=60_000)

    visitor.go("Credits")
    page.get_by_label("Currency").select_option("USD")
    with page.expect_popup() as opened:
        visitor.button("Buy Starter for USD 11.00").click()
    visitor.sees("Payment under way")
    visitor.sees("Waiting for your payment at Paystack.")
    checkout = opened.value
    checkout.get_by_role("button", name="Pay USD").click()
    checkout.get_by_role("link", name="Back to the merchant").or_(
        checkout.get_by_text("Your credits have arrived.")
    ).wait_for()
    expect(page.get_by_text("Paid", exact=True)).to_be_visible(timeout=30_000)
    page.get_by_text("500 credits", exact=True).last.click()
    expect(page.locator(".timeline li.done", has_text="Ready to spend")).to_be_visible(timeout=30_000)

    until(lambda: world.call({"litellm_key_id": key}).status_code == 200, what="the same key works again")
    page.get_by_role("button", name="Receipt for").click()
    expect(visitor.dialog().get_by_text("Amount paid")).to_be_visible()
    page.keyboard.press("Escape")
    expect(visitor.dialog()).to_be_hidden()


def spent(world: World, key: str) -> int:
    """Call the dearest model until LiteLLM refuses; answers with the number of calls."""
    for calls in range(40):
        answer = world.call({"litellm_key_id": key}, "mock-costly")
        if answer.status_code != 200:
            assert answer.json()["error"]["type"] == "budget_exceeded"
            return calls
    return 0
