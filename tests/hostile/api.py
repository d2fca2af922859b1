"""The HTTP API as an attacker meets it: its routes, two people, and what holds for every answer."""

import re
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.world import World, until
from tests.support import User

OPEN = {"/healthz", "/readyz", "/checkout/return"}
"""Routes for everybody. The webhook's are signed, and have tests of their own."""

STATE = {
    "profiles": "select id, email, credits, status from public.profiles where id = %s",
    "keys": "select id, name, litellm_key_id, state, blocked_by, cap, max_budget, rpm_limit, tpm_limit, "
    "revision from public.virtual_keys where user_id = %s order by id",
    "ledger": "select id, delta, cause from public.credit_ledger where user_id = %s order by id",
    "orders": "select id, reference, status, amount, credits from public.transactions where user_id = %s "
    "order by id",
    "teams": "select m.*, t.name, t.credits from public.members m join public.teams t on t.id = m.account_id "
    "where m.account_id in (select account_id from public.members where user_id = %s) order by 1, 2",
    "invitations": "select * from public.invitations where invited_by = %s order by id",
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    fields: tuple[str, ...] = ()
    query: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        return self.path in OPEN


@dataclass
class Scene:
    """An attacker and a victim who has something of everything."""

    world: World
    routes: list[Route]
    attacker: User
    own_key: str
    victim: User
    victim_key: str
    words: set[str]
    log_began: int

    @property
    def url(self) -> str:
        return self.world.env["WEBHOOK_BASE_URL"]

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request, and check what holds for every answer there is."""
        answer = self.world.http.request(method, f"{self.url}{path}", **request)
        check(answer, self.words)
        return answer

    def as_attacker(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.attacker.token}", **request.pop("headers", {})}
        return self.send(method, path, headers=headers, **request)

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is the victim's."""
        db = self.world.db
        return {
            name: db.execute(query.encode(), [self.victim.id]).fetchall() for name, query in STATE.items()
        }

    def bugs(self) -> list[str]:
        """What the service has called its own mistake since the scene began."""
        log = (self.world.stack.logs / "webhook.log").read_bytes()[self.log_began :].decode()
        return [line for line in log.splitlines() if '"http.bug"' in line or "Traceback" in line]


def meet(world: World) -> Scene:
    """Two people; the victim has a key that works, an order that waits, and one that is paid."""
    attacker, victim = world.sign_up(), world.sign_up()
    own_key, victim_key = world.create_key(attacker), world.synced_key(victim)
    order = world.order(victim)
    paid = world.order(victim)["reference"]
    world.pay(paid)
    world.until_status(victim, paid, "success")
    until(lambda: world.payment(victim, paid)["timeline"]["effective"], what="the credits are effective")
    until(lambda: world.keys(victim)[0]["sync_status"] == "synced", what="the victim's key is synced")
    words = {
        victim.id, victim.email, victim.token, victim_key["id"], victim_key["litellm_key_id"],
        victim_key["key_hash"], order["reference"], order["access_code"], paid,
    }  # fmt: skip
    log = world.stack.logs / "webhook.log"
    url = world.env["WEBHOOK_BASE_URL"]
    return Scene(
        world, routes(url), attacker, own_key["id"], victim, victim_key["id"], words, log.stat().st_size
    )


def routes(url: str) -> list[Route]:
    document = httpx.get(f"{url}/openapi.json").json()
    schemas = document["components"]["schemas"]
    found = []
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            content = told.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
            query = [one["name"] for one in told.get("parameters", []) if one["in"] == "query"]
            found.append(Route(method.upper(), path, tuple(schema.get("properties", {})), tuple(query)))
    return [route for route in found if "payment-webhook" not in route.path and "paystack" not in route.path]


def check(answer: httpx.Response, secret_words: set[str]) -> None:
    """No trouble of ours, one shape for errors, its headers, and not a word about anybody else."""
    told = f"{answer.request.method} {answer.request.url} -> {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, told
    assert answer.headers["x-content-type-options"] == "nosniff", told
    assert answer.headers["cache-control"] == "no-store", told
    assert answer.headers["referrer-policy"] == "no-referrer", told
    assert "location" not in answer.headers, told
    assert "server" not in answer.headers, told
    assert not [name for name in answer.headers if name.startswith("access-control")], told
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        body = answer.json()
        assert set(body) == {"error"}, told
        assert set(body["error"]) == {"code", "message"}, told
        assert re.fullmatch(r"[a-z0-9_]+", body["error"]["code"]), told
        assert body["error"]["message"], told
    whole = answer.text + repr(answer.headers.raw)
    for tell in (
        "Traceback",
        'File "',
        "site-packages",
        "psycopg",
        "PGRST",
        "plpgsql",
        "litellm.",
        "keyfund.",
    ):
        assert tell not in whole, told
    asked = str(answer.request.url)  # what a caller knows already, a page may repeat
    assert not [word for word in secret_words if word in whole and word not in asked], told
