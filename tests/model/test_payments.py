"""Payments from Paystack to the ledger: fees, refunds, disputes, decisions, and what the sweep says."""

from collections.abc import Callable, Iterator
from typing import cast
from unittest import mock

import pytest

from core.domain.payments import Bearer, Refunds
from core.flows.settle import Settled, Settler
from dev.paystack.dispute import Dispute
from dev.paystack.outbox import Signed
from dev.paystack.transaction import Transaction
from operate import remeasure as command
from tests.model.process import SMOOTH
from tests.model.sight import StandInSight
from tests.model.world import KEPT, World, _now
from tests.support import Database
from worker.jobs import payments as sweeping

PRICE = 1_600_000
SIGNUP = 150
WITH_FEE = {"amount": 1_634_000, "requested_amount": PRICE, "fees": 34_000}
TOO_MUCH = {"amount": 1_700_000, "requested_amount": PRICE, "channel": "bank_transfer"}


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database, StandInSight())
    world.sign_up(0)
    yield world
    world.close()


def order(world: World) -> Transaction:
    world.order(world.people[0], "starter-ngn", SMOOTH)
    return list(world.sandbox.book.transactions.values())[-1]


def bought(world: World, **fields: object) -> Transaction:
    made = order(world)
    world.pay(made, True, fields)
    world.deliver(world.mail[-1], SMOOTH)
    return made


def happen(world: World, act: Callable[..., Signed], *arguments: object, **named: object) -> None:
    """Something at Paystack, and its webhook."""
    signed = world.engine.run(_now(act, *arguments, sending=KEPT, **named))
    world.deliver(cast(Signed, signed), SMOOTH)


def refund(world: World, of: Transaction, amount: int, *, dispute: Dispute | None = None) -> None:
    happen(world, world.sandbox.refund, of, amount, dispute_id=dispute.id if dispute else None)


def dispute(world: World, of: Transaction) -> Dispute:
    world.dispute(of)
    world.deliver(world.mail[-1], SMOOTH)
    return list(world.sandbox.book.disputes.values())[-1]


def resolve(world: World, one: Dispute, resolution: str, amount: int) -> None:
    happen(world, world.sandbox.resolve, one, resolution, amount)


def left(world: World) -> int:
    """Of the credits bought, how many are left."""
    return int(world.rows("select credits from public.profiles")[0]["credits"]) - SIGNUP


def kept(world: World) -> tuple[object, ...]:
    (row,) = world.rows("select status, standing, borne_fee from public.transactions")
    return tuple(row.values())


# --- fees, refunds, disputes --------------------------------------------------------------------------------


def test_giving_back_what_a_transfer_brought_too_much_takes_nothing(world: World) -> None:
    paid = bought(world, **TOO_MUCH)
    refund(world, paid, 100_000)
    assert (left(world), kept(world)) == (500, ("success", "credited", 0))
    refund(world, paid, 1_500_000)
    assert left(world) == 31


def test_giving_back_the_price_takes_everything_where_the_buyer_bore_the_fee(world: World) -> None:
    refund(world, bought(world, **WITH_FEE), PRICE)
    assert (left(world), kept(world)) == (0, ("reversed", "refunded", 34_000))


def test_the_same_by_disputes(world: World) -> None:
    resolve(world, dispute(world, bought(world, **TOO_MUCH)), "merchant-accepted", 100_000)
    assert left(world) == 500
    resolve(world, dispute(world, bought(world, **WITH_FEE)), "auto-accepted", PRICE)
    assert left(world) == 500


def test_a_refund_that_belongs_to_a_dispute_counts_once(world: World) -> None:
    paid = bought(world)
    one = dispute(world, paid)
    assert left(world) == 0
    resolve(world, one, "merchant-accepted", 480_000)
    refund(world, paid, 480_000, dispute=one)
    assert left(world) == 350
    refund(world, paid, 160_000)
    assert left(world) == 300


@pytest.mark.parametrize(("bearer", "fee", "credits"), [(Bearer.MERCHANT, 0, 10), (Bearer.BUYER, 34_000, 0)])
def test_who_bears_the_fee_is_what_the_operator_says(
    world: World, bearer: Bearer, fee: int, credits: int
) -> None:
    world.settler = Settler(world.store, world.paystack, world.settler.mode, world.pusher, bearer)
    refund(world, bought(world, **WITH_FEE), PRICE)
    assert (left(world), kept(world)[2]) == (credits, fee)


# --- payments from before fees were known -------------------------------------------------------------------


def forget_fee(world: World, withheld: int) -> None:
    """As it was measured before: by what was paid."""
    world.database.execute("update public.transactions set borne_fee = null")
    (row,) = world.rows("select * from public.transactions")
    change = row["withheld_credits"] - withheld
    if change:
        cause = f"withheld:{row['reference']}:{row['reversals'] + 1}"
        world.rows("select keyfund.append_entry(%s, %s, 'withheld', %s)", row["user_id"], change, cause)
        query = "update public.transactions set withheld_credits = %s, reversals = reversals + 1"
        world.database.execute(query, [withheld])


def measure(world: World, *, really: bool) -> int:
    references = command.choose(world.store, [])
    status = world.engine.run(command.carry_out(world.settler, references, really=really))
    assert status is not None
    return status


