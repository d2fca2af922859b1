"""A receipt: one plain page per payment, made to be printed."""

from html import escape
from string import Template
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import HTMLResponse

from core.errors import RefusedError
from webhook.routes.purchases import granted
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
ROW = Template('<tr$mark><th scope="row">$name</th><td>$value</td></tr>\n')


async def show(reference: PaymentReference, caller: CallerHere, services: ServicesHere) -> HTMLResponse:
    """The caller's own payments only; an administrator's view is ``read_payment``."""
    store = services.store_of(caller)
    payment = await store.get_transaction(reference)
    if payment is None:
        raise RefusedError("payment_not_found", "There is no such payment.", status=404)
    if payment["paid_amount"] is None or payment["credited_at"] is None:
        raise RefusedError("payment_not_credited", "The payment has not arrived yet.", status=409)
    rows = lines(payment, await store.get_email() if payment["user_id"] == caller.user_id else None)
    seller = escape(services.parts.settings.receipt_seller or "")
    page = PAGE.substitute(reference=escape(reference), seller=seller, rows="".join(rows))
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy})


def lines(payment: dict[str, Any], email: str | None) -> list[str]:
    """The rows of the table: who, when, what, how much, and what of it was given back."""
    currency, paid, refunded = payment["currency"], payment["paid_amount"], payment["refunded_amount"]
    rows = [
        ("Reference", payment["reference"], ""),
        ("Paid on", (payment["paid_at"] or payment["credited_at"])[:10] + " (UTC)", ""),
        ("Paid by", email or "", ""),
        ("Paid through", f"Paystack, transaction {payment['provider_id']}", ""),
        ("Credits", f"{granted(payment):,}", ""),
        ("Amount paid", money(paid, currency), ""),
    ]
    if refunded:
        rows.append(("Given back", f"\N{MINUS SIGN}{money(refunded, currency)}", ""))
    if payment["withheld_credits"]:
        rows.append(("Credits taken back", f"{payment['withheld_credits']:,}", ""))
    rows.append(("Total", money(paid - refunded, currency), ' class="total"'))
    shown = [(escape(name), escape(value), mark) for name, value, mark in rows if value]
    return [ROW.substitute(name=name, value=value, mark=mark) for name, value, mark in shown]


def money(subunits: int, currency: str) -> str:
    """Paystack's currencies all count in hundredths, XOF among them."""
    return f"{currency} {subunits // 100:,}.{subunits % 100:02d}"
