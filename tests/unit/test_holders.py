"""What was shown comes back as it was."""

from core.domain.keys import ObservedUser
from core.domain.pushes import Spender
from core.flows.holders import Holders

RICH = ObservedUser(10**30, None, 5, "proxy_admin", 7, None)


def test_whoever_was_shown_last_is_found() -> None:
    with Holders() as holders:
        holders.put([Spender("a", ObservedUser(1, "30d", 0, None)), Spender("b", None)])
        holders.put([Spender("a", RICH)])
        assert holders.get("a") == RICH
        assert holders.get("b") is None
