"""The product's own code on the real database, through thousands of steps of everything that can go wrong."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.support import SqlServer

STEPS = 50
EXAMPLES = 200 if os.environ.get("LONG") else 20

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    derandomize=True,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@pytest.mark.timeout(1800)
def test_nothing_that_may_never_happen_ever_happens(sql_server: SqlServer) -> None:
    class Here(Machine):
        server = sql_server

    run_state_machine_as_test(Here, settings=SETTINGS)
