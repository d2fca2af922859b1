"""One way to make HTTP clients: pooled, bounded, explicit."""

import httpx


def make_client(*, timeout_seconds: float, connections: int = 32) -> httpx.AsyncClient:
    """A client for one other side; whoever makes it closes it.

    HTTP/1.1 only: h2 has open bugs under load (RemoteProtocolError). Redirects are never followed: a secret
    in a header must not travel to an address that nobody configured.
    """
    return httpx.AsyncClient(
        http2=False,
        follow_redirects=False,
        timeout=httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


def retry_after_seconds(response: httpx.Response) -> int | None:
    """The ``Retry-After`` header in seconds, at most an hour; None when absent or a date."""
    value = response.headers.get("retry-after", "")
    return min(int(value), 3600) if value.isdigit() else None
