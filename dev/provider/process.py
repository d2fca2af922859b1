"""The provider as a process of the stack."""

import sys
from pathlib import Path
from typing import Final

import httpx

from dev.part import Part

KEY: Final = "PROVIDER_API_KEY"
PORT: Final = "PROVIDER_PORT"


def env(url: str, key: str) -> dict[str, str]:
    """What LiteLLM is told of the provider.

    The models of its configuration need the first two. The others are what an operator's LiteLLM commonly
    has: with them its routes for files, batches and the like, and its pass-through, reach the provider.
    """
    return {
        "PROVIDER_BASE_URL": url,
        KEY: key,
        "OPENAI_API_KEY": key,
        "OPENAI_API_BASE": f"{url}/v1",
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_API_BASE": url,
        "AZURE_API_KEY": key,
        "AZURE_API_BASE": url,
        "COHERE_API_KEY": key,
        "COHERE_API_BASE": url,
    }


def part(*, port: int, key: str) -> Part:
    """What the supervisor runs: `python -m dev.provider`, on this machine only."""
    url = f"http://127.0.0.1:{port}"
    return Part(
        name="provider",
        argv=[sys.executable, "-m", "dev.provider"],
        url=url,
        ready=lambda: _ready(url),
        env={KEY: key, PORT: str(port)},
        cwd=Path(__file__).parents[2],
        ready_timeout_seconds=30,
    )


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sandbox/bill", timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
