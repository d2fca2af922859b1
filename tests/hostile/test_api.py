"""Every HTTP route with wrong callers, wrong values and other people's ids."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.hostile.api import Route, Scene, meet
from tests.hostile.evidence import Evidence
from tests.hostile.tokens import Issuer, forged
from tests.hostile.values import BODIES, RAW_JSON, TEXTS, anything, dumps, with_raw
from tests.integration.world import World, until

LONG = bool(os.environ.get("LONG"))
SEED = 20261125
ROUNDS = 500 if LONG else 45


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return meet(world)


@pytest.fixture(autouse=True)
def nothing_happened(scene: Scene) -> Iterator[None]:
    """No test of this file changes anything of the victim's, or makes the service stumble."""
    before, stumbles = scene.state(), len(scene.bugs())
    yield
    assert scene.state() == before
    assert scene.bugs()[stumbles:] == []


# --- callers ------------------------------------------------------------------------------------------------


def test_the_api_s_routes_are_found(scene: Scene) -> None:
    found = {(route.method, route.path) for route in scene.routes}
    assert {("PATCH", "/api/keys/manage/{key_id}"), ("POST", "/api/credits/checkout")} <= found
    assert len(found) >= 12


@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_no_forged_token_opens_any_route(scene: Scene) -> None:
    env = scene.world.env
    named = ("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "LITELLM_MASTER_KEY", "SUPABASE_JWT_SECRET")
    issuer = Issuer(env["SUPABASE_JWT_SECRET"], env["SUPABASE_URL"])
    headers = forged(issuer, scene.attacker, {name: env[name] for name in named})
    nobody = {"error": {"code": "not_signed_in", "message": "Sign in first."}}
    for route in scene.routes:
        if route.open:
            continue
        path = route.path.replace("{key_id}", scene.own_key)
        for what, value in {"nothing": None, **headers}.items():
            sent = {"authorization": value} if value is not None else {}
            body = {"name": "x", "package_id": "starter-ngn", "keyId": scene.own_key}
            answer = scene.send(route.method, path, headers=sent, json=body)
            assert (answer.status_code, answer.json()) == (401, nobody), (route, what)
            assert answer.headers["www-authenticate"] == "Bearer"


def test_the_control_a_token_that_is_right_opens_routes(scene: Scene, evidence: Evidence) -> None:
    env = scene.world.env
    issuer = Issuer(env["SUPABASE_JWT_SECRET"], env["SUPABASE_URL"])
    for token in (scene.attacker.token, issuer.sign(scene.attacker), issuer.sign(scene.attacker, iss=None)):
        evidence.owners[token] = scene.attacker.id
        answer = scene.send("GET", "/api/keys/manage", headers={"authorization": f"Bearer {token}"})
        assert scene.own_key in {key["id"] for key in answer.json()["keys"]}


def test_a_valid_token_in_odd_dress_is_taken_or_refused_but_never_an_accident(
    scene: Scene, evidence: Evidence
) -> None:
    token = scene.attacker.token.encode()
    head, body, signature = token.split(b".")
    for dressed in (
        token + b"=", token + b"==", token + b" ", b" " + token, token + b"\t", head + b"." + body + b".!" + signature,
        head + b"." + body + b"." + signature[:9] + b"\xe9" + signature[9:], head + b"=." + body + b"." + signature,
        token.replace(b".", b".\x7f"), token + "é".encode(), token.replace(b"-", b"+").replace(b"_", b"/"),
    ):  # fmt: skip
        evidence.owners[dressed.strip().decode("latin-1")] = scene.attacker.id
        answer = scene.send(
            "GET", "/api/keys/manage", headers={b"authorization": b"Bearer " + dressed.rstrip()}
        )
        assert answer.status_code in (200, 401), dressed


def test_a_token_of_somebody_who_is_gone_does_nothing(scene: Scene) -> None:
    world = scene.world
    leaver = world.sign_up()
    key = world.create_key(leaver)
    world.db.execute("delete from auth.users where id = %s", [leaver.id])
    headers = {"authorization": f"Bearer {leaver.token}"}
    created = scene.send("POST", "/api/keys/manage", headers=headers, json={"name": "again"})
    bought = scene.send("POST", "/api/credits/checkout", headers=headers, json={"package_id": "starter-ngn"})
    changed = scene.send(
        "PATCH", f"/api/keys/manage/{key['id']}", headers=headers, json={"max_budget": 10**6}
    )
    unblocked = scene.send("PATCH", f"/api/keys/manage/{key['id']}", headers=headers, json={"blocked": False})
    assert [one.status_code for one in (created, bought, changed, unblocked)] == [403] * 4
    until(lambda: world.call(key).status_code == 401, what="the key is stopped")


# --- values -------------------------------------------------------------------------------------------------

ODD_HEADERS: list[dict[str, str]] = [
    {}, {}, {}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=utf-16"},
    {"content-type": "multipart/form-data; boundary="}, {"content-encoding": "gzip"},
    {"x-http-method-override": "DELETE"}, {"host": "evil.example"}, {"x-forwarded-host": "evil.example"},
    {"x-forwarded-for": "127.0.0.1"}, {"origin": "https://evil.example"}, {"accept": "text/html"},
    {"accept-language": "x" * 5000}, {"prefer": "return=representation"}, {"accept-profile": "keyfund"},
    {"content-profile": "keyfund"}, {"apikey": "x"}, {"x-user-id": "admin"}, {"range": "bytes=0-0"},
    {"if-none-match": "*"}, {"expect": "100-continue"}, {"cookie": "sb-access-token=x"},
]  # fmt: skip


class Fuzzer:
    """Requests to a route, most of them wrong in one place only."""

    def __init__(self, scene: Scene, random: Random) -> None:
        self.scene, self.random = scene, random

    def path(self, route: Route) -> str:
        own, other = self.scene.own_key, self.scene.victim_key
        ids = [own, other, str(uuid4()), own.upper(), f"{{{own}}}", f"urn:uuid:{other}", own.replace("-", "")]
        usual = self.random.random() < 0.6
        chosen = self.random.choice(ids) if usual else self.random.choice(TEXTS)[:1500]
        return route.path.replace("{key_id}", quote(chosen, safe="") or "%20")

    def query(self, route: Route) -> str:
        names = [*route.query, "user_id", "select", "limit", "id", "token", "apikey", "reference"]
        count = self.random.choice([0, 1, 3]) if route.path != "/checkout/return" else 1
        first = list(route.query[:1]) if route.path == "/checkout/return" else []
        chosen = (first + self.random.choices(names, k=3))[:count]
        values = [*TEXTS, self.scene.victim.id, "eq." + self.scene.victim.id]
        return "&".join(f"{name}={quote(self.random.choice(values)[:1500], safe='')}" for name in chosen)

    def right(self, name: str) -> Any:
        """A value that the field takes."""
        known: dict[str, Any] = {
            "name": "fuzz", "max_budget": 500, "rpm_limit": 10, "tpm_limit": 1000, "cap": "fixed",
            "blocked": False, "package_id": "starter-ngn", "keyId": self.scene.own_key, "action": "update",
            "model": "mock-small", "prompt": "hello", "max_tokens": 5,
        }  # fmt: skip
        return known.get(name)

    def body(self, route: Route) -> bytes:
        usual = {name: self.right(name) for name in route.fields}
        if "cap" in usual and self.random.random() < 0.5:
            del usual["cap"]
        kind = self.random.random()
        if kind < 0.15 or not usual:
            return self.random.choice(BODIES)
        name = self.random.choice(sorted(usual))
        if kind < 0.3:
            return with_raw(self.random, usual, name)
        if kind < 0.4:
            stolen = {
                "user_id": self.scene.victim.id, "id": self.scene.victim_key,
                "keyId": self.scene.victim_key, "credits": 10**9, "amount": 1, "sync_status": "synced",
                "state": "active", "email": "x@example.com", "litellm_key_id": "sk-made-up-by-the-caller",
                "status": "success", "reference": "kf-1",
            }  # fmt: skip
            return dumps(self.random, usual | stolen)
        if kind < 0.5:
            return dumps(self.random, {key: value for key, value in usual.items() if key != name})
        return dumps(self.random, {**usual, name: anything(self.random)})


def test_fuzzed_requests_are_answered_in_order(scene: Scene) -> None:
    random = Random(SEED)
    fuzzer = Fuzzer(scene, random)
    for route in scene.routes:
        for number in range(ROUNDS):
            signed_in = number % 5 > 0
            headers = {"content-type": "application/json", **random.choice(ODD_HEADERS)}
            path, query = fuzzer.path(route), fuzzer.query(route)
            send = scene.as_attacker if signed_in else scene.send
            body = fuzzer.body(route) if route.fields or random.random() < 0.2 else b""
            answer = send(
                route.method, f"{path}{'?' + query if query else ''}", headers=headers, content=body
            )
            if not signed_in and not route.open:
                # A body that is no JSON is found out before anybody is asked who they are.
                assert answer.status_code in (400, 401, 404, 405, 413, 422), (route, answer.text)
    assert scene.world.credits(scene.attacker) == 500


@pytest.mark.parametrize("text", ["a\0b", "\0", "starter-ngn\0"])
@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("POST", "/api/keys/manage", "name"),
        ("PATCH", "/api/keys/manage/{key_id}", "name"),
        ("POST", "/api/credits/checkout", "package_id"),
    ],
)
def test_a_nul_in_a_text_is_the_caller_s_mistake(
    scene: Scene, method: str, path: str, field: str, text: str
) -> None:
    answer = scene.as_attacker(method, path.replace("{key_id}", scene.own_key), json={field: text})
    assert answer.status_code in (400, 404, 422)


