"""Two LiteLLM workers that share a Redis: what one holds the other sees, also after its death."""

import math
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dev import redis
from dev.child import Child
from dev.reaper import Reaper
from dev.stack import free_port
from tests.guard.cases import FALLBACKS, HELLO, MODELS
from tests.guard.conftest import GUARD
from tests.guard.test_money import Person, let_through
from tests.guard.worker import Json, Worker, worker
from tests.support import eventually

QUICK = {"LEASE_SECONDS": 2, "RENEW_SECONDS": 0.2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Json]:
    home, port, password = tmp_path_factory.mktemp("redis"), free_port(), secrets.token_hex(16)
    reaper = Reaper(f"redis-{port}")
    child = Child(redis.part(home, port=port, password=password), home / "redis.log", reaper.marks)
    try:
        reaper.add(child.spawn())
        child.wait_ready()
        yield {"host": "127.0.0.1", "port": port, "password": password}
    finally:
        child.stop()
        reaper.close()


@pytest.fixture(scope="module")
def workers(litellm_python: Path, server: Json) -> Iterator[tuple[Worker, Worker, Worker]]:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                worker(litellm_python, GUARD, MODELS, router={"fallbacks": FALLBACKS}, redis=server)
            )
            for _ in range(3)
        ]
        yield started[0], started[1], started[2]


@pytest.fixture
def two(workers: tuple[Worker, Worker, Worker]) -> tuple[Worker, Worker]:
    return workers[0], workers[1]


@pytest.fixture
def person() -> Person:
    return Person(user_id=secrets.token_hex(8), token=secrets.token_hex(8))


def test_two_workers_share_the_wallet(two: tuple[Worker, Worker], person: Person) -> None:
    first, second = two
    here = first.admit(person.picture(), person.picture())
    there = second.admit(person.picture(), person.picture())
    assert (let_through(here), let_through(there)) == (2, 1)
    first.end(*here)
    second.end(*there)
    assert math.isclose(second.ask("counter", counter=person.counter), 0, abs_tol=1e-9)


def test_two_workers_count_calls_in_flight_together(two: tuple[Worker, Worker], person: Person) -> None:
    first, second = two
    free = person.call("acompletion", {"model": "free", "messages": HELLO})
    here, there = first.admit(*[free] * 15), second.admit(*[free] * 15)
    assert let_through(here) + let_through(there) == 20
    first.end(*here)
    again = second.admit(free)
    assert let_through(again) == 1
    second.end(*there, *again)


def test_what_a_dead_worker_held_is_given_back_when_its_lease_ends(
    workers: tuple[Worker, Worker, Worker], person: Person
) -> None:
    survivor, _, victim = workers
    for one in (survivor, victim):
        one.ask("load", guard=str(GUARD), constants=QUICK)
    assert let_through(victim.admit(*[person.picture() for _ in range(3)])) == 3
    victim.ask("settled")
    victim.kill()
    assert let_through(survivor.admit(person.picture())) == 0

    def all_is_back() -> bool:
        answers = survivor.admit(*[person.picture() for _ in range(4)])
        survivor.end(*answers)
        return let_through(answers) == 3

    assert eventually(all_is_back, seconds=30)


def test_a_living_worker_keeps_what_it_holds_beyond_a_lease(
    workers: tuple[Worker, Worker, Worker], person: Person
) -> None:
    first, second, _ = workers
    for one in (first, second):
        one.ask("load", guard=str(GUARD), constants=QUICK)
    held = first.admit(*[person.picture() for _ in range(3)])
    began = first.ask("now")
    while first.ask("now") - began < 3 * QUICK["LEASE_SECONDS"]:
        assert let_through(second.admit(person.picture())) == 0
    first.end(*held)
