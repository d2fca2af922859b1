"""Each known attack is refused or paid for with the guard, and works without it.

Without the guard it is the control: it shows that the attack is one, and that the bill sees it.
"""

import pytest

from tests.integration.world import until
from tests.wallet.attacks import ATTACKS, Attack, faults
from tests.wallet.audit import Attacked
from tests.wallet.conftest import Say
from tests.wallet.site import Site


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_with_the_guard_an_attack_is_refused_or_paid_for(site: Site, attack: Attack, say: Say) -> None:
    attacked = attack.on(site)
    say(told(attack, attacked, "with the guard"))
    assert faults(attack, attacked) == []
    billed, user = attacked.account.billed_micros, attacked.account.customer.id
    until(lambda: site.user(user)["spend_micros"] == billed, seconds=30, what=f"spend = bill = {billed}")


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.overspends], ids=str)
def test_without_the_guard_the_attack_overspends(unguarded: Site, attack: Attack, say: Say) -> None:
    attacked = attack.on(unguarded)
    say(told(attack, attacked, "without it"))
    billed = sum(call["cost_micros"] for call in attacked.bill.calls)
    assert billed > attack.most_micros, attacked.answers[0].text


def told(attack: Attack, attacked: Attacked, how: str) -> str:
    dollars = sum(call["cost_micros"] for call in attacked.bill.calls) / 1_000_000
    most = attack.most_micros / 1_000_000
    return f"{attack}, {how}: statuses {attacked.statuses}, billed ${dollars:.2f} of ${most:.2f}"
