"""Reconciliation: Paystack, transactions, ledger, credits, wallets and usage, compared to the last unit.

It changes nothing but usage that LiteLLM shows and nobody has booked yet. Whatever differs at the first sight
is looked at once more on both sides, so that money on its way is not taken for money lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.domain.books import Book, Check, Difference, PaidBook, Report, Tally, compare_account
from core.domain.payments import Dispute, Provider, Refunds, Verified
from core.domain.pushes import Spender
from core.errors import KeyfundError, RefusedError
from core.flows.holders import Holders
from core.gateways.litellm import LiteLLM
from core.payments.paystack import Paystack
from core.store import ServiceStore
from core.store.books import OpenBooks

ON_ITS_WAY = timedelta(minutes=15)
LOST = ("merchant-accepted", "auto-accepted")
AT_ONCE = 8
Progress = Callable[[str], None]


def _silent(_text: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares everything; ``litellm`` and ``paystack`` are None where they are not configured."""

    store: ServiceStore
    litellm: LiteLLM | None
    paystack: Paystack | None

    async def reconcile(self, since: timedelta, progress: Progress = _silent) -> Report:
        """Compare all accounts, and all payments of orders made since then.

        Raises:
            KeyfundError: the database could not be read to the end. LiteLLM or Paystack being away is said in
                the report.
        """
        opened = await self.store.open_books()
        report = Report(opened.at)
        await self._compare_payments(report, opened.at - since, opened.at, progress)
        await self._compare_accounts(report, opened, progress)
        return report

    # --------------------------------------------------------------- payments

    async def _compare_payments(
        self, report: Report, since: datetime, until: datetime, progress: Progress
    ) -> None:
        tally = report.tallies[Check.PAYSTACK]
        if self.paystack is None:
            tally.absent = True
            return
        try:
            theirs = await self._read_paystack(self.paystack, since, until, progress)
            suspects = await self._match_payments(report, theirs, since, until)
            for reference in suspects:
                await self._look_again(self.paystack, report, reference)
        except KeyfundError as error:
            tally.skipped = _not_of("paystack", error)

    async def _read_paystack(
        self, paystack: Paystack, since: datetime, until: datetime, progress: Progress
    ) -> dict[str, PaidBook]:
        paid: dict[str, Verified] = {}
        async for one in paystack.walk_payments(since, until):
            paid[one.reference] = one
            if len(paid) % 1000 == 0:
                progress(f"{len(paid)} payments read from Paystack")
        listed = await paystack.read_disputes(since)
        refunds = await paystack.read_refunds(since, listed)
        disputes: dict[str | None, list[Dispute]] = {}
        for dispute in listed:
            disputes.setdefault(dispute.reference, []).append(dispute)
        return {
            reference: _their_book(
                one, refunds.get(one.provider_id or -1, Refunds()), disputes.get(reference, [])
            )
            for reference, one in paid.items()
        }

    async def _match_payments(
        self, report: Report, theirs: dict[str, PaidBook], since: datetime, until: datetime
    ) -> list[str]:
        """Count what agrees, and return the references of what does not at the first sight."""
        tally = report.tallies[Check.PAYSTACK]
        named = await self.store.list_paid(Provider.PAYSTACK, since, until)
        ours = await self.store.read_payments(sorted({*theirs, *named}))
        for reference in theirs.keys() - ours.keys():
            _add(report.others, theirs[reference].currency, theirs[reference].paid)
            report.others_count += 1
        suspects = []
        for reference, held in sorted(ours.items()):
            seen = theirs.get(reference)
            if seen is not None and seen.amounts == held.amounts:
                _agree(tally, held)
            else:
                suspects.append(reference)
        return suspects

    async def _look_again(self, paystack: Paystack, report: Report, reference: str) -> None:
        """Ask Paystack about this one payment, then the database, in this order: ours may only be newer."""
        tally = report.tallies[Check.PAYSTACK]
        verified = await paystack.verify(reference)
        seen = PaidBook(reference, None, None, status=verified.status if verified else "unknown")
        if verified is not None and verified.status in ("success", "reversed"):
            refunds = await paystack.sum_refunds(verified.provider_id) if verified.provider_id else Refunds()
            listed = await paystack.list_disputes(verified.provider_id) if verified.provider_id else []
            disputes = [one for one in listed if one.reference in (None, reference)]
            seen = _their_book(verified, refunds, disputes)
        held = (await self.store.read_payments([reference]))[reference]
        if held.paid is None and (seen.paid is None or seen.status == "reversed"):
            return  # nothing was credited, and Paystack keeps nothing
        if held.amounts == seen.amounts:
            _agree(tally, held)
        elif held.paid is None and _is_fresh(verified, report.began_at):
            tally.waiting += 1
        else:
            tally.compared += 1
            report.add(Difference(Check.PAYSTACK, f"payment {reference}", str(held), f"{seen} at Paystack"))

    # --------------------------------------------------------------- accounts

    async def _compare_accounts(self, report: Report, opened: OpenBooks, progress: Progress) -> None:
        seen = 0
        with Holders() as holders:
            is_known = await self._read_litellm(report, opened, holders)
            async for books in self.store.walk_books(opened):
                for book in books:
                    report.tallies[Check.CREDITS].compared += 1
                    report.tallies[Check.LEDGER].compared += book.payments
                    for difference in book.differences:
                        report.add(difference)
                if is_known:
                    await self._compare_wallets(report, books, holders, opened.credit_micros)
                seen += len(books)
                progress(f"{seen} of {opened.accounts} accounts compared")

    async def _read_litellm(self, report: Report, opened: OpenBooks, holders: Holders) -> bool:
        """Keep all who have keys in LiteLLM, their spend booked on the way; False: it could not be read."""
        wallet, usage = report.tallies[Check.WALLET], report.tallies[Check.USAGE]
        if self.litellm is None:
            wallet.absent = usage.absent = True
            return False
        try:
            async for page in self.litellm.walk_keys():
                await self.store.settle_usage(opened.at, page.spenders)
                holders.put(page.spenders)
        except KeyfundError as error:
            wallet.skipped = usage.skipped = _not_of("litellm", error)
            return False
        return True

    async def _compare_wallets(
        self, report: Report, books: Sequence[Book], holders: Holders, credit_micros: int
    ) -> None:
        suspects = []
        for book in books:
            if not book.confirmed and not book.parked:
                report.tallies[Check.WALLET].waiting += book.outstanding
            elif compare_account(book, holders.get(book.user_id), credit_micros):
                suspects.append(book.user_id)
            else:
                _count_account(report, book)
        for start in range(0, len(suspects), AT_ONCE):
            some = suspects[start : start + AT_ONCE]
            await asyncio.gather(*(self._look_at_account(report, one, credit_micros) for one in some))

    async def _look_at_account(self, report: Report, user_id: str, credit_micros: int) -> None:
        """Ask LiteLLM, book what is new, then ask the database; twice, should it change in between."""
        assert self.litellm is not None  # noqa: S101 (there would be no suspects)
        try:
            for _ in range(2):
                asked_at = (await self.store.open_books()).at
                user = await self.litellm.read_user(user_id)
                if user is not None:
                    await self.store.settle_usage(asked_at, [Spender(user_id, user)])
                book = await self.store.read_book(user_id)
                found = compare_account(book, user, credit_micros)
                if not found:
                    break
        except KeyfundError as error:
            reason = _not_of("litellm", error)
            report.tallies[Check.WALLET].skipped = report.tallies[Check.USAGE].skipped = reason
            return
        _count_account(report, book)
        for difference in found:
            report.add(difference)


