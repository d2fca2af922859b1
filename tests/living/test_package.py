"""The package as others install it: built, put into a bare environment, and run from elsewhere."""

import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.stack import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare environment with the built package, and a path to the packages of the lock file."""
    home = tmp_path_factory.mktemp("installed")
    finish(
        sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(home), cwd=ROOT
    )
    (wheel,) = home.glob("keyfund-*.whl")
    finish(sys.executable, "-m", "venv", "--without-pip", str(home / "venv"), cwd=home)
    python = home / "venv" / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    finish(sys.executable, "-m", "pip", "--python", str(python), "install", *offline, str(wheel), cwd=home)
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "venv"


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """Run a program of the environment in an empty folder, with nothing of the checkout in reach."""

    def at(*words: str) -> "subprocess.CompletedProcess[str]":
        program, *rest = words
        return finish(str(environment / "bin" / program), *rest, cwd=tmp_path)

    return at


def finish(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_command_lists_the_processes_and_the_commands_of_operators(run: Run) -> None:
    told = run("keyfund", "--help").stdout
    for command in (
        "webhook",
        "worker",
        "doctor",
        "reconcile",
        "drift",
        "replay",
        "adopt",
        "migrations",
        "uninstall",
    ):
        assert command in told.split()


@pytest.mark.parametrize("process", ["webhook", "worker"])
def test_a_process_asked_for_help_reads_no_settings(run: Run, process: str) -> None:
    assert process in run("keyfund", process, "--help").stdout
    assert process in run("python", "-m", process, "--help").stdout


def test_the_installed_package_writes_every_migration_of_the_checkout(run: Run, tmp_path: Path) -> None:
    run("keyfund", "migrations", "--into", "theirs")
    written = [file.name.partition("_keyfund_")[2] for file in sorted((tmp_path / "theirs").iterdir())]
    ours = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))
    assert written == [file.name.partition("_")[2] for file in ours]


def test_the_page_and_the_guard_are_found_where_they_are_installed(run: Run, environment: Path) -> None:
    ask = "from core import shipped; print(shipped.DASHBOARD / 'index.html', shipped.GUARD, sep='\\n')"
    for told in run("python", "-c", ask).stdout.splitlines():
        assert Path(told).is_relative_to(environment)
        assert Path(told).is_file()


def test_what_it_needs_is_declared_by_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {one.split("=")[0].split("[")[0] for one in project["dependencies"]}
    assert named >= {"supabase", "postgrest", "httpx", "pydantic", "python-dotenv", "apscheduler"}
    assert "pytest" in project["optional-dependencies"]["test"]
