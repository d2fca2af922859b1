"""LiteLLM, or the service itself, away while somebody works: told plainly, nothing lost."""

from playwright.sync_api import expect

from tests.browser.visitor import LOOK, Visitor, answer_as_a_gateway
from tests.integration.world import World

AWAY_SECONDS = 60


def test_litellm_goes_and_comes_back_while_somebody_works(person: Visitor, world: World) -> None:
    person.expect_refusals(503)  # of the list of models, which is LiteLLM's own
    expect(person.status_line).to_contain_text("LiteLLM is connected.", timeout=30_000)
    world.stack.stop_part("litellm")
    person.create_key("made meanwhile")
    expect(person.status_line).to_contain_text("LiteLLM cannot be reached.", timeout=AWAY_SECONDS * 1000)
    expect(person.status_line).to_contain_text("Nothing is lost")
    person.go("Usage")
    expect(person.page.get_by_text("Local data")).to_be_visible()
    person.go("Keys")
    card = person.key("made meanwhile")
    expect(card.get_by_text("Not synced")).to_be_visible(timeout=30_000)
    expect(card).to_contain_text("It is tried again as soon as LiteLLM answers.")
    world.stack.start_part("litellm")
    person.sees_synced("made meanwhile", seconds=AWAY_SECONDS)
    expect(person.status_line).to_contain_text("LiteLLM is connected.", timeout=30_000)
    assert world.call({"litellm_key_id": person.copy_key("made meanwhile")}).status_code == 200


def test_a_checkout_that_paystack_did_not_open_is_not_called_under_way(person: Visitor, world: World) -> None:
    person.expect_refusals(503)
    person.go("Credits")
    world.stack.stop_part("paystack")
    person.page.get_by_label("Currency").select_option("USD")
    with person.page.expect_popup():
        person.button("Buy Starter for USD 11.00").click()
    person.sees("Paystack cannot be reached.")
    expect(person.page.locator("ul.payments").get_by_text("Not opened").first).to_be_visible(timeout=30_000)
    expect(person.page.get_by_text("Payment under way")).to_be_hidden()


def test_a_key_of_somebody_else_that_is_parked_does_not_wait_here(person: Visitor, world: World) -> None:
    world.parked_key()
    person.page.reload()
    expect(person.status_line).to_contain_text("All changes have arrived.")


def test_a_service_that_cannot_be_reached_is_told_and_asked_again(person: Visitor, world: World) -> None:
    person.create_key("laptop")
    person.expect_refusals("net::ERR_INTERNET_DISCONNECTED")
    person.page.context.set_offline(True)
    person.button("Sync now: laptop").click()
    expect(person.key("laptop").get_by_role("alert")).to_contain_text("it may have been done")
    expect(person.status_line).to_contain_text("cannot be reached")
    person.page.context.set_offline(False)
    person.button("Sync now: laptop").click()
    person.sees_synced("laptop")


def test_the_status_line_tells_of_any_part_that_is_not_read(person: Visitor) -> None:
    person.create_key("laptop")
    person.expect_refusals(502)
    person.page.route("**/api/keys/manage", answer_as_a_gateway)
    person.page.evaluate(LOOK)
    expect(person.status_line).to_contain_text("The service cannot be reached.")
    expect(person.key("laptop")).to_be_visible()
    person.page.unroute("**/api/keys/manage")
    person.page.evaluate(LOOK)
    expect(person.status_line).to_contain_text("LiteLLM is connected.")
