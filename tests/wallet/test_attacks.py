"""Each known attack is refused or paid for with the guard, and works without it.

Without the guard it is the control: it shows that the attack is one, and that the bill sees it.
"""

import pytest

from tests.integration.world import until
from tests.wallet.attacks import ATTACKS, Attack
from tests.wallet.audit import Attacked, Audit
from tests.wallet.by_hand import by_hand
from tests.wallet.site import Site


def made(site: Site, attack: Attack) -> Attacked:
    customers = by_hand(site, attack.opens, **attack.limits)
    audit = Audit(site, customers, at_once=len(attack.requests), wallet_micros=attack.most_micros)
    attacked = audit.attack(attack.path, attack.requests)
    print(f"{attack}: {attacked.statuses}, billed {attacked.bill.owed_micros} micro-dollars")
    return attacked


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_with_the_guard_an_attack_is_refused_or_paid_for(site: Site, attack: Attack) -> None:
    attacked = made(site, attack)
    assert attacked.wrong == []
    if attack.names:
        assert attacked.statuses == {attack.status: len(attack.requests)}, attacked.answers[0].text
        assert all(attack.names in one.text for one in attacked.answers)
    billed, user = attacked.account.billed_micros, attacked.account.customer.id
    until(lambda: site.user(user)["spend_micros"] == billed, seconds=30, what=f"spend = bill = {billed}")


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.overspends], ids=str)
def test_without_the_guard_the_attack_overspends(unguarded: Site, attack: Attack) -> None:
    attacked = made(unguarded, attack)
    billed = sum(call["cost_micros"] for call in attacked.bill.calls)
    assert billed > attack.most_micros, attacked.answers[0].text
