"""Each way an upstream can fail, during a payment and a push: clear answers, nothing lost, nothing parked."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from dev import supabase
from dev.child import Child
from dev.stack import ROOT, free_port
from tests.faults.crash import Case
from tests.faults.never import assert_never_lines, key_rows
from tests.faults.processes import Actor
from tests.faults.proxy import (
    CutHalfway,
    Drop,
    Fault,
    Hang,
    Late,
    LoseAnswer,
    Say,
    Seen,
    Slow,
    TcpProxy,
    say_html,
    say_json,
)
from tests.faults.scenarios import TOPPED_UP, expect_credits, paid_order, rpc
from tests.faults.scene import Scene
from tests.integration.world import Json, until
from tests.support import User

RETRY_AFTER = (("retry-after", "1"),)
FAULTS: dict[str, Callable[[], Fault]] = {
    "hang": Hang,
    "slow": lambda: Slow(0.3),
    "dropped": Drop,
    "cut half-way": CutHalfway,
    "answer lost": LoseAnswer,
    "500": lambda: say_json(500, {"message": "oops"}),
    "502": lambda: say_html(502),
    "502 after the effect": lambda: say_html(502, after=True),
    "503": lambda: Say(503),
    "429": lambda: say_json(429, {"message": "slow down"}),
    "429 page with Retry-After": lambda: Say(429, b"<html>slow down</html>", RETRY_AFTER),
    "200 page": lambda: say_html(200),
    "200 page after the effect": lambda: say_html(200, after=True),
    "200 with another document": lambda: say_json(200, {"status": "maintenance"}),
    "200 without a body": lambda: Say(200),
    "401": lambda: say_json(401, {"message": "who are you"}),
    "403 page": lambda: say_html(403),
    "404 page": lambda: say_html(404),
}
PROBE = "/health/readiness"
UPSTREAMS = ("supabase", "litellm", "paystack")
SAMPLED = {
    "supabase": ("cut half-way", "429 page with Retry-After", "200 page after the effect"),
    "litellm": (
        "hang",
        "dropped",
        "cut half-way",
        "answer lost",
        "502 after the effect",
        "429 page with Retry-After",
        "200 page after the effect",
        "200 with another document",
        "401",
        "404 page",
    ),
    "paystack": ("hang", "cut half-way", "404 page", "200 with another document"),
}
LONG = bool(os.environ.get("LONG"))


def outages() -> list[tuple[str, str]]:
    """A sample; LONG=1: every fault on every upstream."""
    return [(upstream, fault) for upstream in UPSTREAMS for fault in (FAULTS if LONG else SAMPLED[upstream])]


@dataclass(frozen=True)
class Pair:
    """The webhook and the worker under test."""

    webhook: Actor
    worker: Actor

    def befall(self, upstream: str, fault: Callable[[], Fault]) -> None:
        for actor in (self.webhook, self.worker):
            actor.forget()
            actor.proxies[upstream].on("*", fault())

    def behave(self) -> None:
        self.webhook.behave()
        self.worker.behave()


@pytest.fixture(scope="module")
def pair(scene: Scene) -> Iterator[Pair]:
    """They go with this module: a worker that stays would look for what others are to find."""
    with closing(scene.actor("webhook").start()) as webhook, closing(scene.actor("worker").start()) as worker:
        yield Pair(webhook, worker)


@pytest.fixture(autouse=True)
def well_behaved(scene: Scene, pair: Pair) -> Iterator[None]:
    """Each test begins with a breaker that is closed and ends with proxies that behave."""
    until(lambda: breaker(scene) == (0, False), seconds=20, what="the breaker is closed")
    yield
    pair.behave()
    scene.db.execute("update keyfund.gateways set probe_at = now() where opened_at is not null")


def breaker(scene: Scene) -> tuple[int, bool]:
    row = scene.db.execute(
        "select failures, opened_at is not null from keyfund.gateways where name = 'litellm'"
    ).fetchone()
    assert row is not None
    if row[0] and not row[1]:
        scene.db.execute(
            "update keyfund.gateways set last_ok_at = null, probe_at = null where name = 'litellm'"
        )
    return (row[0], row[1])


# --- an outage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("upstream", "fault"), outages())
def test_an_outage_delays_a_payment_and_a_push_and_costs_nothing(
    scene: Scene, pair: Pair, upstream: str, fault: str
) -> None:
    payer, pusher = spent_order(scene), changed_account(scene)
    users = [payer.user, pusher]
    pair.befall(upstream, FAULTS[fault])
    scene.hurry(users, sweep=False)
    status = scene.deliver_to(pair.webhook, payer.event)
    assert status in (200, 503), "a clear answer, whatever is wrong behind it"
    until(lambda: suffered(scene, pair, upstream), seconds=20, what="both have met the fault")
    assert scene.parked(users) == 0
    pair.behave()
    scene.close_breaker()
    if status != 200:
        assert scene.deliver_to(pair.webhook, payer.event) == 200
    scene.until_settled(users, seconds=60)
    assert payer.expects() == []
    assert_never_lines(scene, users)


def spent_order(scene: Scene) -> Case:
    """Someone who has paid for more, and of whose wallet LiteLLM shows a part as spent and booked."""
    case = paid_order(scene)
    scene.spend_and_book(case.user, 5_000_000)
    return replace(case, expects=lambda: expect_credits(scene, case.user, TOPPED_UP - 250))


def changed_account(scene: Scene) -> User:
    """Someone with a key whose limits changed, and a new one; nothing of it is pushed."""
    user, key = scene.customer()
    scene.hold([user])
    rpc(scene, user, "update_virtual_key", key_id=key["id"], rpm_limit=7)
    scene.create_key(user)
    scene.adjust(user, 50, f"adjustment:{user.id}")
    return user


def suffered(scene: Scene, pair: Pair, upstream: str) -> bool:
    """Whether each has met the fault where it may: past an open breaker only the prober asks LiteLLM."""
    opened = "select count(*) from keyfund.gateways where opened_at is not null"
    if upstream == "litellm" and scene.number(opened):
        return True
    actors = [pair.webhook] if upstream == "paystack" else [pair.webhook, pair.worker]
    return all(
        any(one.done and one.fault != "Pass" for one in actor.proxies[upstream].seen) for actor in actors
    )


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["POST /user/update", "POST /key/generate"])
def test_five_refusals_park_and_a_resync_goes_on(scene: Scene, pair: Pair, route: str) -> None:
    user = scene.sign_up()
    key = scene.create_key(user, max_budget=100)
    refusal = pair.worker.litellm.on(
        route, say_json(400, {"error": {"message": "no", "type": "bad_request"}})
    )

    def tried(times: int) -> bool:
        scene.hurry([user], sweep=False)
        return refusal.hits >= times

    until(lambda: tried(5), seconds=40, what="it is tried five times")
    until(lambda: scene.parked([user]) > 0, seconds=10, what="it is parked")
    row = scene.keys(user)[0]
    assert (row["sync_status"], row["next_attempt_at"]) == ("failed", None)
    assert "litellm_refused" in row["last_error"]
    time.sleep(2.5)  # two ticks of the worker: a parked one must stay where it is
    assert refusal.hits == 5
    pair.worker.behave()
    rpc(scene, user, "resync_virtual_key", key_id=key["id"])
    scene.until_settled([user], seconds=20)
    assert_never_lines(scene, [user])


# --- too late -----------------------------------------------------------------------------------------------


def test_requests_that_land_late_are_found_half_a_minute_later(scene: Scene, pair: Pair) -> None:
    """A create that lands after the key was revoked; a higher wallet that lands after a lower one."""
    create, raise_ = Late(), Late()
    revoker, refunded = scene.sign_up(), scene.customer()[0]
    pair.worker.litellm.on("POST /key/generate", create, times=1)
    pair.worker.litellm.on("POST /user/update", raise_, times=1, where=lambda one: one.mentions(refunded.id))
    key = scene.create_key(revoker)
    scene.adjust(refunded, 100, f"adjustment:{refunded.id}:1")
    until(lambda: unsettled(scene, [revoker, refunded]) == 2, seconds=20, what="both outcomes are unknown")
    rpc(scene, revoker, "revoke_virtual_key", key_id=key["id"])
    scene.adjust(refunded, -300, f"adjustment:{refunded.id}:2")
    until(lambda: key_is_blocked(scene, revoker), seconds=20, what="the revoked key is blocked")
    until(lambda: scene.wallet(refunded)["max_budget"] == 6.0, seconds=20, what="the wallet is lowered")
    for late in (create, raise_):
        late.release.set()
        assert late.delivered.wait(10)
    assert scene.wallet(refunded)["max_budget"] == 12.0, "the late one has won for the moment"
    assert not scene.is_settled([revoker]), "an unknown outcome is not synced before 30 s"
    if LONG:
        until(
            lambda: scene.is_settled([revoker, refunded]), seconds=60, what="it is right half a minute later"
        )
    else:
        assert 20 < scene.number(WAIT, refunded.id) <= 30, "it is looked at again after half a minute"
        scene.until_settled([revoker, refunded], seconds=30)
    assert_never_lines(scene, [revoker, refunded])


WAIT = "select extract(epoch from unsettled_until - now()) from keyfund.pushes where account_id = %s"


def unsettled(scene: Scene, users: list[User]) -> int:
    return scene.number(
        "select count(*) from keyfund.pushes a where account_id = any(%s) and (unsettled_until > now()"
        " or exists (select from public.virtual_keys k"
        " where k.account_id = a.account_id and k.unsettled_until > now()))",
        [user.id for user in users],
    )


def key_is_blocked(scene: Scene, user: User) -> bool:
    row = key_rows(scene, user)[0]
    answer = scene.litellm("GET", "/key/info", params={"key": row["key_hash"]})
    return answer.status_code == 200 and bool(answer.json()["info"]["blocked"])


# --- 429 and the breaker ------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["POST /user/update", "POST /key/generate"])
def test_retry_after_is_respected(scene: Scene, pair: Pair, route: str) -> None:
    user = scene.sign_up()
    busy = pair.worker.litellm.on(route, say_json(429, {}, (("retry-after", "4"),)))
    scene.create_key(user)
    until(lambda: busy.hits == 1, seconds=20, what="LiteLLM has asked for patience")
    asked_at = time.monotonic()
    until(lambda: busy.hits > 1, seconds=20, what="it is tried again")
    assert time.monotonic() - asked_at > 3.5
    pair.worker.behave()
    scene.until_settled([user], seconds=20)


def test_the_breaker_opens_is_seen_probes_singly_closes_and_drains(scene: Scene, pair: Pair) -> None:
    users = [scene.sign_up() for _ in range(6)]
    with closing(scene.actor("worker")) as second:
        second.start()
        away = (pair.webhook, pair.worker, second)
        for actor in away:
            actor.forget()
            actor.litellm.on("*", Say(503))
        for user in users:
            scene.create_key(user)
        until(
            lambda: shown(scene, users[0])["breaker"] == "open", seconds=20, what="the breaker is shown open"
        )
        assert shown(scene, users[0])["connected"] is False
        assert_probes_only(away)
        assert scene.parked(users) == 0
        for actor in away:
            actor.behave()
        until(lambda: shown(scene, users[0])["breaker"] == "closed", seconds=20, what="it closes by itself")
        until(lambda: scene.is_settled(users), seconds=20, what="all that waited goes at once")
    assert_never_lines(scene, users)


def assert_probes_only(actors: tuple[Actor, ...]) -> None:
    """For some time LiteLLM hears of nobody but of one prober at a time."""

    def calls() -> list[Seen]:
        return [one for actor in actors for one in actor.litellm.seen]

    def is_calm() -> bool:
        last = max((one.at for one in calls() if one.request.path != PROBE), default=0.0)
        return time.monotonic() - last > 3

    def probes() -> list[float]:
        seen = calls()
        assert {one.request.path for one in seen} <= {PROBE}
        return sorted(one.at for one in seen)

    until(is_calm, seconds=20, what="what was under way is over")
    for actor in actors:
        actor.forget()
    until(lambda: len(probes()) >= (3 if LONG else 2), seconds=40, what="some probes were made")
    times = probes()
    assert all(later - earlier > 1.5 for earlier, later in pairwise(times))


def test_a_due_probe_is_shown_as_half_open(scene: Scene, pair: Pair) -> None:
    user = scene.sign_up()
    pair.worker.litellm.on("*", Hang())
    scene.db.execute(
        "update keyfund.gateways set failures = 3, opened_at = now(), probe_at = now() + interval '1 hour'"
        " where name = 'litellm'"
    )
    assert shown(scene, user)["breaker"] == "open"
    pair.worker.freeze()
    scene.db.execute("update keyfund.gateways set probe_at = now() where name = 'litellm'")
    assert shown(scene, user)["breaker"] == "half-open"
    pair.worker.thaw()
    pair.worker.behave()
    until(lambda: shown(scene, user)["breaker"] == "closed", seconds=30, what="the probe closes it")


def shown(scene: Scene, user: User) -> Json:
    answer = scene.api(user, "GET", "/api/status")
    assert answer.status_code == 200
    state: Json = answer.json()["litellm"]
    return state


# --- PostgreSQL behind Supabase -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", *(["refuse", "hang"] if LONG else [])])
def test_postgres_failing_under_supabase_is_a_clear_answer(scene: Scene, fault: str) -> None:
    case = paid_order(scene)
    with TcpProxy(scene.stack.address.port) as tcp:
        lite = own_supabase(scene, tcp)
        webhook = scene.actor("webhook", upstreams={"supabase": lite.part.url}).start()
        with closing(webhook), ThreadPoolExecutor(1) as pool:
            {"refuse": tcp.refuse, "cut": tcp.cut, "hang": tcp.hang}[fault]()
            delivery = pool.submit(scene.deliver_to, webhook, case.event)
            assert delivery.result(timeout=25) in (200, 503)
            mend(tcp, fault)
            until(lambda: scene.deliver_to(webhook, case.event) == 200, seconds=30, what="it is taken")
        lite.kill()
    scene.until_settled([case.user], seconds=30)
    assert case.expects() == []
    assert_never_lines(scene, [case.user])


def mend(tcp: TcpProxy, fault: str) -> None:
    if fault == "refuse":
        tcp.accept()
    tcp.flow()


def own_supabase(scene: Scene, tcp: TcpProxy) -> Child:
    """Another Supabase on the same database, which it reaches through the proxy."""
    stack = scene.stack
    address = replace(stack.address, port=tcp.port)
    part = supabase.part(ROOT, address=address, database="keyfund", port=free_port(), keys=stack.keys)
    assert stack.reaper is not None
    child = Child(part, stack.logs / f"faults-supabase-{tcp.port}.log", stack.reaper.marks)
    stack.reaper.add(child.spawn())
    child.wait_ready()
    return child
