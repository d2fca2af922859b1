"""What the worker tells of its upkeep of the database."""

from typing import Any, cast

import pytest
import structlog

from core.store import ServiceStore
from worker.jobs.upkeep import ForgetKeys, HealAccounts

NOTHING = {"opened": 0, "changed": 0, "unbanned": 0, "closed": 0, "strays": 0}


class Shelf:
    """A database that answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def heal_accounts(self, limit: int) -> dict[str, int]:
        return dict(self.answer)

    async def forget_keys(self, limit: int) -> int:
        return int(self.answer)


@pytest.mark.parametrize(
    ("healed", "told"),
    [
        ({}, []),
        ({"unbanned": 2}, [("info", "accounts.unbanned")]),
        ({"changed": 1}, [("warning", "accounts.healed")]),
        ({"closed": 1, "unbanned": 1}, [("info", "accounts.unbanned"), ("warning", "accounts.healed")]),
    ],
)
async def test_a_ban_that_ends_is_no_warning_and_what_a_trigger_missed_is(
    healed: dict[str, int], told: list[tuple[str, str]]
) -> None:
    with structlog.testing.capture_logs() as logs:
        await HealAccounts(cast(ServiceStore, Shelf(NOTHING | healed)), at_once=5).run_once()
    assert [(one["log_level"], one["event"]) for one in logs] == told


@pytest.mark.parametrize("forgotten", [0, 3])
async def test_forgetting_goes_on_until_nothing_is_left(forgotten: int) -> None:
    assert await ForgetKeys(cast(ServiceStore, Shelf(forgotten)), at_once=5).run_once() == forgotten
