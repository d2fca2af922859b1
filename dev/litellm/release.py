"""The releases of LiteLLM that the stack can run, each locked with hashes and installed in an environment
of its own.

LiteLLM reaches Postgres through Prisma, whose engine is a native binary from a download site.
``query-engine.mjs`` takes that binary's place.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from dev.npm import NODE, npm

Release = Literal["pinned", "newest"]
"""``pinned`` is what the product is promised on; ``newest`` is the newest whose proxy installs whole."""

HERE = Path(__file__).parent.absolute()
ENGINE = HERE / "query-engine.mjs"
NAMES: dict[Release, str] = {"pinned": "litellm", "newest": "litellm-newest"}

PRISMA_VERSION = "5.17.0"  # as in package.json
PRISMA_ENGINE_COMMIT = "393aa359c9ad4a4bb28630fb5613f9c281cde053"

NO_TYPES = '''"""Stands for the 30,000 TypedDicts that Prisma writes here. Only type checkers read them;
making them takes a third of LiteLLM's start and of its memory."""


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return dict
'''


def releases(root: Path) -> tuple[Release, ...]:
    """Those that differ: often the newest is the pinned one, and nothing needs to be done twice."""
    return ("pinned",) if version(root, "newest") == version(root, "pinned") else ("pinned", "newest")


def version(root: Path, release: Release) -> str:
    """Which LiteLLM is locked."""
    locked = re.search(r"^litellm==(\S+)", lock_file(root, release).read_text(), re.MULTILINE)
    assert locked is not None
    return locked.group(1)


def lock_file(root: Path, release: Release) -> Path:
    return root / "requirements" / f"{NAMES[release]}.txt"


def environment(root: Path, release: Release) -> Path:
    """The release's virtual environment."""
    return root / ".stack" / f"{NAMES[release]}-venv"


def packages(root: Path, release: Release) -> Path:
    """Where the release's Python packages lie."""
    (found,) = environment(root, release).glob("lib/python3*/site-packages")
    return found


def install(root: Path, say: Callable[[str], None], release: Release = "pinned") -> None:
    """Make what the proxy runs on; a repeat with unchanged lock files does nothing.

    Raises:
        RuntimeError, subprocess.CalledProcessError: a step failed, and has said why.
    """
    venv, modules = environment(root, release), HERE / "node_modules"
    requirements, lock = lock_file(root, release), HERE / "package-lock.json"
    which = "LiteLLM's" if release == "pinned" else "the newest LiteLLM's"
    steps: list[tuple[str, Path, list[Path], Callable[[], None]]] = [
        (f"{which} Python packages", venv, [requirements], lambda: _install_packages(venv, requirements)),
        ("LiteLLM's database engine", modules, [lock], _install_modules),
        (f"{which} database client", venv, [requirements, lock], lambda: _generate_client(root, release)),
    ]
    for number, (what, folder, inputs, make) in enumerate(steps):
        stamp, wanted = folder / f".made-{number}", _digest(inputs)
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        say(f"installing {what}")
        make()
        stamp.write_text(wanted)


def _digest(files: Iterable[Path]) -> str:
    contents = [sys.version.encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _install_packages(venv: Path, requirements: Path) -> None:
    """Afresh each time, so that nothing is left of an older lock or another Python."""
    _run([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-compile", "--require-hashes", "--no-deps", "-r", str(requirements)])


def _install_modules() -> None:
    # Prisma's install scripts would download its engines.
    npm(HERE, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def _generate_client(root: Path, release: Release) -> None:
    """Have Prisma write LiteLLM's database client into the environment's packages."""
    venv, folder = environment(root, release), packages(root, release)
    prisma = HERE / "node_modules" / "prisma" / "build" / "index.js"
    schema = folder / "litellm" / "proxy" / "schema.prisma"
    _run([str(NODE), str(prisma), "generate", "--schema", str(schema)], env=_prisma_env(venv))
    (folder / "prisma" / "types.py").write_text(NO_TYPES)
    # Here and on every core, where pip would have compiled on one.
    _run([str(venv / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0", str(folder)])


def _prisma_env(venv: Path) -> dict[str, str]:
    engine = str(ENGINE)
    return os.environ | {
        "PATH": node_first(venv / "bin"),  # prisma looks its Python generator up on PATH
        # Named so that none is downloaded; `generate` only asks the first for its version.
        "PRISMA_QUERY_ENGINE_BINARY": engine,
        "PRISMA_QUERY_ENGINE_LIBRARY": engine,
        "PRISMA_SCHEMA_ENGINE_BINARY": engine,
        # prisma-client-py refuses any Prisma but its own (5.4.2) unless told.
        "PRISMA_VERSION": PRISMA_VERSION,
        "PRISMA_EXPECTED_ENGINE_VERSION": PRISMA_ENGINE_COMMIT,
        "PRISMA_HIDE_UPDATE_MESSAGE": "1",
        "CHECKPOINT_DISABLE": "1",
    }


def node_first(*others: Path) -> str:
    """The search path with our own Node before any that the machine may have."""
    return os.pathsep.join(map(str, (NODE.parent, *others, os.environ["PATH"])))


def _run(argv: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(argv, check=False, cwd=HERE, env=env, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    done.check_returncode()
