"""Calls to every function of the exposed schema, most of them with a value or two out of place."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from tests.hostile.bare import Bare, Json
from tests.hostile.values import NUMBERS, OTHERS, TEXTS
from tests.support import User

SIGNATURES = """
    select proname as name, proargnames[1:pronargs] as names, pronargdefaults as defaults,
      array(select format_type(t, null) from unnest(proargtypes) t) as types, prorettype = 'trigger'::regtype as trigger
    from pg_proc where pronamespace = 'public'::regnamespace order by 1"""

# Edge values of each type, and some that are of another.
OF_TYPE: dict[str, list[Any]] = {
    "integer": [0, 1, -1, 2**31 - 1, -(2**31), 2**31, 7],
    "double precision": [0, 0.5, -1, 1e308, "NaN", "Infinity", "x"],
    "bigint": [0, 1, -1, 2**53, 2**63 - 1, -(2**63), 2**63, 500], "boolean": [True, False, "t", "maybe"],
    "text": [*TEXTS, "sk-" + "x" * 10_000, "litellm", "starter-ngn", "charge.success", "unknown", "refused"],
    "text[]": [[], [""], ["kf-1", None], "{}", "{a,b}", [["a"]], ["x"] * 2000],
    "uuid": ["00000000-0000-0000-0000-000000000000", "", "x", "{0}"],
    "bigint[]": [[], [None], [0], [2**63], ["x"], "{}", [1] * 2000], "uuid[]": [[], [None], ["x"], "{}", ["00000000-0000-0000-0000-000000000000"] * 500],
    "jsonb": [[], {}, "x", 1, [None], [1], [[]], [{"id": None}], [{"id": "x", "revision": "y"}], [{"outcome": "synced"}], [{"user_id": "x", "spend_micros": 1}], [{"spend_micros": 10**30}], {"a": "\0"}],
    "date": ["2026-11-26", "infinity", "-infinity", "0001-01-01", "5874897-12-31", "2026-02-30", "today", "", "x", 0],
    "timestamp with time zone": ["now", "infinity", "-infinity", "2026-01-01", "99999-01-01", "0001-01-01 BC", "yesterday", "", "x"],
}  # fmt: skip


@dataclass
class Scene:
    """An attacker and a victim with keys, an order and credits, on a database that nobody else touches."""

    bare: Bare
    attacker: User
    victim: User
    keys: dict[str, str]
    references: list[str]
    functions: list[Json]

    def ids(self) -> list[str]:
        return [self.attacker.id, self.victim.id, *self.keys.values()]


class Fuzzer:
    """Arguments for a function: mostly of the right names, with a value or two out of place."""

    def __init__(self, scene: Scene, random: Random) -> None:
        self.scene, self.random = scene, random

    def value(self, name: str, kind: str) -> Any:
        known: list[Any] = []
        if name == "key_id":
            known = list(self.scene.keys.values())
        elif kind == "uuid":
            known = self.scene.ids()
        elif "reference" in name:
            known = self.scene.references
        chance = self.random.random()
        if known and chance < 0.5:
            return self.random.choice(known)
        if chance < 0.85:
            return self.random.choice(OF_TYPE.get(kind, TEXTS))
        return self.random.choice([None, self.random.choice(NUMBERS[:-1]), *OTHERS])

    def arguments(self, function: Json) -> Json:
        names = function["names"] or []
        given = {n: self.value(n, kind) for n, kind in zip(names, function["types"], strict=True)}
        optional = names[len(names) - function["defaults"] :]
        given = {n: value for n, value in given.items() if n not in optional or self.random.random() < 0.3}
        chance = self.random.random()
        if given and chance < 0.1:
            del given[self.random.choice(sorted(given))]
        elif chance < 0.2:
            given[self.random.choice(["user_id", "p_user_id", "role", "", "credits", "x' or 1=1"])] = 1
        return given

    def body(self, function: Json) -> bytes:
        text = json.dumps(self.arguments(function)).encode()
        chance = self.random.random()
        if chance < 0.03:
            return self.random.choice([b"", b"null", b"[]", b"{", b"\xff", b"[" * 5000, text + text])
        return text if chance < 0.97 else b"[" + text + b"," + text + b"]"

    def headers(self) -> dict[str, str]:
        return self.random.choice([
            {}, {}, {}, {"prefer": "params=single-object"}, {"prefer": "count=exact"},
            {"prefer": "tx=rollback"}, {"range": "0-0"}, {"accept": "application/vnd.pgrst.object+json"},
            {"accept": "text/csv"}, {"accept": "application/vnd.pgrst.plan+json"},
            {"content-profile": "keyfund"}, {"accept-profile": "auth"}, {"x-client-info": "'; --"},
        ])  # fmt: skip


@dataclass(frozen=True)
class Call:
    function: str
    answer: httpx.Response


def call_all(scene: Scene, who: User | str, calls: int, seed: int) -> list[Call]:
    """Call every function so many times, several at once."""
    fuzzer = Fuzzer(scene, Random(seed))
    # What ends a key comes last, or the others would find none.
    functions = sorted(scene.functions, key=lambda function: bool(function["name"] == "revoke_virtual_key"))
    planned = [
        (function["name"], fuzzer.body(function), {"content-type": "application/json", **fuzzer.headers()})
        for function in functions
        for _ in range(calls)
    ]

    def call(plan: tuple[str, bytes, dict[str, str]]) -> Call:
        name, body, headers = plan
        answer = scene.bare.rest(who, "POST", f"/rpc/{name}", content=body, headers=headers)
        return Call(name, answer)

    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(call, planned))


def stumbles(calls: list[Call]) -> dict[str, Counter[str]]:
    """Server errors that are the function's own, by function: status and code."""
    found: dict[str, Counter[str]] = {}
    for call in calls:
        if call.answer.status_code >= 500:
            found.setdefault(call.function, Counter())[
                f"{call.answer.status_code} {call.answer.text[:120]}"
            ] += 1
    return found
