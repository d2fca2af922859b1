"""Our HTTP clients on real sockets: what was never sent is told apart from what may have arrived."""

import asyncio
import gzip
import tracemalloc
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from core import http
from core.http import make_client, retry_after_seconds

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SWELLS = gzip.compress(bytes(40_000_000))
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
Behave = Callable[["Server", Reader, Writer], Awaitable[None]]


@dataclass
class Server:
    """Takes down each request that it gets."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, reader: Reader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request


@asynccontextmanager
async def serving(behave: Behave) -> AsyncIterator[Server]:
    server = Server()

    async def connected(reader: Reader, writer: Writer) -> None:
        server.connections += 1
        try:
            await behave(server, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            server.closed.set()  # the client went away
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server
        listening.close()


async def answer(server: Server, reader: Reader, writer: Writer) -> None:
    while True:
        await server.read(reader)
        writer.write(ANSWER)


async def answer_once(server: Server, reader: Reader, writer: Writer) -> None:
    """Close the connection after the answer without having said so."""
    await server.read(reader)
    writer.write(ANSWER)


async def hang_up(server: Server, reader: Reader, _writer: Writer) -> None:
    await server.read(reader)


async def hang_up_later(server: Server, reader: Reader, writer: Writer) -> None:
    """Answer, and hang up when the next request of the same connection has arrived."""
    await server.read(reader)
    if server.connections == 1:
        writer.write(ANSWER)
        await server.read(reader)


async def reset(server: Server, reader: Reader, writer: Writer) -> None:
    await server.read(reader)
    writer.transport.abort()


async def cut_off(server: Server, reader: Reader, writer: Writer) -> None:
    await server.read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\nhalf")


async def talk_nonsense(server: Server, reader: Reader, writer: Writer) -> None:
    await server.read(reader)
    writer.write(b"220 smtp.example.com ready\r\n\r\n")


async def say_nothing(server: Server, reader: Reader, _writer: Writer) -> None:
    await server.read(reader)
    await reader.readexactly(1)


async def test_nobody_there_means_never_sent() -> None:
    async with serving(answer) as server:
        gone = server.url
    async with make_client(timeout_seconds=2) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post(gone, json={})


@pytest.mark.parametrize("behave", [hang_up, reset, cut_off, talk_nonsense])
async def test_what_broke_after_it_was_sent_may_have_arrived(behave: Behave) -> None:
    async with serving(behave) as server, make_client(timeout_seconds=2) as client:
        with pytest.raises(httpx.TransportError) as raised:
            await client.post(server.url, json={})
        assert not isinstance(raised.value, NEVER_SENT)
        assert len(server.requests) == 1


async def test_an_answer_that_does_not_come_is_a_read_timeout() -> None:
    async with serving(say_nothing) as server, make_client(timeout_seconds=0.2) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(server.url, json={})


async def test_waiting_for_a_connection_means_never_sent() -> None:
    async with serving(say_nothing) as server, make_client(timeout_seconds=0.3, connections=1) as client:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_error_of(client, server.url, seconds=2))
            await asyncio.sleep(0)
            second = tasks.create_task(_error_of(client, server.url, seconds=0.3))
        assert isinstance(first.result(), httpx.ReadTimeout)
        assert isinstance(second.result(), NEVER_SENT)
        assert len(server.requests) == 1


async def test_by_default_too_and_before_whoever_bounds_the_whole_call() -> None:
    async with serving(say_nothing) as server, make_client(timeout_seconds=1, connections=1) as client:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_error_of(client, server.url))
            await asyncio.sleep(0)
            second = tasks.create_task(_error_of(client, server.url))
            await second
            assert not first.done()
        assert isinstance(second.result(), NEVER_SENT)


async def _error_of(
    client: httpx.AsyncClient, url: str, seconds: Any = httpx.USE_CLIENT_DEFAULT
) -> BaseException | None:
    try:
        await client.post(url, json={}, timeout=seconds)
    except httpx.HTTPError as error:
        return error
    return None


async def test_a_write_on_a_connection_from_before_is_never_sent_again_by_itself() -> None:
    async with serving(hang_up_later) as server, make_client(timeout_seconds=2) as client:
        assert (await client.post(server.url, json={"n": 1})).text == "ok"
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(server.url, json={"n": 2})
        assert len(server.requests) == 2
        assert server.connections == 1


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with serving(answer_once) as server, make_client(timeout_seconds=2) as client:
        for _ in range(3):
            assert (await client.post(server.url, json={})).text == "ok"
            await asyncio.sleep(0.05)
        assert len(server.requests) == server.connections == 3


async def test_connections_are_kept_and_no_more_than_allowed() -> None:
    async with serving(answer) as server, make_client(timeout_seconds=5, connections=4) as client:
        await asyncio.gather(*(client.post(server.url, json={}) for _ in range(40)))
        assert len(server.requests) == 40
        assert server.connections <= 4


async def test_a_cancelled_request_closes_its_connection() -> None:
    async with serving(say_nothing) as server, make_client(timeout_seconds=30) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.post(server.url, json={})
        await asyncio.wait_for(server.closed.wait(), 5)


async def test_redirects_and_cookies_go_nowhere() -> None:
    async def redirect(server: Server, reader: Reader, writer: Writer) -> None:
        while True:
            await server.read(reader)
            writer.write(
                b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=b; Domain=other.test\r\n"
                b"content-length: 0\r\n\r\n"
            )

    async with serving(redirect) as server, make_client(timeout_seconds=2) as client:
        assert (await client.get(server.url)).status_code == 302
        await client.get(server.url)
        assert len(server.requests) == 2
        assert b"cookie" not in server.requests[1].lower()


async def test_the_address_and_the_headers_go_as_given() -> None:
    async with serving(answer) as server, make_client(timeout_seconds=2) as client:
        await client.get(f"{server.url}/a%2Fb%20c", params={"from": "2026-01-01T00:00:00+00:00"})
        line = server.requests[0].split(b"\r\n")[0]
        assert line == b"GET /a%2Fb%20c?from=2026-01-01T00%3A00%3A00%2B00%3A00 HTTP/1.1"
        assert server.requests[0].lower().count(b"user-agent:") == 1


async def test_a_compressed_answer_is_read() -> None:
    async def compress(server: Server, reader: Reader, writer: Writer) -> None:
        await server.read(reader)
        body = gzip.compress(b'{"compressed": true}' * 1000)
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async with serving(compress) as server, make_client(timeout_seconds=2) as client:
        assert (await client.get(server.url)).text == '{"compressed": true}' * 1000


async def endless(server: Server, reader: Reader, writer: Writer) -> None:
    await server.read(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def swelling(server: Server, reader: Reader, writer: Writer) -> None:
    await server.read(reader)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(SWELLS)}\r\n\r\n"
    writer.write(head.encode() + SWELLS)


@pytest.mark.parametrize("behave", [endless, swelling])
async def test_an_answer_that_would_fill_the_memory_is_given_up(
    behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1_000_000)
    async with serving(behave) as server, make_client(timeout_seconds=5) as client:
        tracemalloc.start()
        with pytest.raises(httpx.RemoteProtocolError):
            async with asyncio.timeout(5):
                await client.get(server.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7), ("999999999", 3600), ("9" * 5000, None), ("\N{SUPERSCRIPT TWO}", None), ("soon", None)],
)
def test_how_long_to_wait_is_a_number_or_nothing(told: str, seconds: int | None) -> None:
    answer = httpx.Response(503, headers=[(b"retry-after", told.encode("latin-1"))])
    assert retry_after_seconds(answer) == seconds


async def test_a_proxy_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answer) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with make_client(timeout_seconds=2) as client:
            assert (await client.get("http://litellm.test/health")).text == "ok"
        assert proxy.requests[0].startswith(b"GET http://litellm.test/health ")
