"""Buying credits, and following each payment until it can be spent."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from core.flows.checkout import open_checkout
from core.store.payments import Wish
from webhook.services import NO_NUL, AccountHere, CallerHere, InAccount, ServicesHere

SHOWN = 100
After = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9.=-]{1,100}$", description="The `next` of the page before: a reference."),
]
PageSize = Annotated[int, Query(alias="limit", ge=1, le=SHOWN, description="Payments on a page.")]
STEPS = {
    "ordered": "created_at",
    "webhook": "webhook_at",
    "verified": "verified_at",
    "credited": "credited_at",
    "pushed": "pushed_at",
    "effective": "effective_at",
}
ENDED = ("failed", "abandoned", "declined", "refund_under_way", "refunded")
Shown = Annotated[int | None, Field(ge=1, le=10**12, description="409 where it is another by now.")]


class Package(BaseModel):
    id: str
    name: str
    credits: int
    amount: int = Field(description="Price in subunits of the currency.")
    currency: str


class Packages(BaseModel):
    packages: list[Package]


class Purchase(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    package_id: str = Field(min_length=1, max_length=50, pattern=NO_NUL)
    amount: Shown = Field(default=None, description="The price that the buyer was shown.")
    credits: Shown = Field(default=None, description="The credits that the buyer was shown.")
    account_id: InAccount = None


class OpenedCheckout(BaseModel):
    reference: str
    authorization_url: str
    access_code: str
    amount: int
    currency: str
    credits: int


class Timeline(BaseModel):
    """When each step was reached; null: not yet."""

    ordered: str
    webhook: str | None
    verified: str | None
    credited: str | None
    pushed: str | None
    effective: str | None


class Payment(BaseModel):
    reference: str
    status: str
    credits: int
    amount: int
    currency: str
    authorization_url: str | None
    standing: str = Field(
        description="`pending`, `failed`, `abandoned`, `credited`; `under_review`: a person decides; "
        "`declined`: refused, and its money is to be given back; `refund_under_way`; "
        "`refunded`, on `refunded_at`."
    )
    granted_credits: int | None = Field(description="What was credited; less than ordered if paid in part.")
    refunded_amount: int = Field(description="Given back so far, in subunits.")
    refunding_amount: int = Field(description="On its way back, in subunits.")
    refunded_at: str | None
    refused: bool = Field(description="An administrator did not accept it; `standing` tells of the money.")
    waiting_for: str | None = Field(description="The next step that is still to come; null when done.")
    timeline: Timeline


class Payments(BaseModel):
    transactions: list[Payment]
    next: str | None = Field(default=None, description="Where the next page begins; null: this is the last.")


async def list_packages(caller: CallerHere, services: ServicesHere) -> Packages:
    """The packages on sale, by currency and price."""
    rows = await services.store_of(caller).list_packages()
    return Packages(packages=[Package(**row) for row in rows])


async def buy(body: Purchase, caller: CallerHere, services: ServicesHere) -> OpenedCheckout:
    """Order a package at today's price; pay at ``authorization_url``."""
    base_url = services.parts.settings.webhook_base_url
    order, checkout = await open_checkout(
        services.parts.store,
        services.paystack,
        caller.user_id,
        Wish(body.package_id, body.amount, body.credits, str(body.account_id) if body.account_id else None),
        callback_url=f"{base_url}/checkout/return" if base_url else None,
    )
    return OpenedCheckout(
        reference=order.reference,
        authorization_url=checkout.authorization_url,
        access_code=checkout.access_code,
        amount=order.amount_subunits,
        currency=order.currency,
        credits=order.credits,
    )


async def list_transactions(
    caller: CallerHere,
    services: ServicesHere,
    after: After = None,
    page_size: PageSize = SHOWN,
    account_id: AccountHere = None,
) -> Payments:
    """An account's payments, newest first, each with the time of every step."""
    account = str(account_id or caller.user_id)
    page = await services.store_of(caller).list_transactions(account, after, page_size)
    return Payments(transactions=[_payment(row) for row in page.rows], next=page.next("reference"))


def _payment(row: dict[str, Any]) -> Payment:
    times = {step: row[column] for step, column in STEPS.items()}
    unreached = [step for step in ("credited", "pushed", "effective") if times[step] is None]
    if row["standing"] in ENDED:
        unreached = []  # nothing is waited for, though a late success would still be credited
    return Payment(
        **{name: row[name] for name in ("reference", "status", "credits", "amount", "currency")},
        # Only while it can still be paid.
        authorization_url=row["authorization_url"] if row["verified_at"] is None else None,
        granted_credits=_granted(row),
        **{name: row[name] for name in ("standing", "refunded_amount", "refunding_amount", "refunded_at")},
        refused=row["decided_at"] is not None and row["credited_at"] is None,
        waiting_for=unreached[0] if unreached else None,
        timeline=Timeline(**times),
    )


def _granted(row: dict[str, Any]) -> int | None:
    """The credits that a payment bought; None: none so far."""
    if row["credited_at"] is None:
        return None
    return int(row["credits"] if row["granted_credits"] is None else row["granted_credits"])
