"""Streams, and what goes wrong on demand: over real sockets, because that is where callers hang up."""

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dev.provider import part
from dev.stack import free_port
from tests.support import eventually

from .client import KEY, chat, events

PATH = "/v1/chat/completions"
STREAMS = {
    PATH: chat(stream=True, stream_options={"include_usage": True}),
    "/v1/completions": {
        "model": "live-complete",
        "prompt": "hello",
        "max_tokens": 10,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "/v1/responses": {"model": "live-small", "input": "hello", "max_output_tokens": 10, "stream": True},
    "/v1/messages": {
        "model": "live-claude",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 10,
        "stream": True,
    },
}
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.fixture(scope="module")
def running() -> Iterator[httpx.Client]:
    """The provider as a process, and a client with its key."""
    process = part(port=free_port(), key=KEY)
    with subprocess.Popen(process.argv, env=os.environ | process.env, cwd=process.cwd) as started:
        try:
            assert eventually(process.ready)
            headers = {"authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01"}
            with httpx.Client(base_url=process.url, headers=headers, trust_env=False, timeout=20) as http:
                yield http
        finally:
            started.terminate()


@pytest.fixture
def http(running: httpx.Client) -> httpx.Client:
    running.delete("/sandbox/bill")
    return running


def call_of(http: httpx.Client) -> dict[str, Any]:
    """The only call on the bill."""
    (call,) = http.get("/sandbox/bill").json()["calls"]
    return dict(call)


def ended(http: httpx.Client) -> dict[str, Any]:
    """The only call on the bill, once it is over."""
    assert eventually(lambda: call_of(http)["outcome"] != "working")
    return call_of(http)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_is_billed_as_the_same_answer_in_one_piece(http: httpx.Client, path: str) -> None:
    whole = http.post(path, json=STREAMS[path] | {"stream": False, "stream_options": None})
    billed = call_of(http)["cost_micros"]
    http.delete("/sandbox/bill")
    streamed = http.post(path, json=STREAMS[path])
    assert (whole.status_code, streamed.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert (ended(http)["cost_micros"], ended(http)["outcome"]) == (billed, "answered")
    assert billed > 10 * 20


def test_a_stream_tells_its_usage_where_that_is_asked_for(http: httpx.Client) -> None:
    told = events(http.post(PATH, json=STREAMS[PATH]))
    assert told[-1]["usage"]["completion_tokens"] == 10
    assert {event["usage"] for event in told[:-1]} == {None}
    untold = events(http.post(PATH, json=chat(stream=True)))
    assert not any("usage" in event for event in untold)


def test_a_caller_who_hangs_up_pays_for_what_was_generated_until_then(http: httpx.Client) -> None:
    body = chat(text="hello [pace 0.05]", stream=True, max_tokens=2_000)
    with http.stream("POST", PATH, json=body) as answer:
        next(answer.iter_lines())
    call = ended(http)
    output = call["asked"]["usage"]["output_tokens"]
    assert (call["outcome"], output % 100, call["cost_micros"]) == ("cut_off", 0, 10 * 10 + output * 20)
    assert 0 < output < 2_000
    assert http.get("/sandbox/bill").json()["cut_off_micros"] == call["cost_micros"]


def test_a_caller_who_does_not_wait_pays_for_all_of_an_answer_in_one_piece(http: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        http.post(PATH, json=chat(text="hello [delay 0.4]"), timeout=0.1)
    call = ended(http)
    assert (call["outcome"], call["cost_micros"]) == ("cut_off", 10 * 10 + 10 * 20)


@pytest.mark.parametrize(("stream", "output"), [(False, 10), (True, 6)])
def test_an_answer_is_cut_off_on_demand(http: httpx.Client, stream: bool, output: int) -> None:
    with pytest.raises(BROKEN):
        http.post(PATH, json=chat(text="hello [cut]", stream=stream))
    call = ended(http)
    assert (call["outcome"], call["asked"]["usage"]["output_tokens"]) == ("cut_off", output)


def test_a_stream_breaks_off_with_an_error_on_demand(http: httpx.Client) -> None:
    told = events(http.post(PATH, json=chat(text="hello [fail 500 midway]", stream=True)))
    bill = http.get("/sandbox/bill").json()
    assert told[-1]["error"]["type"] == "server_error"
    assert 0 < bill["failed_micros"] == bill["total_micros"] < 280


def test_nothing_is_ready_where_nothing_runs() -> None:
    assert part(port=free_port(), key=KEY).ready() is False
