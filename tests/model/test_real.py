"""A short run of the same machine on the stack's real LiteLLM: what the stand-in showed holds there, too."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from dev.stack import Stack
from tests.model.machine import Machine
from tests.model.sight import RealSight, Sight
from tests.model.test_model import SETTINGS
from tests.support import SqlServer

FEW = settings(SETTINGS, max_examples=3, stateful_step_count=20)


@pytest.mark.timeout(600)
def test_nothing_that_may_never_happen_happens_on_the_real_litellm(
    sql_server: SqlServer, stack: Stack
) -> None:
    sights: list[RealSight] = []

    class Real(Machine):
        server = sql_server

        def sight(self) -> Sight:
            sights.append(RealSight(stack.env["LITELLM_BASE_URL"], stack.env["LITELLM_MASTER_KEY"]))
            return sights[-1]

    try:
        run_state_machine_as_test(Real, settings=FEW)
    finally:
        for sight in sights:
            sight.close()
