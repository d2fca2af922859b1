"""The proxies themselves: each fault does what it says, and nothing else goes wrong."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg
import pytest

from tests.faults.proxy import (
    Answer,
    CutHalfway,
    Drop,
    Hang,
    Hook,
    Late,
    LoseAnswer,
    Proxy,
    Request,
    Say,
    Slow,
    TcpProxy,
    say_html,
    say_json,
)
from tests.support import Database, eventually

TOLD = b'{"told": "' + b"x" * 1000 + b'"}'


class Upstream(ThreadingHTTPServer):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, body))
        self.send_response(201)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in (TOLD[:500], TOLD[500:], b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def do_GET(self) -> None:
        self.server.got.append((self.path, b""))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args: object) -> None:
        pass


Handler.protocol_version = "HTTP/1.1"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with Proxy("upstream", f"http://127.0.0.1:{upstream.server_port}") as door:
        yield door


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=0.5) as made:
        yield made


def test_without_a_rule_everything_passes_and_is_seen_in_order(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    answers = [client.post("/a?b=c", content=b"body"), client.get("/d"), client.post("/e", content=b"")]
    assert [answer.status_code for answer in answers] == [201, 200, 201]
    assert answers[0].content == TOLD
    assert upstream.got == [("/a?b=c", b"body"), ("/d", b""), ("/e", b"")]
    assert proxy.routes() == ["POST /a", "GET /d", "POST /e"]
    assert [one.answer and one.answer.status for one in proxy.seen] == [201, 200, 201]
    assert [one.number for one in proxy.seen] == sorted(one.number for one in proxy.seen)
    assert proxy.seen[0].request.query == "b=c"


def test_refused_is_a_refused_connection_and_over_when_it_is_over(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    client.get("/before")
    with proxy.refusing():
        for _ in range(3):
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{proxy.url}/during", timeout=1)
    assert httpx.get(f"{proxy.url}/after").status_code == 200
    assert [path for path, _ in upstream.got] == ["/before", "/after"]


def test_a_hanging_request_is_neither_delivered_nor_answered(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    proxy.on("GET /x", Hang())
    with pytest.raises(httpx.ReadTimeout):
        client.get("/x")
    assert client.get("/y").status_code == 200
    assert upstream.got == [("/y", b"")]
    assert eventually(lambda: proxy.seen[0].done, 2), "it ends with the client"


def test_a_slow_one_is_answered_all_the_same(proxy: Proxy, client: httpx.Client) -> None:
    proxy.on("*", Slow(0.3))
    began = time.monotonic()
    assert client.get("/x").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_a_dropped_one_is_not_delivered(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    proxy.on("*", Drop(), times=1)
    with pytest.raises(httpx.TransportError):
        client.post("/x", content=b"1")
    assert upstream.got == []
    assert client.post("/x", content=b"2").status_code == 201


def test_a_lost_answer_has_its_effect(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    proxy.on("*", LoseAnswer(), times=1)
    with pytest.raises(httpx.TransportError):
        client.post("/x", content=b"1")
    assert upstream.got == [("/x", b"1")]


def test_an_answer_cut_half_way_has_its_effect(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    proxy.on("*", CutHalfway())
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.post("/x", content=b"1")
    assert upstream.got == [("/x", b"1")]


@pytest.mark.parametrize("after", [False, True])
def test_another_answer_with_or_without_the_effect(
    proxy: Proxy, client: httpx.Client, upstream: Upstream, after: bool
) -> None:
    proxy.on("* /json", say_json(429, {"error": "slow down"}, (("retry-after", "7"),), after=after))
    proxy.on("* /html", say_html(200, after=after))
    proxy.on("* /empty", Say(502, after=after))
    told = client.post("/json", content=b"1")
    assert (told.status_code, told.json(), told.headers["retry-after"]) == (429, {"error": "slow down"}, "7")
    page = client.get("/html")
    assert (page.status_code, page.headers["content-type"], page.text[:6]) == (200, "text/html", "<html>")
    assert (client.get("/empty").status_code, client.get("/empty").content) == (502, b"")
    assert len(upstream.got) == (4 if after else 0)


def test_a_late_one_is_delivered_after_its_client_gave_up(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    late = Late(seconds=0.8)
    proxy.on("*", late, times=1)
    with pytest.raises(httpx.ReadTimeout):
        client.post("/x", content=b"old")
    assert upstream.got == []
    client.post("/x", content=b"new")
    assert late.delivered.wait(5)
    assert [body for _, body in upstream.got] == [b"new", b"old"]


def test_a_late_one_can_be_let_go(proxy: Proxy, client: httpx.Client, upstream: Upstream) -> None:
    late = Late()
    proxy.on("*", late, times=1)
    with pytest.raises(httpx.ReadTimeout):
        client.post("/x", content=b"old")
    late.release.set()
    assert late.delivered.wait(5)
    assert upstream.got == [("/x", b"old")]


def test_hooks_are_called_before_and_after_and_may_stop_it(
    proxy: Proxy, client: httpx.Client, upstream: Upstream
) -> None:
    calls: list[tuple[str, int]] = []

    def before(request: Request) -> bool:
        calls.append((f"before {request.path}", len(upstream.got)))
        return request.path != "/stop"

    def after(request: Request, answer: Answer) -> bool:
        calls.append((f"after {request.path} {answer.status}", len(upstream.got)))
        return request.path != "/lose"

    proxy.on("*", Hook(before, after))
    assert client.get("/x").status_code == 200
    for path in ("/stop", "/lose"):
        with pytest.raises(httpx.TransportError):
            client.get(path)
    assert calls == [
        ("before /x", 0),
        ("after /x 200", 1),
        ("before /stop", 1),
        ("before /lose", 1),
        ("after /lose 200", 2),
    ]


def test_a_rule_may_skip_count_and_choose(proxy: Proxy, client: httpx.Client) -> None:
    proxy.on("POST *", Say(500), skip=1, times=2, where=lambda request: request.mentions("me"))
    said = [client.post("/x", content=word).status_code for word in (b"me", b"you", b"me", b"me", b"me")]
    assert said == [201, 201, 500, 500, 201]
    proxy.on("*", Say(503))
    assert client.get("/x").status_code == 503
    proxy.clear()
    assert client.get("/x").status_code == 200


def test_an_upstream_that_is_away_is_a_reset(upstream: Upstream) -> None:
    with Proxy("nobody", "http://127.0.0.1:9") as door, pytest.raises(httpx.TransportError):
        httpx.get(door.url, timeout=2)


# --- plain TCP ----------------------------------------------------------------------------------------------


@pytest.fixture
def tcp(database: Database) -> Iterator[TcpProxy]:
    with TcpProxy(database.address.port) as door:
        yield door


def connect(tcp: TcpProxy, database: Database) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(database.url(), port=tcp.port, autocommit=True, connect_timeout=2)


def test_postgres_passes_through(tcp: TcpProxy, database: Database) -> None:
    with connect(tcp, database) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_postgres_refused_and_accepted_again(tcp: TcpProxy, database: Database) -> None:
    with tcp.refusing(), pytest.raises(psycopg.OperationalError, match="refused"):
        connect(tcp, database)
    connect(tcp, database).close()


def test_postgres_cut_in_the_middle(tcp: TcpProxy, database: Database) -> None:
    connection = connect(tcp, database)
    tcp.cut()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    connect(tcp, database).close()


def test_postgres_hangs_and_flows_again(tcp: TcpProxy, database: Database) -> None:
    connection = connect(tcp, database)
    tcp.hang()
    told: list[object] = []
    asking = threading.Thread(target=lambda: told.append(connection.execute("select 1").fetchone()))
    asking.start()
    asking.join(0.3)
    assert told == []
    tcp.flow()
    asking.join(5)
    assert told == [(1,)]
    connection.close()
