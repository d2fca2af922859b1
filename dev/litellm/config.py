"""The configuration that a proxy is started with: ``config.yaml``, with what this proxy adds to it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dev.litellm.release import HERE

BASE = HERE / "config.yaml"
CALLBACK = "keyfund_guard.guard"
"""The guard's module and instance. LiteLLM looks for the module beside the configuration file."""

REDIS = {"url": "os.environ/REDIS_URL"}  # kept out of the file, because it has a password

Settings = Mapping[str, Any]


def models() -> list[dict[str, Any]]:
    """The models that a stack serves unless its settings say otherwise."""
    listed: list[dict[str, Any]] = yaml.safe_load(BASE.read_text())["model_list"]
    return listed


def write(folder: Path, *, guard: Path | None, redis: bool, settings: Settings) -> Path:
    """Write the configuration into the folder, and the guard's file beside it; returns the configuration.

    ``settings`` win over all else: mappings are merged, anything else takes the place of what was there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    added: dict[str, Any] = {}
    if guard:
        shutil.copy(guard, folder / f"{CALLBACK.split('.')[0]}.py")
        added["litellm_settings"] = {"callbacks": [CALLBACK]}
    if redis:
        added["general_settings"] = {"coordination_redis": REDIS}
    config = merged(merged(yaml.safe_load(BASE.read_text()), added), settings)
    file = folder / "config.yaml"
    file.write_text(json.dumps(config, indent=2))  # JSON is YAML, and has no anchors
    return file


def merged(base: Settings, added: Settings) -> dict[str, Any]:
    """Both, deeply where both have a mapping; otherwise what was added wins."""
    both = dict(base)
    for name, value in added.items():
        under = both.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            both[name] = merged(under, value)
        else:
            both[name] = value
    return both
