"""Each fence of the guard taken away, and the calls that then come out otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.guard.cases import CASES, HELLO, MARK, Case
from tests.guard.conftest import GUARD
from tests.guard.test_money import Person, let_through
from tests.guard.worker import Worker

PEOPLE = count(100_000)


@dataclass(frozen=True)
class Mutant:
    """One change of the guard's text; ``shows`` is a case whose outcome it must change."""

    name: str
    old: str
    new: str
    shows: str

    def write(self, folder: Path) -> Path:
        text = GUARD.read_text()
        assert text.count(self.old) == 1, f"{self.old!r} stands {text.count(self.old)} times in the guard"
        file = folder / "keyfund_guard.py"
        file.write_text(text.replace(self.old, self.new))
        return file


MUTANTS = [
    Mutant("an unknown field goes through", "            raise refuse_field(name)\n        if value is None", "            continue\n        if value is None", "an invented field"),
    Mutant("values are not checked", "if not check(value):", "if False:", "half a token"),
    Mutant("two limits go through", "if len(given) > 1:", "if False:", "two limits at once"),
    Mutant("a limit beyond the model goes through", "if asked.get(name, most) > most:", "if False:", "a limit beyond the model"),
    Mutant("metadata goes through", "and _is_callers(data.get(bucket))", "and False", "metadata with tags"),
    Mutant("hidden fields go through", "    check_hidden(data)\n    known", "    known", "a key for the provider"),
    Mutant("writing to a cache is free", "(?:input_cost_per_token|cache_creation_input_token_cost)", "input_cost_per_token", "a cache that the provider writes unasked is held"),
    Mutant("headers go through", "if lower.startswith(HEADERS) and lower not in headers:", "if False:", "retries in a header"),
    Mutant("the address goes through", "if name.lower() not in query:", "if False:", "another model in the address"),
    Mutant("several models go through", 'or "," in model', "", "several models"),
    Mutant("every kind of call is open", "if route is None or not (", "if route is None and not (", "pictures where they are not opened"),
    Mutant("pass-through is open", '    "acompletion": "chat",', '    "acompletion": "chat",\n    "pass_through_endpoint": "chat",', "pass-through"),
    Mutant("unproved models go through", 'if model not in proved and "*" not in proved:', "if False:", "a model that was not proved"),
    Mutant("hosted tools go through", 'all(tool.get("type") == "function" for tool in value)', "True", "a hosted tool"),
    Mutant("files by id go through", 'ELSEWHERE = ("file_id"', 'ELSEWHERE = ("no_file_id"', "somebody's file"),
    Mutant("unknown content goes through", "if kind is not None and kind not in PARTS and kind not in MEDIA:", "if False:", "a kind of content nobody knows"),
    Mutant("local addresses go through", 'if isinstance(address, str) and not address.startswith(("data:", "https://", "http://")):', "if False:", "a picture from the machine's own disk"),
    Mutant("depth is not bounded", "if depth > MOST_DEPTH:", "if False:", "content without an end"),
    Mutant("a missing ceiling is guessed", "if not deployment.most_output:", "if False:", "a model without a ceiling"),
    Mutant("a missing price is free", "if not deployment.has_price:", "if False:", "a model without a price"),
    Mutant("forgotten prices are believed", 'if route == "responses" and deployment.is_forgotten:', "if False:", "but not for responses, where LiteLLM forgets them"),
    Mutant("unknown units are free", "        elif not NOT_ASKED_FOR.fullmatch(unit):\n            raise", "        elif False:\n            raise", "a model charged by the second"),
    Mutant("modes are not looked at", "if deployment.mode not in MODES[route]:", "if False:", "a model for other calls"),
    Mutant("choices are not counted", 'max(asked.get("n", 1), asked.get("best_of", 1))', "1", "every choice is held"),
    Mutant("prompts are not counted", '* _entries(asked.get("prompt"))', "", "each of a list of prompts is held"),
    Mutant("pictures are not counted", 'return float(asked.get("n", 1))', "return 1.0", "pictures hold their price"),
    Mutant("characters count as bytes of one", "ensure_ascii=False, default=str).encode(errors=\"surrogatepass\"))", "ensure_ascii=False, default=str))", "characters of three bytes count as three"),
    Mutant("steps are never reached", "return thousands is None or tokens > int(thousands) * 1000", "return thousands is None", "a long prompt is held at the step that it can reach"),
    Mutant("pictures count as text", "tokens = max(tokens, deployment.most_input)", "pass", "a picture holds the whole context"),
    Mutant("fallbacks are free", "for deployment in (*served, *fallbacks)", "for deployment in served", "a fallback's price is held"),
    Mutant("the chosen tier is not seen", 'if not suffix or (tier and suffix == f"_{tier}"):', "if not suffix:", "one that the operator chose is"),
    Mutant("thinking is free", "(?:token|reasoning_token)", "token", "thinking is held at its price"),
    Mutant("recordings are free", "return float(max(size / bytes_a_second, 1.0))", "return 0.0", "a recording holds its seconds"),
    Mutant("rates are believed", "bytes_a_second != samples * block", "False", "a WAV that lies about its rate"),
    Mutant("documents are free", "return max(1, -(-chunks // 100))", "return 1", "more documents are more units"),
    Mutant("the wallet is not compared", "if now > budget.most + HAIR:", "if False:", "more than is left"),
    Mutant("the cap is not compared", "if key.max_budget is not None:", "if False:", "a cap below the wallet"),
    Mutant("no wallet is no bound", "if not key.user_id or key.user_max_budget is None:", "if not key.user_id:", "a wallet that is not there"),
    Mutant("everybody's keys are guarded", "or MARK not in (user_api_key_dict.metadata or {})", "", "somebody else's key is left alone"),
    Mutant("the guard is not loaded", "if litellm.keyfund_guard is not self or", "if True or", "batches"),
]  # fmt: skip

