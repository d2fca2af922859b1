"""A guard that lacks one fence gives way to the attack that the fence is for, on the real LiteLLM.

The guard's own mutants are tried by the hundred in `tests/guard`; here a few of them show that the attacks and
the provider's bill find them out, too.
"""

import os
from collections.abc import Iterator

import pytest

from dev.litellm import Proxy
from dev.stack import Stack
from tests.guard.test_mutants import MUTANTS, Mutant
from tests.wallet.attacks import ATTACKS, faults
from tests.wallet.beside import beside
from tests.wallet.site import Site

LACKS = {
    "an unknown field goes through": ("a limit inside extra_body", "a service tier", "another deployment"),
    "the address goes through": ("another model in the address",),
    "headers go through": ("retries in headers",),
    "several models go through": ("thirty models in one name",),
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


def without(*mutants: Mutant) -> Proxy:
    raise NotImplementedError
