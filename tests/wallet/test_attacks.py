"""Each known attack is refused or paid for with the guard, and works without it.

Without the guard it is the control: it shows that the attack is one, and that the bill sees it.
"""

import pytest

from tests.integration.world import until
from tests.wallet.attacks import ATTACKS, Attack, faults
from tests.wallet.site import Site


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_with_the_guard_an_attack_is_refused_or_paid_for(site: Site, attack: Attack) -> None:
    attacked = attack.on(site)
    assert faults(attack, attacked) == []
    billed, user = attacked.account.billed_micros, attacked.account.customer.id
    until(lambda: site.user(user)["spend_micros"] == billed, seconds=30, what=f"spend = bill = {billed}")


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.overspends], ids=str)
def test_without_the_guard_the_attack_overspends(unguarded: Site, attack: Attack) -> None:
    attacked = attack.on(unguarded)
    billed = sum(call["cost_micros"] for call in attacked.bill.calls)
    assert billed > attack.most_micros, attacked.answers[0].text
