"""What comes to the webhook's door, and what it answers."""

import json
from pathlib import Path

import httpx
import pytest

from tests.integration.world import World, until

FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"
EVENTS = sorted(path for path in FIXTURES.glob("*.json") if "event" in json.loads(path.read_text()))
PATHS = ["/webhooks/paystack", "/webhooks/paystack/", "/payment-webhook", "/payment-webhook/"]


@pytest.mark.parametrize("path", PATHS)
def test_every_address_of_the_webhook_takes_an_event(world: World, path: str) -> None:
    raw = json.dumps({"event": "unknown.event", "data": {"path": path}}).encode()
    answer = world.deliver(raw, path=path)
    assert (answer.status_code, answer.json()) == (200, {"received": True})


def given(world: World) -> object:
    """What anybody was ever given or lost; the worker books what other tests used in its own time."""
    query = "select count(*), coalesce(sum(delta), 0) from public.credit_ledger where kind <> 'usage'"
    return world.db.execute(query).fetchone()


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_a_recorded_event_is_stored_once_and_moves_no_credits(world: World, path: Path) -> None:
    raw = path.read_bytes()
    before = given(world)
    first, second = world.deliver(raw), world.deliver(raw)
    assert (first.status_code, second.status_code) == (200, 200)
    until(lambda: (world.event(raw) or {}).get("handled_at"), what="the event is handled")
    event = world.event(raw)
    assert event is not None
    assert event["event"] == json.loads(raw)["event"]
    assert world.db.execute(
        "select count(*) from keyfund.events where body = %s", [raw.decode()]
    ).fetchone() == (1,)
    assert given(world) == before


@pytest.mark.parametrize("signature", ["", "0" * 128, "nonsense", "0" * 127 + "g"])
def test_a_wrong_signature_is_refused_and_nothing_is_kept(world: World, signature: str) -> None:
    raw = json.dumps({"event": "charge.success", "data": {"reference": "kf-x", "n": signature}}).encode()
    headers = {"x-paystack-signature": signature} if signature else {}
    answer = world.http.post(
        f"{world.env['WEBHOOK_BASE_URL']}/webhooks/paystack", content=raw, headers=headers
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "bad_signature"
    assert world.event(raw) is None


def test_a_signature_over_other_bytes_is_refused(world: World) -> None:
    raw = b'{"event":"charge.success","data":{"reference":"kf-y"}}'
    assert world.deliver(raw + b" ", signature=world.signature(raw)).status_code == 401


@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[1]", b"{}", b'{"event": 1}', b"\xff\xff", b"[" * 50_000]
)
def test_a_signed_body_that_is_no_event_is_a_clear_400(world: World, raw: bytes) -> None:
    answer = world.deliver(raw)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("invalid_body", "invalid_event")


def test_a_huge_body_is_refused_unread(world: World) -> None:
    assert world.deliver(b"x" * (2 * 1024 * 1024)).status_code == 413


def test_a_nul_and_a_lone_surrogate_in_an_event_are_kept_as_sent(world: World) -> None:
    raw = rb'{"event": "unknown.event", "data": {"a": "\u0000", "b": "\ud800"}}'
    assert world.deliver(raw).status_code == 200
    assert world.event(raw) is not None


def test_a_payment_we_never_issued_is_kept_and_credits_nobody(world: World) -> None:
    charge = world.sandbox("/sandbox/charges", amount=1_600_000, currency="NGN", deliver=False)
    raw = charge["raw"].encode()
    assert world.deliver(raw, signature=charge["signature"]).status_code == 200
    until(lambda: (world.event(raw) or {}).get("outcome") == "not_ours", what="it is kept as not ours")


def test_health_and_readiness_answer_without_a_token(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        assert world.http.get(f"{world.env['WEBHOOK_BASE_URL']}{path}").json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/api/keys/manage", "/api/credits/packages", "/api/credits/transactions",
                                  "/api/keys/sync", "/api/status"])  # fmt: skip
def test_the_api_answers_nobody_without_a_token(world: World, path: str) -> None:
    answer = world.http.get(f"{world.env['WEBHOOK_BASE_URL']}{path}")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"
    assert httpx.Headers(answer.headers)["cache-control"] == "no-store"


def test_personal_data_leaves_the_inbox_after_a_month(world: World) -> None:
    raw = (FIXTURES / "charge.success.ussd.json").read_bytes().replace(b"{", b'{"copy": 1, ', 1)
    assert world.deliver(raw).status_code == 200
    until(lambda: (world.event(raw) or {}).get("handled_at"), what="it is handled")
    world.db.execute(
        "update keyfund.events set handled_at = now() - interval '31 days' where body = %s",
        [raw.decode()],
    )
    assert world.db.execute("select public.redact_events(1000)").fetchone() != (0,)
    assert world.event(raw) is None
    left = world.db.execute(
        "select body::jsonb from keyfund.events where redacted_at is not null"
        " and reference = 'cr-ussd-01' order by id desc limit 1"
    ).fetchone()
    assert left is not None
    assert left[0]["data"]["amount"] == 150_000
    assert not {"customer", "authorization", "metadata", "log", "ip_address"} & left[0]["data"].keys()