def _not_of(gateway: str, error: KeyfundError) -> str:
    """Why a gateway could not be asked; whatever else went wrong ends the reconciliation."""
    if isinstance(error, RefusedError) and not error.code.startswith(gateway):
        raise error
    return error.message


def _count_account(report: Report, book: Book) -> None:
    report.tallies[Check.USAGE].compared += 1
    if book.pushed:
        report.tallies[Check.WALLET].compared += 1
    else:
        report.tallies[Check.WALLET].waiting += 1


def _their_book(verified: Verified, refunds: Refunds, disputes: Sequence[Dispute]) -> PaidBook:
    paid = verified.amount_subunits or 0
    disputed = 0
    for dispute in disputes:
        if not dispute.resolved:
            disputed += paid
        elif dispute.resolution in LOST:
            disputed += paid if dispute.refund_subunits is None else dispute.refund_subunits
    return PaidBook(verified.reference, verified.currency, paid, refunds.processed, disputed, verified.status)


def _is_fresh(verified: Verified | None, now: datetime) -> bool:
    """Paid so recently that its webhook, or the sweep, may well be on the way."""
    return verified is not None and verified.paid_at is not None and now - verified.paid_at < ON_ITS_WAY


def _agree(tally: Tally, held: PaidBook) -> None:
    tally.compared += 1
    _add(tally.totals, held.currency, (held.paid or 0) - held.refunded)


def _add(totals: dict[str, int], currency: str | None, amount: int | None) -> None:
    name = currency or "?"
    totals[name] = totals.get(name, 0) + (amount or 0)
