"""Serves the provider on 127.0.0.1 until it is told to stop."""

import os

import uvicorn

from dev.provider.app import create_app
from dev.provider.desk import Desk
from dev.provider.process import KEY, PORT


def main() -> None:
    """Read the environment, serve."""
    app = create_app(Desk(os.environ[KEY]))
    port = int(os.environ[PORT])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
