"""A webhook comes back until it is answered 200, as often as Paystack tries and no more."""

import httpx
import pytest

from dev.paystack import ManualClock, Sandbox, Settings, SystemClock
from dev.paystack.delivery import LADDERS, Delivery, State

from .merchant import WEBHOOK_URL, Merchant, Receiver

REFUSED = httpx.ConnectError("refused")
HOUR = 3600.0


async def undelivered(merchant: Merchant, sandbox: Sandbox) -> Delivery:
    """A payment whose webhook has failed once."""
    await merchant.paid()
    return next(iter(sandbox.book.deliveries.values()))


async def tried(sandbox: Sandbox, delivery: Delivery, times: int) -> None:
    await sandbox.postman.until(lambda: len(delivery.attempts) >= times)


@pytest.mark.parametrize("answer", [201, 204, 302, 400, 401, 500, REFUSED, httpx.ReadTimeout("slow")])
async def test_anything_but_200_is_tried_again(
    answer: int | Exception, merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers = [answer]
    delivery = await undelivered(merchant, sandbox)
    assert delivery.next_attempt_at is not None

    clock.advance(HOUR)
    await tried(sandbox, delivery, 2)

    assert delivery.state is State.DELIVERED
    assert receiver.requests[0].content == receiver.requests[1].content


async def climbed(delivery: Delivery, sandbox: Sandbox, clock: ManualClock) -> list[float]:
    """Let time pass from try to try until it gives up; the waits in seconds."""
    waits = []
    while delivery.next_attempt_at is not None:
        before = len(delivery.attempts)
        wait = (delivery.next_attempt_at - clock.now()).total_seconds()
        waits.append(wait)
        clock.advance(wait)
        await tried(sandbox, delivery, before + 1)
    return waits


async def test_in_test_mode_it_is_tried_hourly_for_ten_hours(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers = [REFUSED] * 100
    delivery = await undelivered(merchant, sandbox)

    assert await climbed(delivery, sandbox, clock) == [HOUR] * 10
    assert delivery.state is State.GIVEN_UP


async def test_in_live_mode_it_is_tried_every_three_minutes_and_then_for_three_days(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    reference = await merchant.open()
    sandbox.outbox.secret_key = "sk_live_0011"
    receiver.answers = [REFUSED] * 100

    await merchant.pay(reference)
    delivery = next(iter(sandbox.book.deliveries.values()))

    assert await climbed(delivery, sandbox, clock) == [180.0] * 4 + [HOUR] * 72
    assert delivery.state is State.GIVEN_UP


async def test_it_is_not_tried_before_its_time(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers = [500]
    delivery = await undelivered(merchant, sandbox)

    clock.advance(HOUR - 1)
    await merchant.get("/sandbox/deliveries")  # gives the background its turn

    assert len(delivery.attempts) == 1


async def test_a_payment_goes_through_while_the_receiver_is_down(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers = [REFUSED, REFUSED]

    first, second = await merchant.paid(), await merchant.paid()
    clock.advance(HOUR)
    await sandbox.postman.until(lambda: len(receiver.requests) == 4)

    references = [event["data"]["reference"] for event in receiver.events]
    assert sorted(references) == sorted([first, second] * 2)
    assert (await merchant.data_of(first))["status"] == "success"


async def test_every_try_is_told(merchant: Merchant, sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.answers = [503]
    reference = await merchant.paid()
    await merchant.paid()

    told = (await merchant.get("/sandbox/deliveries", reference=reference))["deliveries"]

    assert [delivery["event"] for delivery in told] == ["charge.success"]
    assert told[0]["state"] == "waiting"
    assert [attempt["status"] for attempt in told[0]["attempts"]] == [503]
    assert told[0]["next_attempt_at"] == "2026-10-14T10:30:41.000Z"


async def test_the_same_bytes_can_be_sent_again_by_hand(
    merchant: Merchant, sandbox: Sandbox, receiver: Receiver
) -> None:
    delivery = await undelivered(merchant, sandbox)

    answer = await merchant.post(f"/sandbox/deliveries/{delivery.id}/resend", wait=True)

    assert answer["event"] == receiver.events[0]
    assert receiver.requests[0].content == receiver.requests[1].content


def test_an_hour_of_waiting_passes_in_ten_seconds_by_default() -> None:
    clock = SystemClock(Settings(secret_key="sk_test_a", webhook_url=WEBHOOK_URL).clock_scale)

    assert (clock.after(HOUR) - clock.now()).total_seconds() == pytest.approx(10, abs=1)


def test_the_ladders_are_as_long_as_documented() -> None:
    assert sum(LADDERS["test"]) == 10 * HOUR
    assert sum(LADDERS["live"]) == 4 * 180 + 72 * HOUR
