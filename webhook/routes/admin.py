"""What administrators do about a payment that needs Paystack or LiteLLM to be asked.

What they only read or decide, they do over PostgREST: find_payments, read_payment, list_events,
replay_events, decide_review, adjust_credits, save_package, read_concerns.
"""

from typing import Annotated, Any, Literal

from fastapi import Body, Depends
from pydantic import BaseModel, ConfigDict, Field

from core.logs import get_logger
from core.refusals import refused
from core.store import CallerStore
from webhook.routes.receipt import PaymentReference
from webhook.services import CallerHere, Services, ServicesHere
from webhook.tokens import Caller

log = get_logger()
LOST = ("merchant-accepted", "auto-accepted")


class PaymentDetail(BaseModel):
    """All that is known of a payment: its timeline, events, disputes, ledger entries."""

    model_config = ConfigDict(extra="allow")
    reference: str
    account_id: str
    user_id: str
    status: str
    timeline: dict[str, Any]


class Retry(BaseModel):
    """``step``: verified asks Paystack, withheld asks for refunds and disputes, pushed goes to LiteLLM."""

    model_config = ConfigDict(strict=True, extra="forbid")
    step: Literal["verified", "withheld", "pushed"] | None = Field(
        default=None, description="Absent: every step that there is."
    )


EVERY_STEP = Retry()


class Refund(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=500)


async def check_administrator(store: CallerStore) -> None:
    """Asked in the database on each call, so that taking the right away works at once."""
    if not await store.is_administrator():
        raise refused("not_an_administrator")


async def _administrator(caller: CallerHere, services: ServicesHere) -> Caller:
    await check_administrator(services.store_of(caller))
    return caller


AdministratorHere = Annotated[Caller, Depends(_administrator)]


async def retry_payment(
    reference: PaymentReference,
    caller: AdministratorHere,
    services: ServicesHere,
    body: Annotated[Retry, Body()] = EVERY_STEP,
) -> PaymentDetail:
    """Do a payment's steps again, now; each is safe to repeat. Answers with how it then stands."""
    payment = await services.store_of(caller).read_payment(reference)
    log.info("payment.retried", reference=reference, step=body.step, by=caller.user_id)
    if body.step in (None, "verified"):
        await services.settler.settle(reference)
    if body.step in (None, "withheld") and (body.step or payment["provider_id"] is not None):
        await services.settler.settle_reversals(reference)
    if body.step in (None, "pushed") and services.parts.pusher is not None:
        await services.store_of(caller).resync_account(payment["account_id"])
        await services.parts.pusher.push_now(payment["account_id"])
    return await _detail(services, caller, reference)


async def refund_payment(
    reference: PaymentReference, body: Refund, caller: AdministratorHere, services: ServicesHere
) -> PaymentDetail:
    """Have Paystack give a payment back, whole; repeating is safe. Credits go once Paystack has done it."""
    store, paystack = services.store_of(caller), services.paystack
    payment = await store.read_payment(reference)
    if payment["provider_id"] is None:
        raise refused("payment_not_paid")
    await services.settler.settle_reversals(reference)  # what was given back already, or is in dispute
    payment = await store.read_payment(reference)
    if any(not one["resolved"] or one["resolution"] in LOST for one in payment["disputes"]):
        raise refused("payment_disputed")
    if payment["status"] == "needs_review":
        await store.decide_review(reference, accept=False, reason=body.reason)
    paid = payment["paid_amount"]
    left = None if paid is None else paid - payment["refunded_amount"]  # None: all of it, whatever it is
    if left != 0 and not await paystack.has_refunds_under_way(payment["provider_id"]):
        log.warning("payment.refund_asked", reference=reference, by=caller.user_id, reason=body.reason)
        await store.note_refund(reference, body.reason)
        await paystack.refund(payment["provider_id"], left)
        await services.settler.settle_reversals(reference)
    return await _detail(services, caller, reference)


async def _detail(services: Services, caller: Caller, reference: str) -> PaymentDetail:
    return PaymentDetail(**await services.store_of(caller).read_payment(reference))
