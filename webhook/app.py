"""The service: every route on one screen."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse

from core.assembly import Assembly, assemble
from core.domain.payments import Provider
from core.errors import RefusedError, TransientError
from core.logs import get_logger
from core.settings import Settings
from webhook import answers, documents, headers
from webhook.connections import quiet_exhaustion
from webhook.inbox import Inbox
from webhook.limits import RateLimits
from webhook.routes import (
    admin,
    balance,
    checkout,
    dashboard,
    health,
    keys,
    metrics,
    paystack,
    purchases,
    receipt,
    resync,
    status,
    sync,
    usage,
)
from webhook.services import Background, Services
from webhook.strict import refuse_unknown
from webhook.tokens import TokenVerifier

log = get_logger()


def build_app(settings: Settings) -> FastAPI:
    """The application; its clients are made when it starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        quiet_exhaustion(asyncio.get_running_loop())
        async with assemble(settings) as parts:
            await _check_installation(app, parts)
            app.state.services = Services(
                parts,
                TokenVerifier(settings, parts.supabase),
                Background(),
                Inbox(parts.store, Provider.PAYSTACK),
            )
            yield
            await app.state.services.background.finish(seconds=settings.litellm_timeout_seconds)

    app = documents.Described(
        title="Keyfund",
        version="1",
        summary="Prepaid LiteLLM keys for the people of a Supabase project.",
        openapi_tags=documents.TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.router.redirect_slashes = False  # it would send the token to whatever host the caller made up
    app.state.refused = False
    app.include_router(routes())
    if settings.api_rate_per_minute:
        app.add_middleware(RateLimits, per_minute=settings.api_rate_per_minute)
    if settings.include_cost_headers:
        headers.install(app)
    answers.install(app)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["retry-after", *(headers.ALL if settings.include_cost_headers else ())],
        )
    return app


async def _check_installation(app: FastAPI, parts: Assembly) -> None:
    """Refuse to start where credits are counted differently; a database that is away is waited for."""
    try:
        await parts.store.check_installation(parts.settings.credit_value_cents)
    except TransientError:
        log.warning("webhook.database_away")
    except RefusedError as error:
        log.error("webhook.refused", error=str(error))
        app.state.refused = True
        signal.raise_signal(signal.SIGTERM)  # uvicorn then ends in order, without a traceback


def routes() -> APIRouter:
    """Every route: method, path, function, tag."""
    api = APIRouter()

    def add(
        method: str, path: str, answer: Callable[..., Any], tag: str, status: int = 200, **more: Any
    ) -> None:
        described = documents.DOCUMENTS[f"{method} {path}"].options()
        api.add_api_route(path, answer, methods=[method], tags=[tag], status_code=status, **described, **more)

    def add_open(path: str, answer: Callable[..., Any], tag: str, **more: Any) -> None:
        """What anybody may read: HEAD is answered as GET is."""
        add("GET", path, answer, tag, **more)
        api.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, **more)

    strict = [Depends(refuse_unknown)]  # where there is a caller, the check comes after theirs

    for path in ("/webhooks/paystack", "/payment-webhook"):
        # With and without the slash: a redirect would lose the delivery.
        add("POST", path, paystack.receive, "paystack")
        api.add_api_route(f"{path}/", paystack.receive, methods=["POST"], include_in_schema=False)

    add("GET", "/api/keys/manage", keys.list_keys, "keys")
    add("POST", "/api/keys/manage", keys.create_key, "keys", 201)
    add("PATCH", "/api/keys/manage/{key_id}", keys.change_key, "keys")
    add("DELETE", "/api/keys/manage/{key_id}", keys.revoke_key, "keys")
    add("POST", "/api/keys/manage/{key_id}/rotate", keys.rotate_key, "keys")
    add("GET", "/api/keys/sync", sync.list_sync, "keys")
    add("POST", "/api/keys/sync", sync.sync_key, "keys")

    payments = "/api/credits/transactions"
    add("GET", "/api/credits/balance", balance.read, "credits")
    add("GET", "/api/credits/packages", purchases.list_packages, "credits")
    add("POST", "/api/credits/checkout", purchases.buy, "credits", 201)
    add("GET", payments, purchases.list_transactions, "credits")
    add("GET", f"{payments}/{{reference}}/receipt", receipt.show, "credits", response_class=HTMLResponse)
    add_open("/checkout/return", checkout.returned, "credits", response_class=HTMLResponse)

    add("GET", "/api/analytics/usage", usage.show, "usage", response_model=usage.Usage)
    add("POST", "/api/usage/estimate", usage.estimate, "usage")
    add("GET", "/api/usage/models", usage.list_models, "usage")

    payment = "/api/admin/payments/{reference}"
    add("POST", f"{payment}/retry", admin.retry_payment, "administrators")
    add("POST", f"{payment}/refund", admin.refund_payment, "administrators")
    add("POST", "/api/admin/resync", resync.start, "administrators")
    add("GET", "/api/admin/resync", resync.read, "administrators")

    # A page for people, not a part of the API that /openapi.json describes.
    for path, answer in (
        ("/analytics", dashboard.show),
        ("/analytics/", dashboard.show),
        ("/analytics/config.json", dashboard.read_config),
        ("/analytics/assets/{name}", dashboard.show_asset),
    ):
        api.add_api_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)

    add("GET", "/api/status", status.read, "status")
    api.add_api_route("/metrics", metrics.read, methods=["GET"], include_in_schema=False, dependencies=strict)
    add_open("/healthz", health.live, "health", dependencies=strict)
    add_open("/readyz", health.ready, "health", dependencies=strict)
    return api
