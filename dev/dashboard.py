"""The dashboard's files, built from ``dashboard/`` as the webhook service serves them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from dev.npm import install_modules, npm

BUILT_FROM = ("src", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def install(root: Path, say: Callable[[str], None]) -> None:
    """Build it; does nothing while the sources are those that it was built from."""
    folder = root / "dashboard"
    stamp, wanted = folder / "dist" / ".made", _digest(folder)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    install_modules(folder, "what the dashboard is built with", say)
    say("building the dashboard")
    npm(folder, "run", "build")
    stamp.write_text(wanted)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in BUILT_FROM:
        start = folder / name
        for file in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if file.is_file():
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
