"""HTTP/1.1 as bare as it gets: it sends any bytes as they are, and ten thousand requests cost little."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Headers = list[tuple[str, bytes]]
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    body: bytes


def request(path: str, headers: Headers, body: bytes, pieces: int = 0) -> bytes:
    """A POST; with ``pieces``, in about so many chunks."""
    lines = [b"POST " + path.encode() + b" HTTP/1.1", b"host: keyfund"]
    lines += [name.encode() + b": " + value for name, value in headers]
    if not pieces:
        return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])
    size = max(1, len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", b"".join(chunks) + b"0\r\n\r\n"])


class Wire:
    """One connection, used again for as long as the other side keeps it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> "Wire":
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None

    async def send(self, words: bytes) -> Answer | None:
        """The answer; None when the connection was cut before one came."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self.streams
        try:
            writer.write(words)
            answer = await asyncio.wait_for(self.read(reader), timeout=30)
        except (OSError, EOFError):
            self.close()
            return None
        if CLOSES.search(answer.head):
            self.close()
        return answer

    async def read(self, reader: asyncio.StreamReader) -> Answer:
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        return Answer(int(head.split(b" ", 2)[1]), head, body)