CASE = {case.name: case for case in CASES}


def outcome(desk: Worker, case: Case) -> bool:
    (answer,) = desk.admit({**case.call, "user_id": f"mutant-{next(PEOPLE)}", "token": f"key-{next(PEOPLE)}"})
    desk.end(answer)
    return case.holds(answer)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fence_that_is_gone_is_noticed(desk: Worker, mutant: Mutant, tmp_path: Path) -> None:
    desk.ask("load", guard=str(mutant.write(tmp_path)))
    assert not outcome(desk, CASE[mutant.shows])


def overspends(desk: Worker) -> bool:
    person = Person()
    answers = desk.admit(*[person.picture() for _ in range(9)])
    desk.end(*answers)
    return let_through(answers) > 3


def keeps_what_failed(desk: Worker) -> bool:
    person = Person()
    desk.end(*desk.admit(person.picture(), person.picture(), person.picture()))
    return let_through(desk.admit(person.picture())) == 0


def lets_all_in(desk: Worker) -> bool:
    person = Person(mark=MARK)
    answers = desk.admit(
        *[person.call("acompletion", {"model": "free", "messages": HELLO}) for _ in range(30)]
    )
    desk.end(*answers)
    return let_through(answers) > 20


def forgets(desk: Worker) -> bool:
    person = Person()
    desk.admit(person.picture(), person.picture(), person.picture())
    for _ in range(4):
        desk.ask("pass_time", seconds=400)
        desk.ask("renew")
    return let_through(desk.admit(person.picture())) > 0


HABITS: list[tuple[str, str, str, Callable[[Worker], bool]]] = [
    ("what is held is not added", "spent = await _add(held, missing)", "spent = [0.0 for _ in missing]", overspends),
    ("what failed is never given back", "            await _release(held)\n", "            pass\n", keeps_what_failed),
    ("calls in flight are not bounded", "if await self._count(call) > most:", "if False:", lets_all_in),
    ("counters are not kept", "keep(proxy_server.spend_counter_cache.in_memory_cache, counter)", "pass", forgets),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "shows"), HABITS, ids=[habit[0] for habit in HABITS])
def test_a_habit_that_is_gone_is_noticed(
    desk: Worker, tmp_path: Path, name: str, old: str, new: str, shows: Callable[[Worker], bool]
) -> None:
    assert not shows(desk)
    desk.ask("load", guard=str(Mutant(name, old, new, "").write(tmp_path)))
    assert shows(desk)
