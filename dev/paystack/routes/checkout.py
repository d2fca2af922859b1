"""The hosted page where a buyer pays. It works without scripts and with a keyboard alone."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dev.paystack.money import shown
from dev.paystack.refusal import invalid
from dev.paystack.routes.asking import sandbox_of
from dev.paystack.transaction import Transaction

_PAGE: Final = Template(Path(__file__).with_name("checkout.html").read_text(encoding="utf-8"))
_CHOICES: Final = """<form method="post">
    <button class="main" name="choice" value="pay">Pay $amount</button>
    <button name="choice" value="decline">Decline the payment</button>
    <button name="choice" value="abandon">Abandon and go back</button>
  </form>"""
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}
_WEB: Final = ("http://", "https://")


async def show(request: Request) -> Response:
    """GET /checkout/:access_code: what is to be paid and to whom, or that it is paid."""
    sandbox = sandbox_of(request)
    transaction = sandbox.book.transaction_by_code(request.path_params["access_code"])
    return _page(transaction, sandbox.settings.merchant)


async def choose(request: Request) -> Response:
    """POST /checkout/:access_code: pay, decline or abandon, then back to the merchant."""
    sandbox = sandbox_of(request)
    transaction = sandbox.book.transaction_by_code(request.path_params["access_code"])
    choice = parse_qs((await request.body()).decode()).get("choice", [""])[0]
    if choice not in {"pay", "decline", "abandon"}:
        raise invalid("Choose pay, decline or abandon")
    if not transaction.paid:  # a page left open pays once; the button of another tab changes nothing
        if choice == "pay":
            await sandbox.before_answer(sandbox.pay(transaction))
        else:
            sandbox.settle(transaction, "failed" if choice == "decline" else "abandoned")
    back = _way_back(transaction, abandoned=choice == "abandon" and not transaction.paid)
    if back is None:
        return _page(transaction, sandbox.settings.merchant)
    return RedirectResponse(back, 303)


def _way_back(transaction: Transaction, *, abandoned: bool) -> str | None:
    """Where the buyer goes: the callback with `trxref` and `reference` added, as Paystack does.

    Who abandons goes to the merchant's `metadata.cancel_action` where there is one.
    """
    cancel_action = _object(transaction.metadata).get("cancel_action")
    if abandoned and isinstance(cancel_action, str) and cancel_action.startswith(_WEB):
        return cancel_action
    if transaction.callback_url is None:
        return None
    parts = urlsplit(transaction.callback_url)
    added = [("trxref", transaction.reference), ("reference", transaction.reference)]
    return urlunsplit(parts._replace(query=urlencode(parse_qsl(parts.query, keep_blank_values=True) + added)))


def _object(metadata: Any) -> Mapping[str, Any]:
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            return {}
    return metadata if isinstance(metadata, dict) else {}


def _page(transaction: Transaction, merchant: str) -> Response:
    amount = html.escape(shown(transaction.amount, transaction.currency))
    heading = "This payment has been made" if transaction.paid else f"Pay {html.escape(merchant)}"
    content = _PAGE.substitute(
        title=f"{heading} · {amount}",
        heading=heading,
        amount=amount,
        merchant=html.escape(merchant),
        email=html.escape(transaction.customer.email),
        reference=html.escape(transaction.reference),
        action=_link_back(transaction) if transaction.paid else Template(_CHOICES).substitute(amount=amount),
    )
    return HTMLResponse(content, headers=_HEADERS)


def _link_back(transaction: Transaction) -> str:
    back = _way_back(transaction, abandoned=False)
    if back is None:
        return "<p>You can close this page.</p>"
    return f'<a class="button main" href="{html.escape(back)}">Back to the merchant</a>'
