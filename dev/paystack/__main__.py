"""Serves the sandbox on 127.0.0.1 until it is told to stop."""

import os

import uvicorn

from dev.paystack.app import create_app
from dev.paystack.sandbox import Sandbox
from dev.paystack.settings import Settings


def main() -> None:
    """Read the environment, serve."""
    settings = Settings.from_environment(os.environ)
    app = create_app(Sandbox(settings))
    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
