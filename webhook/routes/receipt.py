"""A receipt: one plain page per payment, made to be printed."""

from collections.abc import Iterator
from html import escape
from string import Template
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import HTMLResponse

from core.errors import RefusedError
from core.refusals import refused
from core.store import CallerStore
from webhook.services import CallerHere, ServicesHere

PaymentReference = Annotated[str, Path(pattern=r"^[A-Za-z0-9.=-]{1,100}$")]
PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Receipt $reference</title><style>
:root { color-scheme: light; font: 1rem/1.5 system-ui, sans-serif; color: #111; background: #fff }
body { max-width: 40rem; margin: 3rem auto; padding: 0 1.5rem }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 2rem }
h1 { font-size: 1.6rem; margin: 0 }
table { width: 100%; border-collapse: collapse; margin-top: 2rem }
th { text-align: left; font-weight: 600 } td { text-align: right; font-variant-numeric: tabular-nums }
th, td { padding: .5rem 0; border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere }
tr.total th, tr.total td { border-bottom: 2px solid #111; font-weight: 700 }
@media print { body { margin: 0 auto } @page { margin: 2cm } }
</style></head>
<body><main><header><h1>Receipt</h1><p>$seller</p></header>
<table>
$rows</table></main></body></html>
""")
AMOUNTS = {"credits": "Price", "fee": "Payment fee", "beyond": "Paid beyond the price"}
ROW = Template('<tr$mark><th scope="row">$name</th><td>$value</td></tr>\n')


async def show(reference: PaymentReference, caller: CallerHere, services: ServicesHere) -> HTMLResponse:
    """The caller's own payments only; an administrator's view is ``read_payment``."""
    receipt = await services.store_of(caller).read_receipt(reference)
    if receipt is None:
        raise await _why_none(services.store_of(caller), reference)
    seller = escape(services.parts.settings.receipt_seller or "")
    page = PAGE.substitute(reference=escape(reference), seller=seller, rows="".join(lines(receipt)))
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy})


async def _why_none(store: CallerStore, reference: str) -> RefusedError:
    if await store.get_transaction(reference) is None:
        return refused("payment_not_found")
    return refused("payment_not_credited")


def lines(receipt: dict[str, Any]) -> list[str]:
    """The rows of the table: who, when, what, how much, and what of it was given back."""
    rows = [
        ("Reference", receipt["reference"], ""),
        ("Paid on", receipt["paid_at"][:10] + " (UTC)", ""),
        ("Paid by", receipt["email"] or "", ""),
        ("Paid through", f"{receipt['provider'].title()}, transaction {receipt['provider_id']}", ""),
        ("Credits", f"{receipt['credits']:,}", ""),
        *_amounts(receipt),
    ]
    shown = [(escape(name), escape(value), mark) for name, value, mark in rows if value]
    return [ROW.substitute(name=name, value=value, mark=mark) for name, value, mark in shown]


def _amounts(receipt: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    currency, refunded = receipt["currency"], receipt["refunded_amount"]
    if len(receipt["lines"]) > 1:
        yield from ((AMOUNTS[one["what"]], money(one["amount"], currency), "") for one in receipt["lines"])
    yield "Amount paid", money(receipt["paid_amount"], currency), ""
    if refunded:
        yield "Given back", f"\N{MINUS SIGN}{money(refunded, currency)}", ""
    if receipt["withheld_credits"]:
        yield "Credits taken back", f"{receipt['withheld_credits']:,}", ""
    yield "Total", money(receipt["total"], currency), ' class="total"'


def money(subunits: int, currency: str) -> str:
    """Paystack's currencies all count in hundredths, XOF among them."""
    return f"{currency} {subunits // 100:,}.{subunits % 100:02d}"
