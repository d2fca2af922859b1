"""The worker's own small server: alive, and metrics. It runs in a thread, so it notices a stuck loop."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

STUCK_AFTER_SECONDS = 60


@dataclass(slots=True)
class Pulse:
    """When the event loop was last seen turning."""

    last: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        self.last = time.monotonic()

    @property
    def alive(self) -> bool:
        return time.monotonic() - self.last < STUCK_AFTER_SECONDS


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per connection: one that says nothing keeps nobody from hearing whether the worker lives."""

    daemon_threads = True

    def handle_error(self, *_args: object) -> None:  # who asked went away, or said nothing in time
        pass


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, *_args: object) -> None:  # its lines are no log events
        pass


def serve_health(host: str, port: int, pulse: Pulse) -> WSGIServer:
    """Answer ``/healthz`` and ``/metrics`` until ``shutdown()`` is called."""
    metrics = make_wsgi_app()

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            body: Iterable[bytes] = metrics(environ, start_response)
            return body
        status = "200 OK" if pulse.alive else "503 Service Unavailable"
        start_response(status, [("content-type", "application/json")])
        return [b'{"status": "ok"}' if pulse.alive else b'{"status": "stuck"}']

    server = make_server(host, port, answer, server_class=_Server, handler_class=_Quiet)
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
