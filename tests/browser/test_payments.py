"""What a buyer reads of a payment that a person has to decide about."""

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.integration.world import World


def test_a_refused_payment_is_not_called_given_back_before_it_is(visitor: Visitor, world: World) -> None:
    buyer = world.sign_up()
    reference = world.order(buyer)["reference"]
    world.pay(reference, amount=100)
    world.until_status(buyer, reference, "needs_review")
    visitor.sign_in(buyer)
    visitor.go("Credits")
    payment = visitor.page.locator(".payments > li")
    payment.get_by_text("Being looked at").click()
    expect(payment).to_contain_text("Somebody is looking at this payment")
    decision = {"reference": reference, "accept": False, "reason": "ticket 1234"}
    decided = world.rest(world.administrator(), "POST", "/rpc/decide_review", json=decision)
    assert decided.status_code == 200, decided.text
    visitor.page.reload()
    expect(payment.get_by_text("Not accepted: to be refunded")).to_be_visible()
