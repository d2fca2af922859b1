"""A guard that lacks one fence gives way to the attack that the fence is for, on the real LiteLLM.

`tests/guard` tries many more mutants, on LiteLLM's objects in memory; here some of them show that the attacks
and the provider's bill find them out, too.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from dev.litellm import Proxy
from dev.stack import Stack
from tests.guard.test_mutants import MUTANTS
from tests.wallet.attacks import ATTACKS, faults
from tests.wallet.beside import beside
from tests.wallet.site import Site

LACKS = {
    "an unknown field goes through": ("a limit inside extra_body", "a service tier", "another deployment"),
    "the address goes through": ("another model in the address",),
    "headers go through": ("retries in headers",),
    "a missing ceiling is guessed": ("a model without a ceiling",),
    "hosted tools go through": ("a tool of the provider's",),
    "unproved models go through": ("a model that was not proved for its route",),
    "the wallet is not compared": ("ten times a picture", "pictures of a model whose tokens are free"),
    "the cap is not compared": ("speech above a key's cap",),
    "pictures are not counted": ("ten pictures in one call",),
    "recordings are free": ("six times six seconds of sound",),
    "prompts are not counted": ("five hundred prompts",),
    "steps are never reached": ("prompts above the step of a price",),
    "the guard is not loaded": ("two limits, the lower one first", "answers in the background"),
}
"""What each mutant lacks, and the attacks that get through it."""

TOGETHER = tuple(LACKS)[:7]
"""Fences that know nothing of each other, gone from one guard: a LiteLLM takes its time to start."""

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
ATTACK = {attack.what: attack for attack in ATTACKS}


def lacking(*names: str) -> Callable[[str], str]:
    """Makes a guard's text one that lacks these fences."""

    def changed(text: str) -> str:
        for mutant in (BY_NAME[name] for name in names):
            assert text.count(mutant.old) == 1, f"{mutant.old!r} is not once in the guard"
            text = text.replace(mutant.old, mutant.new)
        return text

    return changed


def gets_through(site: Site, name: str) -> None:
    attack = ATTACK[name]
    assert faults(attack, attack.on(site)) != []


@pytest.fixture(scope="module")
def lame(stack: Stack) -> Iterator[Site]:
    with beside(stack, Proxy(), lacking(*TOGETHER)) as site:
        yield site


@pytest.mark.parametrize("attack", [attack for name in TOGETHER for attack in LACKS[name]])
def test_without_fences_that_know_nothing_of_each_other_each_attack_gets_through(
    lame: Site, attack: str
) -> None:
    gets_through(lame, attack)


@pytest.mark.parametrize("name", tuple(LACKS) if os.environ.get("LONG") else ("the wallet is not compared",))
def test_without_one_fence_its_attacks_get_through(stack: Stack, name: str) -> None:
    with beside(stack, Proxy(), lacking(name)) as site:
        for attack in LACKS[name]:
            gets_through(site, attack)