def test_every_raw_value_in_every_field_is_answered_in_order(scene: Scene) -> None:
    for path, field in (("/api/keys/manage", "max_budget"), ("/api/keys/manage", "name"),
                        ("/api/credits/checkout", "package_id"), ("/api/keys/sync", "keyId")):  # fmt: skip
        for raw in RAW_JSON:
            body = b'{"' + field.encode() + b'":' + raw + b"}"
            answer = scene.as_attacker(
                "POST", path, content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code in (201, 400, 404, 422), (path, field, raw[:40])


# --- other people's ids -------------------------------------------------------------------------------------


def test_a_stranger_s_key_is_answered_exactly_as_one_that_does_not_exist(scene: Scene) -> None:
    def ask(key_id: str) -> list[tuple[int, str, list[tuple[str, str]]]]:
        requests: list[tuple[str, str, Any]] = [
            ("PATCH", f"/api/keys/manage/{key_id}", {"name": "mine"}),
            ("PATCH", f"/api/keys/manage/{key_id}", {}),
            ("PATCH", f"/api/keys/manage/{key_id}", {"blocked": True}),
            ("PATCH", f"/api/keys/manage/{key_id}", {"blocked": False}),
            ("PATCH", f"/api/keys/manage/{key_id}", {"max_budget": 1, "blocked": True}),
            ("PATCH", f"/api/keys/manage/{key_id}", {"cap": "wallet"}),
            ("DELETE", f"/api/keys/manage/{key_id}", None),
            ("POST", "/api/keys/sync", {"keyId": key_id, "action": "create"}),
            ("POST", "/api/keys/sync", {"keyId": key_id, "action": "update"}),
        ]
        answers = [scene.as_attacker(method, path, json=body) for method, path, body in requests]
        assert {one.status_code for one in answers} == {404}
        kept = ("date",)
        return [
            (one.status_code, one.text, sorted((k, v) for k, v in one.headers.items() if k not in kept))
            for one in answers
        ]

    world = scene.world
    newcomer, leaver = world.sign_up(), world.sign_up()
    placeholder = world.keys(newcomer)[0]["id"]
    revoked = world.create_key(leaver)["id"]
    world.api(leaver, "DELETE", f"/api/keys/manage/{revoked}")
    nobody_s = ask(str(uuid4()))
    for key_id in (scene.victim_key, placeholder, revoked, scene.victim.id):
        assert ask(key_id) == nobody_s


def test_what_a_stranger_may_list_is_their_own(scene: Scene) -> None:
    tricks = (
        "",
        f"?user_id={scene.victim.id}",
        f"?user_id=eq.{scene.victim.id}",
        "?select=*,profiles(*)",
        "?limit=100000",
    )
    own = {key["id"] for key in scene.world.keys(scene.attacker)}
    rows = scene.world.db.execute(
        "select reference from public.transactions where user_id = %s", [scene.attacker.id]
    )
    ordered = {reference for (reference,) in rows}
    for trick in tricks:
        keys = scene.as_attacker("GET", f"/api/keys/manage{trick}").json().get("keys", [])  # or a 422
        assert {key["id"] for key in keys} <= own
        states = scene.as_attacker("GET", f"/api/keys/sync{trick}").json().get("keys", [])
        assert {key["id"] for key in states} <= own
        orders = scene.as_attacker("GET", f"/api/credits/transactions{trick}").json().get("transactions", [])
        assert {order["reference"] for order in orders} <= ordered


# --- the service as a whole ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "TRACE", "HEAD", "OPTIONS", "PROPFIND", "X" * 50]
)
def test_a_method_that_no_route_has_is_a_405(scene: Scene, method: str) -> None:
    for route in scene.routes:
        if any(other.path == route.path and other.method == method for other in scene.routes):
            continue
        if method == "HEAD" and route.method == "GET" and route.open:
            continue  # answered as GET is
        answer = scene.as_attacker(method, route.path.replace("{key_id}", scene.own_key))
        assert answer.status_code == 405, route
        if method != "HEAD":
            assert answer.json()["error"]["code"] == "method_not_allowed"


