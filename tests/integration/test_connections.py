"""Connections that never finish their request: they are closed, and keep nobody else out."""

import json
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dev.stack import ROOT, free_port
from tests.integration.world import World, until
from webhook.connections import BODY_SECONDS, HEAD_SECONDS

DESCRIPTORS = 1024
HELD = 1100
HEAD = b"POST /webhooks/paystack HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
SLACK_SECONDS = 10
KEEP_ALIVE_SECONDS = 5.0  # uvicorn's


@dataclass(frozen=True)
class Narrow:
    """A webhook service with few descriptors, and its log."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, sent: bytes) -> socket.socket:
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        wire.sendall(sent)
        return wire

    def events(self, name: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if json.loads(line)["event"] == name]


@pytest.fixture
def narrow(world: World, tmp_path: Path) -> Iterator[Narrow]:
    service = Narrow(free_port(), tmp_path / "webhook.log")
    with service.log.open("wb") as log:
        command = f"ulimit -n {DESCRIPTORS}; exec {shlex.quote(sys.executable)} -m webhook"
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=ROOT,
            env={**world.env, "WEBHOOK_PORT": str(service.port)},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: answers(service), what="the webhook starts")
        yield service
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(service: Narrow) -> bool:
    try:
        return httpx.get(f"{service.url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [HEAD, HEAD + b"\r\n{", b""], ids=["half a head", "half a body", "nothing"])
def test_a_crowd_that_never_ends_its_requests_keeps_nobody_out(
    narrow: Narrow, world: World, many_descriptors: None, sent: bytes
) -> None:
    with ExitStack() as held:
        for _ in range(HELD):
            held.enter_context(narrow.connect(sent))
        for _ in range(5):
            assert httpx.get(f"{narrow.url}/healthz", timeout=5).status_code == 200
        assert httpx.get(f"{narrow.url}/readyz", timeout=5).status_code == 200
        raw = json.dumps({"event": "unknown.event", "data": {"n": time.time_ns()}}).encode()
        headers = {"x-paystack-signature": world.signature(raw)}
        delivered = httpx.post(f"{narrow.url}/webhooks/paystack", content=raw, headers=headers, timeout=10)
        assert delivered.status_code == 200
    assert len(narrow.events("http.connections_exhausted")) == 1
    assert len(narrow.events("http.descriptors_exhausted")) <= 1
    assert narrow.log.stat().st_size < 1_000_000
    assert "Traceback" not in narrow.log.read_text()


@pytest.mark.parametrize(
    ("sent", "seconds", "told"),
    [
        (b"", HEAD_SECONDS, b""),
        (HEAD, HEAD_SECONDS, b"408"),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /heal", KEEP_ALIVE_SECONDS, b"200"),
        (HEAD + b"\r\n{", BODY_SECONDS, b"408"),
    ],
    ids=["nothing", "half a head", "half of a second head", "half a body"],
)
def test_a_request_that_does_not_arrive_in_time_is_given_up(
    narrow: Narrow, sent: bytes, seconds: float, told: bytes
) -> None:
    began = time.monotonic()
    with narrow.connect(sent) as wire:
        wire.settimeout(seconds + SLACK_SECONDS)
        heard = b""
        while part := wire.recv(4096):
            heard += part
        waited = time.monotonic() - began
    assert told in heard.partition(b"\r\n")[0]
    assert bool(heard) == bool(told)
    if told == b"408":
        assert json.loads(heard.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"
    assert seconds - 1 < waited < seconds + SLACK_SECONDS


def test_a_body_that_drips_is_given_up_however_often_it_drips(narrow: Narrow) -> None:
    began = time.monotonic()
    with narrow.connect(HEAD + b"\r\n") as wire:
        wire.settimeout(0.5)
        heard = b""
        while not heard and time.monotonic() - began < BODY_SECONDS + SLACK_SECONDS:
            try:
                wire.sendall(b"x" if time.monotonic() - began < BODY_SECONDS / 2 else b"")
                heard = wire.recv(4096)
            except TimeoutError:
                continue
    assert b"408" in heard
    assert time.monotonic() - began < BODY_SECONDS + SLACK_SECONDS
