"""What the guard makes of single calls."""

from itertools import count

import pytest

from tests.guard.cases import CASES, HELLO, Case
from tests.guard.worker import Json, Worker

PEOPLE = count(1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_is_held_or_refused(each_desk: Worker, case: Case) -> None:
    (answer,) = each_desk.admit(
        {**case.call, "user_id": f"somebody-{next(PEOPLE)}", "token": f"key-{next(PEOPLE)}"}
    )
    each_desk.end(answer)
    assert case.holds(answer), answer


@pytest.mark.parametrize(
    ("call_type", "body", "name", "value"),
    [
        ("acompletion", {"messages": HELLO}, "max_tokens", 4500),
        ("acompletion", {"messages": HELLO, "max_completion_tokens": 7}, "max_tokens", None),
        ("atext_completion", {"prompt": "a"}, "max_tokens", 4500),
        ("aresponses", {"input": "a"}, "max_output_tokens", 4500),
        # Without it LiteLLM charges nothing for a streamed completion.
        ("atext_completion", {"prompt": "a", "stream": True}, "stream_options", {"include_usage": True}),
        (
            "atext_completion",
            {"prompt": "a", "stream": True, "stream_options": {"include_usage": False}},
            "stream_options",
            {"include_usage": True},
        ),
    ],
)
def test_what_bounds_and_charges_a_call_is_sent_with_it(
    each_desk: Worker, call_type: str, body: Json, name: str, value: Json
) -> None:
    case = Case("", call_type, {"model": "large", **body})
    (answer,) = each_desk.admit({**case.call, "user_id": f"somebody-{next(PEOPLE)}"})
    each_desk.end(answer)
    assert answer["sent"][name] == value
