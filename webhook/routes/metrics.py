"""Prometheus metrics, for the operator alone."""

import hmac
import math

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from core.errors import TransientError
from core.refusals import refused
from webhook.services import ServicesHere

BACKLOG = Gauge("keyfund_backlog", "What is not finished yet.", ["kind"])
OLDEST = Gauge(
    "keyfund_backlog_oldest_seconds", "How long the oldest that goes by itself has waited, in seconds."
)
ANSWERS = Gauge("keyfund_litellm_answers", "1 while LiteLLM answers, as all processes see it.")
DIFFERENCES = Gauge(
    "keyfund_reconciliation_differences",
    "What did not agree when all books were last compared, by check; NaN: not compared.",
    ["check"],
)
RECONCILED = Gauge(
    "keyfund_reconciled_timestamp_seconds", "When all books were last compared, as Unix time; NaN: never."
)
DRIFT = Gauge(
    "keyfund_drift",
    "What LiteLLM held otherwise than wanted when all keys were last compared, by kind.",
    ["kind"],
)
DRIFT_COMPARED = Gauge(
    "keyfund_drift_compared_timestamp_seconds",
    "When all keys were last compared with LiteLLM, as Unix time; NaN: never.",
)
DATABASE = Gauge("keyfund_database_answers", "1 while Supabase answers.")


async def read(request: Request, services: ServicesHere) -> Response:
    """All metrics of this process, and the backlog; with ``Authorization: Bearer`` METRICS_TOKEN."""
    token = services.parts.settings.metrics_token
    if token is None:
        raise refused("not_found")
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise refused("metrics_token_missing")
    await _measure(services)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _measure(services: ServicesHere) -> None:
    try:
        status = await services.parts.store.read_status()
    except TransientError:
        DATABASE.set(0)
        return
    DATABASE.set(1)
    ANSWERS.set(bool(status["litellm_answers"]))
    OLDEST.set(status["oldest_seconds"])
    for kind in ("accounts", "keys", "events", "parked"):
        BACKLOG.labels(kind).set(status[kind])
    RECONCILED.set(status["reconciled_at"] or math.nan)
    for check, tally in (status["reconciliation"] or {}).items():
        DIFFERENCES.labels(check).set(math.nan if tally["skipped"] else tally["differences"])
    DRIFT_COMPARED.set(status["drift_compared_at"] or math.nan)
    for kind, count in (status["drift"] or {}).items():
        DRIFT.labels(kind).set(count)
