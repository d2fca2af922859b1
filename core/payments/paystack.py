"""The one door to Paystack: verify signatures, parse events, call the API."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import stamina

from core.domain.payments import Dispute, Event, Refund, Refunds, Verified
from core.errors import RefusedError, TransientError
from core.http import make_client, retry_after_seconds
from core.metrics import CALL_SECONDS
from core.refusals import refused, unavailable
from core.settings import Settings

Json = dict[str, Any]
SIGNATURE = re.compile(r"[0-9a-f]{128}")
REFERENCE = re.compile(r"[A-Za-z0-9.=-]{1,100}")
WEB_ADDRESS = re.compile(r"https?://[!-~]{1,2000}")
EVENT_NAME = re.compile(r"[a-z0-9_.-]{1,100}")
PAGE_SIZE = 100
AMOUNTS = ("amount", "requested_amount")
UNDER_WAY = ("pending", "processing", "needs-attention")
LARGEST_BIGINT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where the buyer pays."""

    authorization_url: str
    access_code: str


def is_signed(raw: bytes, signature: str | None, secrets: Sequence[str]) -> bool:
    """Whether one of our secret keys signed these very bytes (HMAC-SHA512, lowercase hex).

    The form is checked first: ``compare_digest`` raises on text that is not ASCII.
    """
    if not signature or not SIGNATURE.fullmatch(signature):
        return False
    expected = [hmac.new(secret.encode(), raw, hashlib.sha512).hexdigest() for secret in secrets if secret]
    return any(hmac.compare_digest(one, signature) for one in expected)


def parse_event(raw: bytes) -> Event:
    """Read a delivery.

    Raises:
        RefusedError: it is not a JSON object with an event name; Paystack never sends such a thing.
    """
    try:
        text = raw.decode("utf-8")
        document = json.loads(text, parse_float=str, parse_constant=_refuse_constant)
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise refused("invalid_body") from None
    name = document.get("event") if isinstance(document, dict) else None
    if not isinstance(name, str) or not EVENT_NAME.fullmatch(name):
        raise refused("invalid_event")
    return Event(
        name=name,
        reference=_reference_of(document.get("data")),
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
        body=text,
    )


def _refuse_constant(constant: str) -> str:
    raise ValueError(f"{constant} is not JSON")


def _reference_of(data: object) -> str | None:
    """The payment an event is about: charges, refunds and disputes name it in three different places."""
    if not isinstance(data, Mapping):
        return None
    transaction = data.get("transaction")
    candidates = (
        data.get("reference"),
        data.get("transaction_reference"),
        transaction.get("reference") if isinstance(transaction, Mapping) else None,
    )
    return next((one for one in candidates if isinstance(one, str) and REFERENCE.fullmatch(one)), None)


