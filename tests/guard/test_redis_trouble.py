"""The guard's one step of Redis: what it counts, lost answers, no Redis, a cluster, a line that is gone."""

import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.guard.cases import FALLBACKS, HELLO, MODELS
from tests.guard.conftest import GUARD
from tests.guard.test_money import Person, let_through
from tests.guard.test_mutants import Mutant, lets_all_in, overspends
from tests.guard.valkey import Valkey, valkey
from tests.guard.worker import Worker, worker
from tests.support import eventually

ROUTER = {"fallbacks": FALLBACKS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as one:
        yield one


@pytest.fixture(scope="module")
def shared_worker(litellm_python: Path, server: Valkey) -> Iterator[Worker]:
    with worker(litellm_python, GUARD, MODELS, router=ROUTER, redis=server.setup) as one:
        yield one


@pytest.fixture
def shared(shared_worker: Worker) -> Worker:
    """A worker with a Redis and the product's guard."""
    shared_worker.ask("load", guard=str(GUARD))
    return shared_worker


@pytest.fixture(scope="module")
def clustered(litellm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with (
        valkey(tmp_path_factory.mktemp("cluster"), cluster=True) as server,
        worker(litellm_python, GUARD, MODELS, router=ROUTER, redis=server.cluster_setup) as one,
    ):
        yield one


@pytest.fixture
def person() -> Person:
    return Person()


def holds(desk: Worker, person: Person) -> float:
    return float(desk.ask("counter", counter=person.counter) or 0)


def test_a_call_asks_redis_once(shared: Worker, server: Valkey, person: Person) -> None:
    shared.end(*shared.admit(person.chat(1)))  # now its counters are there
    server.tell("CONFIG RESETSTAT")
    answers = shared.admit(person.chat(1))
    told = re.findall(r"cmdstat_(\w+):calls=(\d+)", server.tell("INFO commandstats"))
    asked = {name: int(calls) for name, calls in told if name in ("eval", "evalsha", "hset", "expire")}
    assert let_through(answers) == 1
    assert asked == {"eval": 1, "hset": 1, "expire": 2}  # the last two inside the script
    shared.end(*answers)


def test_what_was_spent_before_anything_was_counted_counts(shared: Worker, person: Person) -> None:
    shared.ask("spent_before", user_id=person.more["user_id"], dollars=8.0)
    (refusal,) = shared.admit(person.picture())
    assert (refusal["type"], math.isclose(holds(shared, person), 8)) == ("budget_exceeded", True)
    answers = shared.admit(person.chat(10))
    assert let_through(answers) == 1
    assert 8 < holds(shared, person) < 10
    shared.end(*answers)
    assert math.isclose(holds(shared, person), 8)


def test_a_cap_is_held_in_the_same_step_as_the_wallet_or_neither_is(shared: Worker) -> None:
    person = Person(cap=7.0)
    answers = shared.admit(*[person.picture() for _ in range(3)])
    assert let_through(answers) == 2
    (refusal,) = (answer for answer in answers if answer["status"] != 200)
    assert f"Key={person.more['token']} Current cost: 6.0" in refusal["message"]
    assert math.isclose(holds(shared, person), 6)
    shared.end(*answers)
    assert math.isclose(holds(shared, person), 0, abs_tol=1e-9)


def test_a_call_that_litellm_settles_after_its_request_leaves_no_place_behind(
    shared: Worker, server: Valkey, person: Person
) -> None:
    assert places_after_a_call(shared, server, person) == 0
    assert math.isclose(holds(shared, person), 2.5)


def test_places_that_outlive_their_calls_are_noticed(
    shared: Worker, server: Valkey, person: Person, tmp_path: Path
) -> None:
    looks = Mutant("", "for seconds in LOOKS_SECONDS:", "for seconds in ():", "")
    shared.ask("load", guard=str(looks.write(tmp_path)))
    assert places_after_a_call(shared, server, person) == 1


def places_after_a_call(desk: Worker, server: Valkey, person: Person) -> int:
    """Places that Redis has of a call that is settled; the round that renews leases comes much later."""
    desk.end(*desk.admit(person.picture(costs=2.5, settled_after=0.02)))
    found = re.search(r":(\d+)", server.tell(f"HLEN keyfund:calls:{person.more['user_id']}"))
    assert found is not None
    return int(found[1])


def held_by_lost_calls(desk: Worker) -> float:
    """What three calls hold that Redis let through, and whose answers never came."""
    person = Person()
    answers = desk.admit(*[person.picture() for _ in range(3)])
    assert {(answer["status"], answer["type"]) for answer in answers} == {(503, "guard_failed")}
    desk.ask("settled")
    return holds(desk, person)


LOST = ("return {{{TAKEN}, shown}}", "return redis.error_reply('the answer is lost')")


def test_a_call_whose_answer_is_lost_is_refused_and_holds_nothing(shared: Worker, tmp_path: Path) -> None:
    shared.ask("load", guard=str(Mutant("", *LOST, "").write(tmp_path)))
    assert math.isclose(held_by_lost_calls(shared), 0, abs_tol=1e-9)


def test_a_caller_who_hangs_up_before_redis_answers_leaves_nothing_held(
    shared: Worker, server: Valkey, person: Person
) -> None:
    shared.ask("load", guard=str(GUARD), constants={"LEASE_SECONDS": 2, "RENEW_SECONDS": 0.2})
    names = [f"{person.counter}-{number}" for number in range(3)]
    server.tell("CLIENT PAUSE 30000 WRITE")
    shared.ask("begin", calls=[{"id": name, **person.picture()} for name in names])
    assert eventually(lambda: server.tell("CLIENT LIST").count("cmd=eval ") >= 3, seconds=20)
    shared.ask("cut", ids=names)
    server.tell("CLIENT UNPAUSE")

    assert eventually(partial(all_is_free, shared, person), seconds=30)


def all_is_free(desk: Worker, person: Person) -> bool:
    """Whether a wallet for three calls lets three through: nothing else holds a part of it."""
    answers = desk.admit(*[person.picture() for _ in range(4)])
    desk.end(*answers)
    return let_through(answers) == 3


def test_without_redis_every_call_is_refused_and_nothing_is_held_afterwards(
    shared: Worker, server: Valkey, person: Person
) -> None:
    with server.locked():
        answers = shared.admit(
            person.chat(1), person.call("acompletion", {"model": "free", "messages": HELLO})
        )
        assert {(answer["status"], answer["type"]) for answer in answers} == {(503, "guard_failed")}
    # A connection that was thrown out may cost one call more.
    assert eventually(partial(all_is_free, shared, person), seconds=30)


def test_a_cluster_holds_wallet_cap_and_places_too(clustered: Worker) -> None:
    person = Person(cap=7.0)
    answers = clustered.admit(*[person.picture() for _ in range(3)])
    assert let_through(answers) == 2
    clustered.end(*answers)
    assert math.isclose(holds(clustered, person), 0, abs_tol=1e-9)
    assert not overspends(clustered)
    assert not lets_all_in(clustered)


def forgets_the_past(desk: Worker) -> bool:
    person = Person()
    desk.ask("spent_before", user_id=person.more["user_id"], dollars=8.0)
    answers = desk.admit(person.picture())
    desk.end(*answers)
    return let_through(answers) == 1


HABITS: list[tuple[str, str, str, Callable[[Worker], bool]]] = [
    ("the wallet is not compared", "> tonumber(ARGV[2 * i + 5]) then", "> 1e18 then", overspends),
    ("nothing is added", "ARGV[2 * i + 4])\n  redis", "'0')\n  redis", overspends),
    ("places are not counted", "    taken = taken + 1\n", "", lets_all_in),
    ("a new counter begins at nothing", "if not spent and ARGV[7] == 'no'", "if false", forgets_the_past),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "shows"), HABITS, ids=[habit[0] for habit in HABITS])
def test_a_line_that_is_gone_from_the_script_is_noticed(
    shared: Worker, tmp_path: Path, name: str, old: str, new: str, shows: Callable[[Worker], bool]
) -> None:
    assert not shows(shared)
    shared.ask("load", guard=str(Mutant(name, old, new, "").write(tmp_path)))
    assert shows(shared)


def test_a_lost_answer_that_is_not_undone_is_noticed(shared: Worker, tmp_path: Path) -> None:
    lost = Mutant("", *LOST, "").write(tmp_path)
    lost.write_text(lost.read_text().replace("await self._undo(call)", "pass"))
    shared.ask("load", guard=str(lost))
    assert math.isclose(held_by_lost_calls(shared), 9)
