"""Every recorded event, delivered: its outcome and its effect are those of the table."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.effects import ANSWERS, EVENTS, NOT_PAYLOADS
from tests.integration.world import Json, World, until
from tests.support import User

FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"
PRICE = 1_600_000


def test_the_table_is_whole() -> None:
    assert {path.stem for path in FIXTURES.glob("*.json")} == {*EVENTS, *ANSWERS, *NOT_PAYLOADS}


def outcome(world: World, raw: bytes) -> str:
    assert world.deliver(raw).status_code == 200
    until(lambda: (world.event(raw) or {}).get("outcome"), what="the event is handled")
    event = world.event(raw)
    assert event is not None
    return str(event["outcome"])


def about(payload: Json, reference: str, transaction_id: int) -> bytes:
    """The same event, of this payment: wherever an event names one, it names ours."""

    def renamed(value: Any, name: str = "") -> Any:
        if name in ("reference", "transaction_reference") and isinstance(value, str):
            return reference
        if name == "transaction" and isinstance(value, dict):
            return {**renamed(value), "id": transaction_id, "reference": reference}
        if isinstance(value, dict):
            return {key: renamed(inner, key) for key, inner in value.items()}
        return value

    # Whatever names no payment would else be the very event that other tests deliver, too.
    return json.dumps({**renamed(payload), "seen": reference}).encode()


def arrange(world: World, stage: str) -> tuple[User, str, int]:
    """Somebody's payment, as it stands at Paystack; no webhook tells of what makes the stage."""
    user = world.sign_up()
    reference = world.order(user)["reference"]
    paid = world.pay(reference, deliver=stage != "paid")["event"]["data"]
    if stage != "paid":
        world.until_status(user, reference, "success")
    refund, dispute = (
        f"/sandbox/transactions/{reference}/refund",
        f"/sandbox/transactions/{reference}/dispute",
    )
    if stage.startswith("refund "):
        world.sandbox(refund, amount=PRICE, status=stage.split()[1], deliver=False)
    elif stage.startswith("refunded"):
        world.sandbox(refund, amount=PRICE if stage == "refunded" else PRICE // 2, deliver=False)
    elif stage.startswith("dispute"):
        opened = world.sandbox(dispute, deliver=False)["event"]["data"]["id"]
        if stage == "dispute declined":
            world.sandbox(f"/sandbox/disputes/{opened}/resolve", resolution="declined", deliver=False)
    return user, reference, int(paid["id"])


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_recorded_event_does_what_the_table_says(world: World, name: str) -> None:
    effect, payload = EVENTS[name], json.loads((FIXTURES / f"{name}.json").read_text())
    total = "select coalesce(sum(delta), 0) from public.credit_ledger where kind <> 'usage'"
    before = world.db.execute(total).fetchone()
    assert outcome(world, json.dumps({**payload, "seen": "first"}).encode()) == effect.strange
    assert world.db.execute(total).fetchone() == before
    user, reference, transaction_id = arrange(world, effect.stage)
    credits = world.credits(user)
    raw = about(payload, reference, transaction_id)
    assert outcome(world, raw) == effect.ours
    assert world.credits(user) - credits == effect.credits
    assert world.deliver(raw.replace(b"{", b"{ ", 1)).status_code == 200  # Paystack repeats itself
    assert world.credits(user) - credits == effect.credits
