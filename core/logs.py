"""Structured logs: one JSON object a line, an event name in each, and no secret in any of them."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from stamina import instrumentation

SECRETS = re.compile(
    r"sk-[A-Za-z0-9_-]{6,}"  # LiteLLM keys, the master key among them
    r"|sk_(?:test|live)_[A-Za-z0-9]+"  # Paystack
    r"|sb_(?:secret|publishable)_[A-Za-z0-9_-]+"  # Supabase
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # JSON Web Tokens
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # passwords in URLs
    r"|AUTH_[A-Za-z0-9]{6,}"  # Paystack's reusable card authorisations
)
HIDDEN = "[hidden]"
# What libraries say at "info" is one line for each request that we log ourselves.
QUIET = ("httpx", "httpcore", "uvicorn.access")


def redact(value: Any) -> Any:
    """Hide secrets anywhere in a value that is about to be written."""
    if isinstance(value, str):
        return SECRETS.sub(HIDDEN, value)
    if isinstance(value, Mapping):
        return {key: redact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact(inner) for inner in value]
    return value


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(value) for key, value in event.items()}


def configure_logs(level: str, process: str) -> None:
    """Send our own and all libraries' logs to standard error, as JSON, with secrets hidden."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                # Last but one: what came out of a traceback is text by now.
                _redact_event,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # The lines for repetitions name neither call nor account; how a call ended is logged by who made it.
    instrumentation.set_on_retry_hooks([instrumentation.PrometheusOnRetryHook])
    # A tick that comes while its job still runs is no event: the job goes on until it finds nothing.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def get_logger() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger
