"""The product's own two processes, run as in production: settings come from the environment alone."""

import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from dev.part import Part


def webhook(root: Path, *, port: int, settings: Mapping[str, str]) -> Part:
    own = {"WEBHOOK_HOST": "127.0.0.1", "WEBHOOK_PORT": str(port)}
    return service(root, "webhook", port, {**settings, **own})


def worker(root: Path, *, port: int, settings: Mapping[str, str]) -> Part:
    return service(root, "worker", port, {**settings, "WORKER_METRICS_PORT": str(port)})


def service(root: Path, name: str, port: int, env: dict[str, str]) -> Part:
    url = f"http://127.0.0.1:{port}"
    return Part(
        name=name,
        argv=[sys.executable, "-m", name],
        url=url,
        ready=lambda: healthy(f"{url}/healthz"),
        env=env,
        cwd=root,
        ready_timeout_seconds=60,
    )


def healthy(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 (our own http address)
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
