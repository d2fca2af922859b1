"""What calls of one account hold together, and how it is given back."""

import math
from itertools import count

import pytest

from tests.guard.cases import HELLO, MARK, wav
from tests.guard.worker import Json, Worker

PEOPLE = count(1000)


class Person:
    """Somebody with a wallet of ten dollars, and calls of theirs."""

    def __init__(self, **more: Json) -> None:
        self.more = {
            "user_id": f"person-{next(PEOPLE)}",
            "token": f"key-{next(PEOPLE)}",
            "mark": MARK,
            **more,
        }

    @property
    def counter(self) -> str:
        return f"spend:user:{self.more['user_id']}"

    def picture(self, **more: Json) -> Json:
        """Three dollars."""
        return self.call("aimage_generation", {"model": "image", "prompt": "a"}, **more)

    def chat(self, tokens: int, **more: Json) -> Json:
        """A fifth of a cent for each token, and a few cents."""
        return self.call("acompletion", {"model": "large", "messages": HELLO, "max_tokens": tokens}, **more)

    def call(self, call_type: str, body: Json, **more: Json) -> Json:
        return {**self.more, "call_type": call_type, "body": body, **more}


@pytest.fixture
def person() -> Person:
    return Person()


def let_through(answers: list[Json]) -> int:
    return sum(answer["status"] == 200 for answer in answers)


def test_calls_at_once_never_hold_more_than_the_wallet(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(*[person.picture() for _ in range(10)])
    assert let_through(answers) == 3
    assert {answer["type"] for answer in answers if answer["status"] != 200} == {"budget_exceeded"}
    each_desk.end(*answers)


def test_calls_on_different_routes_share_the_wallet(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(
        person.picture(),
        person.chat(1000),
        person.call("transcription", {"model": "ear"}, file=wav(3)),
        person.call("arerank", {"model": "ranks", "query": "a", "documents": ["b"]}),
    )
    assert let_through(answers) == 3
    each_desk.end(*answers)


def test_calls_with_different_keys_share_the_wallet(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(*[person.picture(token=f"{person.counter}-{number}") for number in range(10)])
    assert let_through(answers) == 3
    each_desk.end(*answers)


def test_one_account_takes_nothing_from_another(each_desk: Worker) -> None:
    answers = each_desk.admit(*[Person().picture() for _ in range(10)])
    assert let_through(answers) == 10
    each_desk.end(*answers)


def test_what_a_call_held_is_given_back_when_it_fails(each_desk: Worker, person: Person) -> None:
    for _ in range(3):
        answers = each_desk.admit(*[person.picture() for _ in range(3)])
        assert let_through(answers) == 3
        each_desk.end(*answers)
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 0, abs_tol=1e-9)


def test_what_a_call_held_is_given_back_when_its_caller_hangs_up(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(*[person.picture() for _ in range(3)])
    each_desk.end(*answers, how="cut")
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 0, abs_tol=1e-9)
    assert each_desk.ask("in_flight") == 0


def test_a_call_that_is_charged_leaves_its_cost_in_the_counter(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(person.picture(costs=2.5), person.picture(costs=2.5))
    each_desk.end(*answers)
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 5.0)


def test_a_refused_call_holds_nothing(each_desk: Worker, person: Person) -> None:
    answers = each_desk.admit(person.call("aimage_generation", {"model": "image", "prompt": "a", "n": 4}))
    assert let_through(answers) == 0
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 0, abs_tol=1e-9)


def test_what_litellm_held_already_is_not_held_twice(each_desk: Worker, person: Person) -> None:
    entry = {"counter_key": person.counter, "entity_type": "User", "entity_id": person.more["user_id"]}
    held = {
        "reserved_cost": 2.0,
        "finalized": False,
        "callback_bound": False,
        "input_cost": 0.0,
        "input_tokens": 1,
    }
    each_desk.ask("spend", counter=person.counter, dollars=2.0)
    answers = each_desk.admit(
        person.picture(
            reserved={**held, "entries": [{**entry, "reserved_cost": 2.0, "applied_adjustment": 0.0}]}
        )
    )
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 3.0)
    each_desk.end(*answers)
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 0, abs_tol=1e-9)


def test_a_cap_binds_where_the_wallet_does_not(each_desk: Worker) -> None:
    person = Person(cap=7.0)
    answers = each_desk.admit(*[person.picture() for _ in range(3)])
    assert let_through(answers) == 2
    (refusal,) = (answer for answer in answers if answer["status"] != 200)
    assert f"Key={person.more['token']}" in refusal["message"]
    each_desk.end(*answers)
    assert math.isclose(each_desk.ask("counter", counter=person.counter), 0, abs_tol=1e-9)


def test_a_refusal_names_the_user_whose_wallet_is_used_up(each_desk: Worker, person: Person) -> None:
    (answer,) = each_desk.admit(person.call("aimage_generation", {"model": "image", "prompt": "a", "n": 4}))
    assert f"User={person.more['user_id']}" in answer["message"]


def test_calls_in_flight_are_bounded_per_account(each_desk: Worker, person: Person) -> None:
    tokens = [person.chat(1, token=f"{person.counter}-{number % 5}") for number in range(30)]
    answers = each_desk.admit(*tokens)
    assert let_through(answers) == 20
    assert {answer["type"] for answer in answers if answer["status"] != 200} == {"too_many_in_flight"}
    each_desk.end(*answers)
    again = each_desk.admit(person.chat(1))
    assert let_through(again) == 1
    each_desk.end(*again)


def test_a_free_call_takes_a_place_too(each_desk: Worker) -> None:
    person = Person(mark={"keyfund": "here", "keyfund_guard": {"in_flight": 2}})
    free = person.call("acompletion", {"model": "free", "messages": HELLO})
    answers = each_desk.admit(free, free, free)
    assert let_through(answers) == 2
    each_desk.end(*answers)


def test_what_is_held_outlives_the_ten_minutes_after_which_litellm_forgets(
    each_desk: Worker, person: Person
) -> None:
    answers = each_desk.admit(person.picture(), person.picture(), person.picture())
    for _ in range(4):
        each_desk.ask("pass_time", seconds=400)
        each_desk.ask("renew")
    assert let_through(each_desk.admit(person.picture())) == 0
    each_desk.end(*answers)


def test_litellm_forgets_what_is_held_after_ten_minutes_without_the_guard(
    each_desk: Worker, person: Person
) -> None:
    """The control of the test before: without renewing, the clock that it moves makes LiteLLM forget."""
    answers = each_desk.admit(person.picture(), person.picture(), person.picture())
    each_desk.ask("pass_time", seconds=700)
    assert each_desk.ask("counter", counter=person.counter) is None
    each_desk.end(*answers)


def test_loaded_twice_it_acts_once(each_desk: Worker, person: Person) -> None:
    assert each_desk.ask("second", call=person.picture()) == {"status": 200, "held": None}


def test_what_fails_inside_refuses_the_call(each_desk: Worker, person: Person) -> None:
    (answer,) = each_desk.admit(
        person.chat(1, mark={"keyfund": "here", "keyfund_guard": {"in_flight": "many"}})
    )
    assert (answer["status"], answer["type"]) == (503, "guard_failed")
    assert "many" not in answer["message"]
