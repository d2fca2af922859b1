"""Killed between any two steps, every payment and every push comes right in the end."""

import os
from collections.abc import Sequence
from contextlib import closing

import pytest

from tests.faults.crash import Case, Point, Scenario, Step, kill_at_all, points_of, quiet, record, trap
from tests.faults.never import assert_never_lines
from tests.faults.processes import Actor
from tests.faults.proxy import Drop, Fault, LoseAnswer, say_html
from tests.faults.scenarios import (
    Checkout,
    LeftEvent,
    ListSweep,
    NewKey,
    Payment,
    Push,
    Refund,
    Sweep,
    Usage,
    Vanished,
    settle_all,
)
from tests.faults.scene import Scene

LONG = bool(os.environ.get("LONG"))
EVERY: list[Scenario] = [Payment(), Push(), Checkout()]
SAMPLED: list[tuple[Scenario, int]] = [(LeftEvent(), 4), (Refund(), 4), (Usage(), 2), (Vanished(), 5)]
AT_LENGTH: list[tuple[Scenario, int]] = [(Sweep(), 1), (ListSweep(), 1), (NewKey(), 1)] if LONG else []


@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
def test_a_kill_at_every_point_loses_and_doubles_nothing(scene: Scene, scenario: Scenario) -> None:
    kill_and_settle(scene, scenario, points_of(record(scene, scenario), every=LONG))


@pytest.mark.parametrize(
    ("scenario", "share"), SAMPLED + AT_LENGTH, ids=lambda value: getattr(value, "name", "")
)
def test_a_kill_at_sampled_points_loses_and_doubles_nothing(
    scene: Scene, scenario: Scenario, share: int
) -> None:
    points = points_of(record(scene, scenario), every=LONG)
    kill_and_settle(scene, scenario, points if LONG else points[::share])


@pytest.mark.skipif(not LONG, reason="much like the kills just after a step; LONG=1 for these, too")
@pytest.mark.parametrize("fault", [LoseAnswer(), say_html(502, after=True), Drop()], ids=repr)
def test_one_answer_lost_at_any_step_of_a_payment_loses_and_doubles_nothing(
    scene: Scene, fault: Fault
) -> None:
    steps = record(scene, Payment())
    with closing(scene.actor("webhook").start()) as webhook:
        cases = [befall(scene, webhook, step, fault) for step in steps]
    settle_all(scene, cases)
    users = [case.user for case in cases]
    assert_never_lines(scene, users)
    assert scene.parked(users) == 0


def befall(scene: Scene, webhook: Actor, step: Step, fault: Fault) -> Case:
    """A payment of which one step goes wrong, in a process that lives on."""
    payment = Payment()
    case = payment.prepare(scene)
    webhook.behave()
    trap(webhook, step, fault)
    payment.release(scene, case)
    payment.act(scene, webhook, case)
    assert case.answered in (200, 503)
    quiet(webhook, seconds=0.3)
    payment.repeat(scene, case)
    scene.hold([case.user])
    return case


def kill_and_settle(scene: Scene, scenario: Scenario, points: Sequence[Point]) -> None:
    """Kill at each point, then let a worker finish everything, and look at every account."""
    endings = []
    for ending in kill_at_all(scene, scenario, points):
        print(f"{scenario.name}: killed {ending.point}" + ("" if ending.reached else " (NOT REACHED)"))  # noqa: T201
        endings.append(ending)
    users = [ending.case.user for ending in endings]
    settle_all(scene, [ending.case for ending in endings])
    scene.hold(users)  # their unpaid orders are asked about for a year: not while others are recorded
    wrong = [f"{ending.point}: {line}" for ending in endings for line in ending.case.expects()]
    wrong += [f"{ending.point}: never reached" for ending in endings if not ending.reached]
    assert wrong == []
    assert_never_lines(scene, users)
    assert scene.parked(users) == 0
