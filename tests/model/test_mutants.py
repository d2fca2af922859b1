"""The machine can fail: each of these products is wrong in one way, and is found out."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from core.domain.keys import ObservedKey, ObservedUser, WantedKey
from core.domain.pushes import KeyResult
from core.flows import push
from tests.model.machine import Machine
from tests.model.test_model import SETTINGS
from tests.model.world import Change
from tests.support import SqlServer

LONG = bool(os.environ.get("LONG"))
TRIES = settings(SETTINGS, max_examples=600 if LONG else 60, phases=[Phase.generate])

CREDIT = """v_entry := keyfund.append_entry(v_payment.user_id, v_payment.credits, 'purchase',"""

WRONG_SQL = {
    "a payment is entered twice, under two causes": Change(
        "credit_payment",
        CREDIT,
        CREDIT.replace("v_entry := ", "perform ").replace("'purchase',", "'purchase', 'again:' ||") + " "
        "'purchase:' || v_payment.reference); " + CREDIT,
    ),
    "what was spent before LiteLLM forgot it can be spent again": Change(
        "budget_micros", "- p_account.booked_micros + p_account.seen_micros", ""
    ),
    "an unknown outcome of the wallet is not waited out": Change(
        "finish_push", "v_settled := v_account.unsettled_until is null or v_account.unsettled_until <= now()",
        "v_settled := true",
    ),
    "spend is booked from nought each time": Change(
        "book_usage", "p_account.booked_micros + p_spend_micros - p_account.seen_micros",
        "p_account.booked_micros + p_spend_micros",
    ),
    "a refund withholds nothing": Change("withhold", "if v_change <> 0 then", "if false then"),
    "an address is granted credits each time it signs up": Change(
        "mailbox_of", "coalesce(nullif(split_part(v_local, '+', 1), ''), v_local)", "v_local",
    ),
    "a suspended account's keys stay alive": Change("is_suspended", "status <> 'active'", "false"),
    "the fee that a buyer bore counts as paid towards the price": Change(
        "credits_to_withhold", "- p_payment.borne_fee - lost", "- lost"
    ),
    "a refund that belongs to a dispute counts twice": Change(
        "lost_amount", "- p_payment.refunded_in_disputes", ""
    ),
    "a payment that is credited in part is credited whole": Change(
        "decide_review", "case when decide_review.in_part then keyfund.proportion(v_payment)",
        "case when decide_review.in_part then v_payment.credits",
    ),
    "a ban is not seen": Change("ban_of", "when p_banned_until > now()", "when false"),
    "a ban never ends": Change("ban_of", "when p_banned_until > now()", "when true"),
    "a softly deleted user lives on": Change("ensure_account", "or v_user.deleted_at is not null", ""),
    "each string of a rotated key may spend the whole cap": Change(
        "cap_cents",
        "greatest(0, keyfund.bound_cents(p_key) - keyfund.taken_cents(p_key))",
        "p_key.max_budget",
    ),
    "a fence that moves reaches no key": Change("fence_keys", "and k.state = 'active'", "and false"),
}  # fmt: skip


SOME = len(WRONG_SQL) if LONG else 4


@pytest.mark.timeout(3600 if LONG else 600)
@pytest.mark.parametrize("change", list(WRONG_SQL.values())[:SOME], ids=list(WRONG_SQL)[:SOME])
def test_a_database_that_is_wrong_is_found_out(sql_server: SqlServer, change: Change) -> None:
    is_found_out(sql_server, change)


async def _does_not_look_back(self: Any, _user: ObservedUser | None) -> int:
    budget: int = self._push.budget_micros
    return budget


async def _believes_every_200(self: Any, key: WantedKey) -> ObservedKey | None:
    if not key.confirmed and not key.blocked:
        await self._litellm.create_key(key)
    return None


_push_key = push._Attempt._push_key


async def _waits_for_no_count(self: Any, key: WantedKey) -> KeyResult | None:
    return await _push_key(self, replace(key, previous_hash=None))


WRONG_PYTHON: dict[str, tuple[str, Callable[..., Any]]] = {
    "a lower spend is not looked at": ("_decide_budget", _does_not_look_back),
    "a key is not read back": ("_converge", _believes_every_200),
    "a new string does not wait for what the former one spent": ("_push_key", _waits_for_no_count),
}


SOME_PYTHON = len(WRONG_PYTHON) if LONG else 2


@pytest.mark.timeout(3600 if LONG else 600)
@pytest.mark.parametrize(
    ("method", "wrong"), list(WRONG_PYTHON.values())[:SOME_PYTHON], ids=list(WRONG_PYTHON)[:SOME_PYTHON]
)
def test_a_pusher_that_is_wrong_is_found_out(
    sql_server: SqlServer, method: str, wrong: Callable[..., Any]
) -> None:
    with mock.patch.object(push._Attempt, method, wrong):
        is_found_out(sql_server)


def is_found_out(sql_server: SqlServer, *wrong: Change) -> None:
    class Mutant(Machine):
        server = sql_server
        changes = wrong

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Mutant, settings=TRIES)