def test_no_other_site_s_page_is_let_in(scene: Scene) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:3000", scene.url):
        for route in scene.routes:
            path = route.path.replace("{key_id}", scene.own_key)
            asked = {"origin": origin, "access-control-request-method": route.method,
                     "access-control-request-headers": "authorization"}  # fmt: skip
            assert scene.send("OPTIONS", path, headers=asked).status_code == 405
            scene.as_attacker("GET", "/api/keys/manage", headers={"origin": origin})  # `check` looks


NO_ROUTES = [
    "/api/keys/manage/", "/api/credits/checkout/", "/healthz/", "//api/keys/manage", "/api//keys/manage",
    "/API/keys/manage", "/api/keys/manage/%2e%2e/manage", "/api/keys/manage;x=1", "/docs", "/redoc",
    "/admin", "/.env", "/openapi.yaml", "/static/..%2f..%2fcore/settings.py", "/webhook/paystack",
    "/api/keys/manage%00", "/api/keys/manage/a/b", "/\\evil.example",
]  # fmt: skip


@pytest.mark.parametrize("path", NO_ROUTES)
def test_a_path_that_is_no_route_is_a_404_and_leads_nowhere(scene: Scene, path: str) -> None:
    """A redirect would name the host that the caller made up, and take the token there over plain HTTP."""
    for method in ("GET", "POST"):
        answer = scene.as_attacker(method, path, headers={"host": "evil.example"})
        assert answer.status_code == 404


