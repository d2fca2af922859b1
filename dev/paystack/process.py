"""The sandbox as a process of the stack."""

import sys
from pathlib import Path

import httpx

from dev.part import Part
from dev.paystack.settings import Settings


def part(
    *,
    port: int,
    secret_key: str,
    webhook_url: str,
    clock_scale: float = Settings.clock_scale,
    state_file: Path | None = None,
) -> Part:
    """What the supervisor runs: `python -m dev.paystack`, on this machine only."""
    settings = Settings(
        secret_key=secret_key,
        webhook_url=webhook_url,
        port=port,
        clock_scale=clock_scale,
        state_file=state_file,
    )
    url = f"http://127.0.0.1:{port}"
    return Part(
        name="paystack",
        argv=[sys.executable, "-m", "dev.paystack"],
        url=url,
        ready=lambda: _ready(url),
        env=settings.to_environment(),
        cwd=Path(__file__).parents[2],
        ready_timeout_seconds=30,
    )


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sandbox", timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
