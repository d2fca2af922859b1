"""A Valkey of a test's own, alone or as a cluster of one, and commands for it."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import redis
from dev.child import Child
from dev.reaper import Reaper
from dev.stack import free_port
from tests.guard.worker import Json

ALL_SLOTS = "CLUSTER ADDSLOTSRANGE 0 16383"


@dataclass(frozen=True)
class Valkey:
    port: int
    password: str

    @property
    def setup(self) -> Json:
        """How LiteLLM is told of it."""
        return {"host": "127.0.0.1", "port": self.port, "password": self.password}

    @property
    def cluster_setup(self) -> Json:
        return {"startup_nodes": [{"host": "127.0.0.1", "port": self.port}], "password": self.password}

    def tell(self, *commands: str) -> str:
        """The answers to these commands, as they come over the wire."""
        lines = [f"AUTH {self.password}", *commands, "QUIT"]
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
            return connection.makefile("rb").read().decode()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody is let in, and who was in is thrown out."""
        self.tell("CONFIG SET requirepass another", "CLIENT KILL TYPE normal")
        try:
            yield
        finally:
            Valkey(self.port, "another").tell(f"CONFIG SET requirepass {self.password}")


@contextmanager
def valkey(home: Path, *, cluster: bool = False) -> Iterator[Valkey]:
    port, password = free_port(), secrets.token_hex(16)
    part = redis.part(home, port=port, password=password)
    if cluster:
        with (home / "redis.conf").open("a") as config:
            config.write(f"cluster-enabled yes\ncluster-port {free_port()}\n")
    reaper = Reaper(f"redis-{port}")
    child = Child(part, home / "redis.log", reaper.marks)
    try:
        reaper.add(child.spawn())
        child.wait_ready()
        server = Valkey(port, password)
        if cluster:
            server.tell(ALL_SLOTS)
        yield server
    finally:
        child.stop()
        reaper.close()
