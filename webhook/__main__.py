"""``python -m webhook``: serve until told to stop."""

import argparse
import sys

import uvicorn

from core.errors import SettingsError
from core.logs import configure_logs
from core.settings import read_settings
from webhook.app import build_app
from webhook.connections import BACKLOG, Connection, raise_limit

DESCRIPTION = "Serves the HTTP API, Paystack's webhooks and the dashboard until it is told to stop."


def main() -> int:
    argparse.ArgumentParser(prog="python -m webhook", description=DESCRIPTION).parse_args()
    return run()


def run() -> int:
    try:
        settings = read_settings()
    except SettingsError as error:
        print(f"keyfund webhook: {error.message}", file=sys.stderr)  # noqa: T201 (before there are logs)
        return 2
    configure_logs(settings.log_level, "webhook")
    Connection.most = raise_limit() // 2
    app = build_app(settings)
    uvicorn.run(
        app,
        host=settings.webhook_host,
        port=settings.webhook_port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=Connection,
        backlog=BACKLOG,
        timeout_graceful_shutdown=30,
    )
    return 2 if app.state.refused else 0


if __name__ == "__main__":
    sys.exit(main())
