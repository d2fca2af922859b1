"""The service: every route on one screen."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse

from core.assembly import Assembly, assemble
from core.errors import RefusedError, TransientError
from core.logs import get_logger
from core.settings import Settings
from webhook import answers
from webhook.routes import admin, checkout, health, keys, metrics, paystack, purchases, receipt, status, sync
from webhook.services import Background, Services
from webhook.tokens import TokenVerifier

log = get_logger()


def build_app(settings: Settings) -> FastAPI:
    """The application; its clients are made when it starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings) as parts:
            await _check_installation(app, parts)
            app.state.services = Services(parts, TokenVerifier(settings, parts.supabase), Background())
            yield
            await app.state.services.background.finish(seconds=settings.litellm_timeout_seconds)

    app = FastAPI(title="Keyfund", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False  # it would send the token to whatever host the caller made up
    app.state.refused = False
    app.include_router(routes())
    answers.install(app)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
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
    """Every route: path, function, method."""
    api = APIRouter()
    for path in ("/webhooks/paystack", "/payment-webhook"):
        # With and without the slash: a redirect would lose the delivery.
        api.add_api_route(path, paystack.receive, methods=["POST"], tags=["paystack"])
        api.add_api_route(f"{path}/", paystack.receive, methods=["POST"], include_in_schema=False)

    api.add_api_route("/api/keys/manage", keys.list_keys, methods=["GET"], tags=["keys"])
    api.add_api_route("/api/keys/manage", keys.create_key, methods=["POST"], status_code=201, tags=["keys"])
    api.add_api_route("/api/keys/manage/{key_id}", keys.change_key, methods=["PATCH"], tags=["keys"])
    api.add_api_route("/api/keys/manage/{key_id}", keys.revoke_key, methods=["DELETE"], tags=["keys"])
    api.add_api_route("/api/keys/sync", sync.list_sync, methods=["GET"], tags=["keys"])
    api.add_api_route("/api/keys/sync", sync.sync_key, methods=["POST"], tags=["keys"])

    api.add_api_route("/api/credits/packages", purchases.list_packages, methods=["GET"], tags=["credits"])
    api.add_api_route(
        "/api/credits/checkout", purchases.buy, methods=["POST"], status_code=201, tags=["credits"]
    )
    api.add_api_route(
        "/api/credits/transactions", purchases.list_transactions, methods=["GET"], tags=["credits"]
    )
    api.add_api_route(
        "/api/credits/transactions/{reference}/receipt",
        receipt.show,
        methods=["GET"],
        tags=["credits"],
        response_class=HTMLResponse,
    )
    api.add_api_route("/checkout/return", checkout.returned, methods=["GET"], tags=["credits"])

    payment = "/api/admin/payments/{reference}"
    api.add_api_route(f"{payment}/retry", admin.retry_payment, methods=["POST"], tags=["administrators"])
    api.add_api_route(f"{payment}/refund", admin.refund_payment, methods=["POST"], tags=["administrators"])

    api.add_api_route("/api/status", status.read, methods=["GET"], tags=["status"])
    api.add_api_route("/metrics", metrics.read, methods=["GET"], include_in_schema=False)
    api.add_api_route("/healthz", health.live, methods=["GET"], tags=["health"])
    api.add_api_route("/readyz", health.ready, methods=["GET"], tags=["health"])
    return api
