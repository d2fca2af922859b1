"""A LiteLLM proxy as a part of the stack: which release, with or without the guard, how many workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dev.litellm import config
from dev.litellm.release import ENGINE, HERE, Release, environment, node_first
from dev.part import Part

START_SECONDS = 120
"""How long a worker may take to start; several start at once and share the machine."""


@dataclass(frozen=True)
class Proxy:
    """How a stack's LiteLLM is set up.

    One worker holds at the next call what it is told about a key; several share what they know by ``redis``
    only. ``settings`` are merged into the configuration last: ``{"general_settings": {…}}``.
    """

    release: Release = "pinned"
    guard: bool = True
    workers: int = 1
    redis: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def part(
    root: Path,
    *,
    database_url: str,
    port: int,
    master_key: str,
    home: Path,
    proxy: Proxy | None = None,
    env: Mapping[str, str] | None = None,
) -> Part:
    """The proxy on 127.0.0.1; its configuration is written into ``home``.

    ``env`` is what the configuration names by ``os.environ/…``, such as the provider's address.
    """
    proxy = proxy or Proxy()
    url = f"http://127.0.0.1:{port}"
    guard = root / "guard" / "keyfund_guard.py" if proxy.guard else None
    file = config.write(home, guard=guard, redis=proxy.redis, settings=proxy.settings)
    python = str(environment(root, proxy.release) / "bin" / "python")
    address = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    seconds = START_SECONDS * proxy.workers
    # Uvicorn ends a worker that is silent for 5 s; importing LiteLLM takes longer than that.
    workers = ["--num_workers", str(proxy.workers), "--timeout_worker_healthcheck", str(seconds)]
    return Part(
        name="litellm",
        argv=[python, "-P", str(HERE / "serve.py"), *address, *workers],
        url=url,
        ready=lambda: _answers(url, master_key),
        env={
            **(env or {}),
            "PATH": node_first(),
            "DATABASE_URL": database_url,
            "LITELLM_MASTER_KEY": master_key,
            "LITELLM_MODE": "PRODUCTION",  # or it reads the .env of the folders above its own, which is ours
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it asks GitHub for prices
            "DISABLE_SCHEMA_UPDATE": "true",  # `prepare` has applied the migrations
            # It compares the schema all the same, with a Prisma that npm would download: time that out.
            "LITELLM_PRISMA_COMMAND_TIMEOUT": "0.01",
            "PRISMA_QUERY_ENGINE_BINARY": str(ENGINE),
        },
        cwd=HERE,
        ready_timeout_seconds=seconds,
    )


def _answers(url: str, master_key: str) -> bool:
    """Whether the proxy is up with its database, and is ours: one left over wouldn't know the master key."""
    try:
        readiness = httpx.get(f"{url}/health/readiness", timeout=2)
        if readiness.status_code != 200 or readiness.json().get("db") != "connected":
            return False
        models = httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {master_key}"}, timeout=2)
    except (httpx.HTTPError, ValueError, AttributeError):
        return False
    return models.status_code == 200
