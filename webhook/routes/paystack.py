"""Paystack's events: signature over the raw bytes, into the inbox, 200. What they mean comes later."""

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from core.logs import get_logger
from core.metrics import DELIVERIES
from core.payments.paystack import is_signed, parse_event
from core.refusals import refused, switched_off
from webhook.services import ServicesHere

log = get_logger()


class Received(BaseModel):
    received: bool = True


async def receive(request: Request, services: ServicesHere) -> Received:
    """Take a signed event. 200 only once it is stored: anything else makes Paystack send it again."""
    secrets = services.parts.settings.paystack_secrets
    if not secrets:
        # An unset secret closes the door: an empty key could be forged by anyone.
        raise switched_off("paystack_not_configured")
    raw = await _read_body(request)
    if not is_signed(raw, request.headers.get("x-paystack-signature"), secrets):
        log.warning("webhook.bad_signature", bytes=len(raw))
        DELIVERIES.labels("bad_signature").inc()
        raise refused("bad_signature")
    event = parse_event(raw)
    with services.background.place() as is_free:
        # Without a lease it is due at once, for the worker.
        lease_seconds = services.parts.settings.lease_seconds if is_free else 0
        claimed = await services.inbox.receive(event, lease_seconds)
        if claimed is not None and is_free:
            services.background.start(services.settler.handle_event(claimed))
    DELIVERIES.labels("repeated" if claimed is None else "stored").inc()
    log.info("webhook.received", name=event.name, reference=event.reference, repetition=claimed is None)
    return Received()


async def _read_body(request: Request) -> bytes:
    """The raw bytes, as signed."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise refused("incomplete_body") from None
