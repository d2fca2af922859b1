"""The sandbox as a process of the stack: over real sockets, killed and started again."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from dev.part import Part
from dev.paystack import part

from .merchant import SECRET_KEY

ORDER = {"email": "wanjiru@buyer.example", "amount": 5000, "reference": "cr-1"}
VERIFY = "/transaction/verify/cr-1"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(holds: Callable[[], bool]) -> None:
    """Return once it holds; another process can only be asked again and again."""
    pause = threading.Event()
    for _ in range(600):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError("it never came about")


class Running:
    """The process, and a client with its key."""

    def __init__(self, part: Part) -> None:
        self._part = part
        headers = {"Authorization": f"Bearer {SECRET_KEY}"}
        self.http = httpx.Client(base_url=part.url, headers=headers, trust_env=False, timeout=20)
        self.start()

    def start(self) -> None:
        env = os.environ | self._part.env
        self._process = subprocess.Popen(self._part.argv, env=env, cwd=self._part.cwd)
        eventually(self._part.ready)

    def saved(self) -> bool:
        return self.http.get("/sandbox").json()["saved"] is True

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def webhook_port() -> int:
    return free_port()


@pytest.fixture
def running(webhook_port: int, tmp_path: Path) -> Iterator[Running]:
    process = Running(
        part(
            port=free_port(),
            secret_key=SECRET_KEY,
            webhook_url=f"http://127.0.0.1:{webhook_port}/webhooks/paystack",
            clock_scale=3600,  # an hour passes in a second
            state_file=tmp_path / "paystack.state",
        )
    )
    yield process
    process.close()


def test_nothing_is_ready_where_nothing_runs(webhook_port: int) -> None:
    idle = part(port=webhook_port, secret_key=SECRET_KEY, webhook_url="http://127.0.0.1:1/")

    assert idle.ready() is False


def test_a_connection_is_cut_and_a_call_hangs_on_demand(running: Running) -> None:
    running.http.post("/transaction/initialize", json=ORDER)
    faults = [{"route": "GET /transaction/verify/*", "cut": True}, {"hang_seconds": 30}]
    running.http.post("/sandbox/misbehave", json={"faults": faults})

    with pytest.raises(httpx.RemoteProtocolError):
        running.http.get(VERIFY)
    with pytest.raises(httpx.ReadTimeout):
        running.http.get(VERIFY, timeout=0.2)

    assert running.http.get(VERIFY).status_code == 200


def test_a_restart_forgets_nothing_and_delivers_what_was_left(running: Running, webhook_port: int) -> None:
    running.http.post("/transaction/initialize", json=ORDER)
    paid = running.http.post("/sandbox/transactions/cr-1/pay", json={"wait": True}).json()
    before = running.http.get(VERIFY).json()
    arrived, bodies = threading.Event(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(200)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    eventually(running.saved)
    running.kill()
    with ThreadingHTTPServer(("127.0.0.1", webhook_port), Handler) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        running.start()
        assert arrived.wait(20)
        receiver.shutdown()

    assert running.http.get(VERIFY).json() == before
    assert bodies == [paid["raw"]]
