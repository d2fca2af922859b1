"""Rate limits: each caller has a bucket of their own, Paystack and health checks have none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.settings import Settings
from tests.unit.service import Service, make_settings, running, supabase, token
from webhook.limits import Buckets, address


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- buckets ------------------------------------------------------------------------------------------------


def test_a_minute_s_calls_may_come_at_once_and_then_evenly(clock: Clock) -> None:
    buckets = Buckets(60, clock=clock)
    assert [buckets.take("a") for _ in range(60)] == [0] * 60
    assert buckets.take("a") == pytest.approx(1)
    clock.now += 0.5
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0


def test_a_refused_call_costs_nothing(clock: Clock) -> None:
    buckets = Buckets(60, clock=clock)
    for _ in range(1000):
        buckets.take("a")
    clock.now += 1
    assert buckets.take("a") == 0


def test_a_bucket_holds_no_more_than_a_minute_s_calls(clock: Clock) -> None:
    buckets = Buckets(3, clock=clock)
    buckets.take("a")
    clock.now += 86_400
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_callers_do_not_share(clock: Clock) -> None:
    buckets = Buckets(1, clock=clock)
    assert [buckets.take(who) > 0 for who in ("a", "b", "a", "b")] == [False, False, True, True]


def test_memory_is_bounded_and_the_quietest_are_forgotten(clock: Clock) -> None:
    buckets = Buckets(1, most=3, clock=clock)
    assert buckets.take("busy") == 0
    for number in range(1000):
        buckets.take(f"passer-by {number}")
        assert buckets.take("busy") > 0
    assert len(buckets) == 3
    assert [buckets.take("newcomer") > 0 for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("nonsense", "nonsense"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(host: str, counted: str) -> None:
    assert address({"type": "http", "client": (host, 1)}) == counted
    assert address({"type": "http", "client": None}) == ""


# --- the application ----------------------------------------------------------------------------------------


def settings(per_minute: int) -> Settings:
    return make_settings(api_rate_per_minute=per_minute, allowed_origins=["https://app.test"])


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # away from anybody's .env


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    with supabase():
        async with running(settings(per_minute=3)) as service:
            yield service


async def test_a_person_is_refused_after_their_share_and_told_when_to_come_back(service: Service) -> None:
    answers = [await service.get("/api/status", token("ada")) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    wait = refused.headers["retry-after"]
    assert 10 <= int(wait) <= 20
    assert refused.json() == {
        "error": {"code": "too_many_calls", "message": f"At most 3 calls a minute. Try again in {wait} s."}
    }
    assert refused.headers["cache-control"] == "no-store"
    assert (await service.get("/api/status", token("bob"))).status_code == 200


async def test_a_person_is_counted_wherever_they_call_from(service: Service) -> None:
    answers = [await service.get("/api/status", token("ada"), f"10.0.0.{n}") for n in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]


async def test_calls_without_a_valid_token_are_counted_by_address_and_take_nothing_from_people(
    service: Service,
) -> None:
    bad = [None, token("ada", aud="anon"), token("ada", exp=1), {"authorization": "Bearer x"}]
    statuses = [(await service.get("/api/status", headers)).status_code for headers in bad]
    assert statuses == [401, 401, 401, 429]
    assert (await service.get("/api/status", host="10.0.0.2")).status_code == 401
    assert (await service.get("/api/status", token("ada"))).status_code == 200


async def test_what_is_no_route_is_counted_too(service: Service) -> None:
    assert [(await service.get("/nowhere")).status_code for _ in range(4)] == [404, 404, 404, 429]


async def test_paystack_and_health_checks_are_never_refused(service: Service) -> None:
    for _ in range(10):
        assert (await service.get("/healthz")).status_code == 200
        assert (await service.get("/readyz")).status_code == 200
        for path in ("/webhooks/paystack", "/payment-webhook", "/webhooks/paystack/", "/payment-webhook/"):
            assert (await service.call("POST", path, content=b"{}")).status_code == 401
    assert (await service.get("/api/status")).status_code == 401


async def test_a_browser_may_read_why(service: Service) -> None:
    origin = {"origin": "https://app.test"}
    answers = [await service.get("/api/status", {**token("ada"), **origin}) for _ in range(4)]
    assert answers[-1].status_code == 429
    assert answers[-1].headers["access-control-allow-origin"] == "https://app.test"
    assert answers[-1].headers["access-control-expose-headers"] == "retry-after"


async def test_0_means_no_limit() -> None:
    with supabase():
        async with running(settings(per_minute=0)) as service:
            statuses = {(await service.get("/api/status")).status_code for _ in range(1000)}
    assert statuses == {401}
