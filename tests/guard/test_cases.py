"""What the guard makes of single calls."""

from itertools import count

import pytest

from tests.guard.cases import CASES, Case
from tests.guard.worker import Worker

PEOPLE = count(1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_is_held_or_refused(each_desk: Worker, case: Case) -> None:
    (answer,) = each_desk.admit(
        {**case.call, "user_id": f"somebody-{next(PEOPLE)}", "token": f"key-{next(PEOPLE)}"}
    )
    each_desk.end(answer)
    assert case.holds(answer), answer