class Paystack:
    """Calls Paystack's API with the first of our secret keys.

    All methods raise TransientError (not reachable, 5xx, 408, 429, an answer that cannot be read, a key
    that is not accepted) or RefusedError.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self._base_url = settings.paystack_base_url
        self._headers = {"Authorization": f"Bearer {settings.paystack_secrets[0]}"}
        self._timeout_seconds = settings.paystack_timeout_seconds
        self._client = client

    async def initialize(
        self, *, reference: str, email: str, amount_subunits: int, currency: str, callback_url: str | None
    ) -> Checkout:
        """Open a checkout.

        Raises:
            TransientError: with ``outcome_unknown`` it may have been opened: try under a new reference.
            RefusedError: Paystack will not open it.
        """
        body = {"reference": reference, "email": email, "amount": amount_subunits, "currency": currency}
        if callback_url is not None:
            body["callback_url"] = callback_url
        data = await self._send("POST", "/transaction/initialize", json=body)
        url, code = data.get("authorization_url"), data.get("access_code")
        if not isinstance(url, str) or not WEB_ADDRESS.fullmatch(url) or not isinstance(code, str):
            raise _unreadable()  # pages make a link of it: it must not run anything there
        return Checkout(authorization_url=url, access_code=code)

    async def verify(self, reference: str) -> Verified | None:
        """What Paystack knows of a reference; None when it has never heard of it."""
        async for attempt in stamina.retry_context(
            on=TransientError, attempts=3, timeout=self._timeout_seconds, wait_initial=0.2, wait_max=2.0
        ):
            with attempt:
                try:
                    data = await self._send("GET", f"/transaction/verify/{quote(reference, safe='')}")
                except RefusedError as refusal:
                    # 404 by the documentation, 400 as seen in the field.
                    if refusal.code == "paystack_transaction_not_found" or refusal.vendor_status == 404:
                        return None
                    raise
                if data.get("reference") != reference:
                    raise _unreadable()  # an answer about something else is none
                return _verified(data)
        raise AssertionError("stamina always returns or raises")

    async def sum_refunds(self, provider_id: int, disputes: Sequence[Dispute] = ()) -> Refunds:
        """A transaction's refunds, asked for by Paystack's numeric id; ``disputes`` are those it has."""
        ids, refunds = {one.id for one in disputes}, Refunds()
        async for one in self._list("/refund", {"transaction": str(provider_id)}):
            if _transaction_id(one) == provider_id:
                refunds = refunds.plus(_refund(one), ids)
        return refunds

    async def list_disputes(self, provider_id: int) -> list[Dispute]:
        """All disputes of a transaction."""
        return [_dispute(one) async for one in self._list("/dispute", {"transaction": str(provider_id)})]

    async def walk_paid(self, since: datetime) -> AsyncIterator[str]:
        """References of transactions that succeeded since then, ours or not."""
        async for one in self._list("/transaction", {"status": "success", "from": since.isoformat()}):
            if isinstance(one.get("reference"), str):
                yield one["reference"]

    async def walk_payments(self, since: datetime, until: datetime) -> AsyncIterator[Verified]:
        """Transactions of that time that were paid, ours or not; given back since, too."""
        window = {"from": since.isoformat(), "to": until.isoformat()}
        async for one in self._list("/transaction", window):
            if one.get("status") in ("success", "reversed"):
                yield _verified(one)

    async def refund(self, provider_id: int, amount_subunits: int | None) -> None:
        """Give back so much of a payment; None: all of it. Paystack refuses to give back more than was paid.

        Raises:
            TransientError: with ``outcome_unknown`` it may be under way: look before repeating.
        """
        amount = {} if amount_subunits is None else {"amount": amount_subunits}
        await self._send("POST", "/refund", json={"transaction": provider_id, **amount})

    async def has_refunds_under_way(self, provider_id: int) -> bool:
        """Whether Paystack works on a refund of this transaction."""
        return (await self.sum_refunds(provider_id)).under_way > 0

    async def read_refunds(self, since: datetime, disputes: Sequence[Dispute] = ()) -> dict[int, Refunds]:
        """Refunds since then, by Paystack's transaction id; ``disputes`` are those of the same time."""
        ids, sums = {one.id for one in disputes}, dict[int, Refunds]()
        async for one in self._list("/refund", {"from": since.isoformat()}):
            provider_id = _transaction_id(one)
            if provider_id is not None:
                sums[provider_id] = sums.get(provider_id, Refunds()).plus(_refund(one), ids)
        return sums

    async def read_disputes(self, since: datetime) -> list[Dispute]:
        """Disputes since then."""
        return [_dispute(one) async for one in self._list("/dispute", {"from": since.isoformat()})]

    async def _list(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        """All rows of a listing, page by page. Pages shift while one reads: windows overlap for that."""
        page = 1
        while True:
            body = await self._request(
                "GET", path, params={**params, "perPage": str(PAGE_SIZE), "page": str(page)}
            )
            rows = body.get("data")
            if not isinstance(rows, list):
                raise _unreadable()
            for row in rows:
                if isinstance(row, dict):
                    yield row
            if len(rows) < PAGE_SIZE:
                return
            page += 1

    async def _send(self, method: str, path: str, **request: Any) -> Json:
        data = (await self._request(method, path, **request)).get("data")
        if not isinstance(data, dict):
            raise _unreadable()
        return data

    async def _request(self, method: str, path: str, **request: Any) -> Json:
        began = time.monotonic()
        outcome = "failed"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.request(
                    method, f"{self._base_url}{path}", headers=self._headers, **request
                )
            outcome = f"{response.status_code // 100}xx"
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise unavailable("paystack_unreachable") from None
        except (httpx.TransportError, TimeoutError):
            raise unavailable("paystack_no_answer", outcome_unknown=True) from None
        finally:
            CALL_SECONDS.labels("paystack", outcome).observe(time.monotonic() - began)
        return _read_answer(response)


def make_paystack_client(settings: Settings) -> httpx.AsyncClient:
    return make_client(timeout_seconds=settings.paystack_timeout_seconds)


def _read_answer(response: httpx.Response) -> Json:
    status = response.status_code
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success:
        if not isinstance(body, dict) or body.get("status") is not True:
            raise _unreadable()
        return body
    if status == httpx.codes.UNAUTHORIZED:
        raise unavailable("paystack_unauthorised")
    if status in (408, 429) or status >= 500 or status < 400:
        raise unavailable(
            "paystack_failed",
            status,
            outcome_unknown=status != 429,
            retry_after_seconds=retry_after_seconds(response),
        )
    code = body.get("code") if isinstance(body, dict) else None
    if code in ("transaction_not_found", "duplicate_reference"):
        raise refused(f"paystack_{code}", vendor_status=status)
    raise refused("paystack_refused", status, vendor_status=status)


def _unreadable() -> TransientError:
    return unavailable("paystack_unreadable", outcome_unknown=True)


def _verified(data: Json) -> Verified:
    return Verified(
        reference=str(data.get("reference")),
        status=str(data.get("status")),
        provider_id=_integer(data.get("id")),
        amount_subunits=_integer(data.get("amount")),
        requested_subunits=_integer(data.get("requested_amount")),
        currency=data.get("currency") if isinstance(data.get("currency"), str) else None,
        domain=data.get("domain") if isinstance(data.get("domain"), str) else None,
        paid_at=_time(data.get("paid_at") or data.get("paidAt")),
        fees_subunits=_integer(data.get("fees")),
        complete=all(data.get(name) is None or _integer(data[name]) is not None for name in AMOUNTS),
    )


def _refund(refund: Json) -> Refund:
    dispute = refund.get("dispute")
    return Refund(
        subunits=_integer(refund.get("amount")) or 0,
        processed=refund.get("status") == "processed",
        under_way=refund.get("status") in UNDER_WAY,
        dispute_id=_integer(dispute.get("id") if isinstance(dispute, Mapping) else dispute),
        refunded_at=_time(refund.get("refunded_at")),
    )


def _transaction_id(refund: Json) -> int | None:
    """Paystack's numeric id of the refunded transaction: an int in lists, an object in some answers."""
    transaction = refund.get("transaction")
    return _integer(transaction.get("id") if isinstance(transaction, Mapping) else transaction)


def _dispute(data: Json) -> Dispute:
    identity = _integer(data.get("id"))
    if identity is None:
        raise _unreadable()
    resolution = data.get("resolution")
    return Dispute(
        id=identity,
        reference=_reference_of(data),
        resolved=data.get("status") == "resolved",
        resolution=resolution if isinstance(resolution, str) else None,
        refund_subunits=_integer(data.get("refund_amount")),
    )


def _integer(value: object) -> int | None:
    """A count of subunits or an id; anything else, floats above all, is not one."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_BIGINT:
        return value
    return None


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None
