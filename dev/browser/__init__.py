"""A real headless Chromium for the tests of the dashboard, from npm alone: no root, no download site."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.npm import NODE, install_modules

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"


@dataclass(frozen=True)
class Browser:
    """What Playwright's ``launch`` needs to start it."""

    executable: Path
    env: dict[str, str]
    # It may have to run as root, where Chromium's own sandbox does not work. It visits our own pages alone.
    args: tuple[str, ...] = ("--no-sandbox", "--no-zygote", "--disable-gpu", "--font-render-hinting=none")


def install(root: Path, say: Callable[[str], None]) -> None:
    """Fetch and unpack it; does nothing while the lock file is the one installed."""
    install_modules(HERE, "the browser for the tests", say)
    folder, wanted = _folder(root), hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / ".made"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([str(NODE), "unpack.mjs", str(folder)], cwd=HERE, check=True)
    stamp.write_text(wanted)


def browser(root: Path) -> Browser:
    folder = _folder(root)
    libraries = [str(folder / "al2023" / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    env = os.environ | {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "FONTCONFIG_FILE": str(_fonts(folder)),
    }
    return Browser(folder / "chromium", env)


def _folder(root: Path) -> Path:
    return root / ".stack" / "chromium"


def _fonts(folder: Path) -> Path:
    """Its letters are the same on every machine: the package's own, and for code those of DejaVu."""
    file = folder / "fonts.conf"
    fonts = (folder / "fonts" / "fonts", HERE / "node_modules" / "dejavu-fonts-ttf" / "ttf")
    families = {"sans-serif": "Open Sans", "system-ui": "Open Sans", "monospace": "DejaVu Sans Mono"}
    lines = [
        *(f"<dir>{one}</dir>" for one in fonts),
        f"<cachedir>{folder / 'fonts' / 'cache'}</cachedir>",
        *(
            f"<alias><family>{family}</family><prefer><family>{font}</family></prefer></alias>"
            for family, font in families.items()
        ),
    ]
    head = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
    file.write_text("\n".join([head, "<fontconfig>", *lines, "</fontconfig>", ""]))
    return file
