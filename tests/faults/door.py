"""Ports that are ours, in one event loop of one thread: they listen, refuse, or cut what is on its way."""

import asyncio
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Loop:
    """One event loop in one daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)


@cache
def the_loop() -> Loop:
    return Loop()


class Door(ABC):
    """A port that is ours for as long as the door exists, whether it listens or refuses."""

    def __init__(self, upstream_host: str, upstream_port: int) -> None:
        self.upstream = (upstream_host, upstream_port)
        self.held = bind(0)
        self.port = int(self.held.getsockname()[1])
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        the_loop().run(self._close())
        self.held.close()

    def accept(self) -> None:
        """Listen."""
        the_loop().run(self._listen())

    def refuse(self) -> None:
        """From now on nobody gets in, and whoever is in is thrown out."""
        the_loop().run(self._close())
        self.held = bind(self.port)

    def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        the_loop().run(self._cut())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self.refuse()
        try:
            yield
        finally:
            self.accept()

    async def _listen(self) -> None:
        if self.server is None:
            self.server = await asyncio.start_server(self._serve, sock=self.held, limit=2**22)

    async def _close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        await self._cut()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in list(self.writers):
            abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(reader, writer)
        finally:
            self.tasks.discard(task)
            self.writers.discard(writer)
            writer.close()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""


def bind(port: int) -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


def abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: what is on its way is lost."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