def test_a_body_larger_than_any_request_is_refused_before_it_is_kept(scene: Scene) -> None:
    """Else anybody, signed in or not, can have the service hold any amount of memory."""
    address = urlsplit(scene.url)
    size = 64 * 1024 * 1024
    for length in (b"content-length: %d" % size, b"transfer-encoding: chunked"):
        with closing(
            socket.create_connection((address.hostname or "", address.port or 0), timeout=20)
        ) as wire:
            wire.sendall(
                b"POST /api/keys/manage HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                + length
                + b"\r\n\r\n"
            )
            chunked = b"chunked" in length
            piece = b" " * 65536
            if chunked:
                piece = b"10000\r\n" + piece + b"\r\n"
            heard, sent = b"", 0
            try:
                while sent < 4 * 1024 * 1024:
                    wire.sendall(piece)
                    sent += 65536
                wire.settimeout(3)
                heard = wire.recv(65536)
            except OSError:
                heard = heard or receive(wire)
            assert b" 413 " in heard.split(b"\r\n")[0], (length, sent)


def receive(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65536)
    except OSError:
        return b""


def test_the_return_page_shows_nothing_that_was_put_into_its_address(scene: Scene) -> None:
    for text in TEXTS:
        answer = scene.send("GET", f"/checkout/return?reference={quote(text[:1500], safe='')}")
        assert answer.status_code in (200, 422)
        assert "<script>alert" not in answer.text
        assert "onerror" not in answer.text
        if answer.status_code == 200:
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_worker_answers_while_somebody_says_nothing_to_it(scene: Scene) -> None:
    """An idle connection must not keep the one who asks whether the worker lives from hearing it."""
    url = scene.world.stack.parts["worker"].url
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname or "", address.port or 0))):
        began = time.monotonic()
        assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
        assert time.monotonic() - began < 2