def test_a_payment_from_before_is_shown_first_and_measured_anew_only_when_told_to(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = bought(world, **TOO_MUCH)
    refund(world, paid, 100_000)
    forget_fee(world, withheld=30)
    assert left(world) == 470
    before = world.rows("select * from public.transactions"), world.rows("select * from public.credit_ledger")
    assert measure(world, really=False) == 0
    line = f"{paid.reference}: 30 credits are withheld, 0 are due; the buyer bore a fee of 0.00\n"
    end = "1 payments change, 0 stay, 0 cannot be measured. Nothing was changed; --yes does it.\n"
    assert capsys.readouterr().out == line + end
    after = world.rows("select * from public.transactions"), world.rows("select * from public.credit_ledger")
    assert after == before
    assert measure(world, really=True) == 0
    assert (left(world), kept(world)) == (500, ("success", "credited", 0))
    assert measure(world, really=True) == 0
    assert "0 payments change, 0 stay" in capsys.readouterr().out


def test_a_payment_from_before_is_measured_anew_with_its_next_event(world: World) -> None:
    paid = bought(world, **WITH_FEE)
    forget_fee(world, withheld=0)
    refund(world, paid, PRICE)
    assert (left(world), kept(world)) == (0, ("reversed", "refunded", 34_000))


def test_nothing_is_withheld_while_paystack_cannot_say_who_bore_the_fee(world: World) -> None:
    paid = bought(world, **WITH_FEE)
    forget_fee(world, withheld=0)
    with mock.patch.object(type(world.paystack), "verify", mock.AsyncMock(return_value=None)):
        refund(world, paid, PRICE)
    assert (left(world), kept(world)[2]) == (500, None)
    (event,) = world.rows("select last_error from keyfund.events where handled_at is null")
    assert str(event["last_error"]).startswith("fee_unknown")
    world.let_pass(400)
    world.work("handle")
    assert left(world) == 0


# --- what does not fit its order ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{"amount": None}, {"amount": 1_600_000.5}, {"amount": "much"}, {"requested_amount": 0.5}]
)
def test_a_payment_without_a_whole_amount_is_incomplete(world: World, fields: dict[str, object]) -> None:
    bought(world, **fields)
    (row,) = world.rows("select status, review_reason from public.transactions")
    assert (row["status"], row["review_reason"]) == ("needs_review", "incomplete")


def test_a_payment_that_is_credited_in_part_is_given_back_in_part(world: World) -> None:
    paid = order(world)
    world.pay(paid, False, {"amount": 640_000, "requested_amount": PRICE})
    world.deliver(world.mail[-1], SMOOTH)
    world.decide(paid.reference, accept=True, in_part=True)
    assert left(world) == 200
    refund(world, paid, 320_000)
    assert left(world) == 100
    refund(world, paid, 320_000)
    assert (left(world), kept(world)) == (0, ("reversed", "refunded", 0))


def refused(world: World) -> Transaction:
    paid = order(world)
    world.pay(paid, False, {"amount": 640_000, "requested_amount": PRICE})
    world.deliver(world.mail[-1], SMOOTH)
    world.decide(paid.reference, accept=False)
    return paid


def test_who_comes_back_from_a_refused_payment_is_told_how_it_stands(world: World) -> None:
    paid = refused(world)

    def look() -> Settled | None:
        return world.engine.run(world.settler.settle(paid.reference))

    told = [look()]
    world.refund(paid, 100, "pending", of_dispute=False)
    world.deliver(world.mail[-1], SMOOTH)
    told.append(look())
    (pending,) = world.sandbox.book.refunds.values()
    happen(world, world.sandbox.move_refund, pending, "processed")
    told.append(look())
    assert told == [Settled.REFUSED, Settled.REFUND_UNDER_WAY, Settled.REVERSED]


# --- the sweep ----------------------------------------------------------------------------------------------


def sweep(world: World) -> list[str]:
    """What it says, by name."""
    with mock.patch.object(sweeping, "log") as log:
        world.let_pass(901)
        world.work("sweep")
    return [call.args[0] for call in log.method_calls]


def test_a_refused_payment_whose_webhook_came_is_no_alarm(world: World) -> None:
    refused(world)
    assert [sweep(world) for _ in range(3)] == [[], [], []]


def test_a_payment_that_no_webhook_told_of_is_an_alarm_once(world: World) -> None:
    world.pay(order(world), True, {})
    assert [sweep(world) for _ in range(2)] == [["payment.found_by_sweep"], []]
    assert left(world) == 500


def test_a_payment_whose_webhook_came_and_was_not_handled_yet_is_no_alarm(world: World) -> None:
    paid = order(world)
    with mock.patch.object(Settler, "handle_event", mock.AsyncMock(return_value=False)):
        world.pay(paid, True, {})
        world.deliver(world.mail[-1], SMOOTH)
    assert sweep(world) == ["payment.settled_by_sweep"]


def test_a_refund_is_an_alarm_where_no_webhook_told_of_it_just_now(world: World) -> None:
    paid = bought(world)
    refund(world, paid, 100_000)
    world.let_pass(2 * 86_400)
    world.engine.run(_now(world.sandbox.refund, paid, 100_000, sending=KEPT))
    assert [sweep(world) for _ in range(2)] == [["payment.found_by_sweep"], []]


def test_a_refund_whose_webhook_came_before_paystack_s_list_showed_it_is_no_alarm(world: World) -> None:
    paid = bought(world)
    with mock.patch.object(type(world.paystack), "sum_refunds", mock.AsyncMock(side_effect=_nothing_yet)):
        refund(world, paid, 100_000)
    assert left(world) == 500
    assert sweep(world) == ["payment.settled_by_sweep"]
    assert left(world) == 468


async def _nothing_yet(*_: object) -> object:
    return Refunds()
