"""LiteLLM's real proxy, with keys, budgets and spend in Postgres, from PyPI and npm alone."""

from dev.litellm.proxy import Proxy, part
from dev.litellm.release import Release, environment, install, lock_file, releases
from dev.litellm.schema import prepare

__all__ = ["Proxy", "Release", "environment", "install", "lock_file", "part", "prepare", "releases"]
