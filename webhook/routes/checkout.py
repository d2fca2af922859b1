"""Where Paystack sends the buyer back: the payment is settled by the same path as the webhook's."""

from html import escape
from typing import Annotated

from fastapi import Query
from fastapi.responses import HTMLResponse

from core.errors import KeyfundError
from core.flows.settle import Settled
from core.logs import get_logger
from webhook.routes import dashboard
from webhook.services import ServicesHere

log = get_logger()
Reference = Annotated[str, Query(pattern=r"^[A-Za-z0-9.=-]{1,100}$")]
SENTENCES = {
    Settled.CREDITED: ("Thank you", "Your credits have arrived."),
    Settled.ALREADY_CREDITED: ("Thank you", "Your credits have arrived."),
    Settled.NOT_PAID: (
        "Not paid yet",
        "Paystack has not confirmed a payment. If you paid, your credits follow by themselves.",
    ),
    Settled.REVERSED: ("Payment returned", "Paystack has returned this payment to you."),
    Settled.NEEDS_REVIEW: (
        "We are looking into it",
        "Your payment arrived, but differs from the order. A person decides about it.",
    ),
    Settled.REFUSED: (
        "Payment not accepted",
        "Your payment differed from the order and was not accepted. A person has yet to give it back; your "
        "list of payments tells when that is done.",
    ),
    Settled.REFUND_UNDER_WAY: (
        "Refund on its way",
        "Paystack is giving your money back. It can take a few days to reach you.",
    ),
    Settled.WITHHELD: ("Thank you", "Your payment has been looked at again."),
    Settled.UNCHANGED: ("Thank you", "Your payment has been looked at again."),
    Settled.NOT_OURS: ("Unknown payment", "There is no such payment here."),
}
LATER = (
    "One moment",
    "Your payment cannot be checked right now. If you paid, your credits follow by themselves.",
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem }}
p.reference {{ opacity: .7; font-size: .85rem; overflow-wrap: anywhere }}
</style></head>
<body><main><h1>{title}</h1><p>{sentence}</p>
<p class="reference">Reference {reference}</p>{back}</main></body></html>
"""


BACK = '<p><a href="/analytics#/credits">To your credits</a></p>'


async def returned(services: ServicesHere, reference: Reference) -> HTMLResponse:
    """Settle and say how it went. Reading the page twice, or beside the webhook, changes nothing."""
    settler = services.settler
    try:
        title, sentence = SENTENCES[await services.returns.settle(settler, reference)]
    except KeyfundError as error:
        log.warning("checkout.not_settled", reference=reference, error=str(error))
        title, sentence = LATER
    page = PAGE.format(
        title=escape(title),
        sentence=escape(sentence),
        reference=escape(reference),
        back=BACK if dashboard.is_built() else "",
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy})
