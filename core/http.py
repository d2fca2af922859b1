"""One way to make HTTP clients: pooled, bounded, explicit."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import getproxies

import aiohttp
import httpx
from yarl import URL

# uvicorn (LiteLLM) and Node close a connection that was idle for 5 seconds: do not write on it just then.
KEEP_SECONDS = 4
DIGITS = re.compile(r"[0-9]{1,9}")
LARGEST_ANSWER = 64 * 1024 * 1024  # unpacked; a year of somebody's usage by key has some ten


def make_client(*, timeout_seconds: float, connections: int = 32) -> httpx.AsyncClient:
    """A client for one other side; whoever makes it closes it.

    HTTP/1.1 only. Redirects are never followed: a secret in a header must not travel to an address that
    nobody configured. Behind a proxy that the environment names, httpx's own connections are used.
    """
    proxied = {"http", "https", "all"} & getproxies().keys()
    return httpx.AsyncClient(
        transport=None if proxied else Transport(connections),
        follow_redirects=False,
        # Whoever waits for a free connection has sent nothing, and learns it before the caller's own bound.
        timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds), pool=timeout_seconds / 2),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


class Transport(httpx.AsyncBaseTransport):
    """aiohttp's connections below httpx: its own pool looks at every socket for every request.

    Never sent again by itself: aiohttp repeats only methods other than POST and PATCH, once, and only when
    a connection from before turns out to be closed.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = request.extensions["timeout"]
        with httpx_errors():
            async with self._open().request(
                request.method,
                URL(str(request.url), encoded=True),  # as it is: nothing is quoted anew
                headers=request.headers,
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=seconds["pool"], sock_connect=seconds["connect"], sock_read=seconds["read"]
                ),
            ) as answer:
                body = await _read(answer)
        headers = [(name, value) for name, value in answer.raw_headers if name.lower() != b"content-encoding"]
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(body), request=request)

    def _open(self) -> aiohttp.ClientSession:
        """A session belongs to the event loop that it is used in."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=KEEP_SECONDS, ssl=httpx.create_ssl_context()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body, unpacked bit by bit: neither an endless one nor one that swells may fill the memory."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > LARGEST_ANSWER:
            raise httpx.RemoteProtocolError("The answer is too large.")
    return bytes(body)


@contextmanager
def httpx_errors() -> Iterator[None]:
    """Raise httpx's errors. ConnectError and ConnectTimeout say, as there, that nothing was sent."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.RemoteProtocolError(str(error)) from error


def retry_after_seconds(response: httpx.Response) -> int | None:
    """The ``Retry-After`` header in seconds, at most an hour; None when absent or a date."""
    value = response.headers.get("retry-after", "")
    return min(int(value), 3600) if DIGITS.fullmatch(value) else None
