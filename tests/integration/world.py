"""The running stack as a test acts on it: people, purchases, LiteLLM, faults."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from dev.stack import Stack
from tests.support import Connection, User

Json = dict[str, Any]
T = TypeVar("T")

# As if LiteLLM had confirmed whatever other tests left failing, some of it for good.
SET_ASIDE = """
    with keys as (
      update public.virtual_keys
      set sync_status = 'synced', confirmed_revision = revision, next_attempt_at = null, refusals = 0
      where sync_status = 'failed' and state <> 'placeholder' returning account_id
    )
    update keyfund.pushes
    set confirmed_revision = revision, next_attempt_at = null, attempts = 0, refusals = 0
    where account_id in (select account_id from keys)
      or (revision > confirmed_revision and (next_attempt_at is null or attempts > 0))
"""
# As five refusals leave an account and its keys: nobody looks at them again by themselves.
PARK = """
    update keyfund.pushes set revision = revision + 1, next_attempt_at = null, refusals = 5
    where account_id = %s
"""
PARK_KEYS = """
    update public.virtual_keys k set sync_status = 'failed', next_attempt_at = null, refusals = 5,
      last_error = 'litellm_refused: LiteLLM refused it.',
      revision = (select p.revision from keyfund.pushes p where p.account_id = k.account_id)
    where k.user_id = %s and k.state = 'active'
"""
FAILING = "select count(*) from keyfund.list_failing_accounts('00000000-0000-0000-0000-000000000000', 1000)"


def until(look: Callable[[], T], *, seconds: float = 60, what: str = "") -> T:
    """Look every 100 ms until there is something; the last sight goes into the failure."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or look} (last seen: {seen!r})")
        time.sleep(0.1)


@dataclass
class World:
    """One stack, one HTTP client, one superuser connection."""

    stack: Stack
    db: Connection
    sign_up: Callable[..., User]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    @property
    def env(self) -> dict[str, str]:
        return self.stack.env

    # ------------------------------------------------------------- a person

    def rest(self, user: User, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"apikey": self.env["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {user.token}"}
        return self.http.request(
            method, f"{self.env['SUPABASE_URL']}/rest/v1{path}", headers=headers, **request
        )

    def api(self, user: User, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {user.token}"}
        return self.http.request(method, f"{self.env['WEBHOOK_BASE_URL']}{path}", headers=headers, **request)

    def create_key(self, user: User, **limits: Any) -> Json:
        """A key as a frontend makes it, over PostgREST: only the worker pushes it."""
        answer = self.rest(user, "POST", "/rpc/create_virtual_key", json={"name": "Key", **limits})
        assert answer.status_code == 200, answer.text
        row: Json = answer.json()
        return row

    def keys(self, user: User) -> list[Json]:
        rows: list[Json] = self.rest(user, "GET", "/virtual_keys?select=*&order=created_at").json()
        return rows

    def synced_key(self, user: User, **limits: Any) -> Json:
        """A key that LiteLLM has confirmed."""
        made = self.create_key(user, **limits)

        def synced() -> Json | None:
            row = next(row for row in self.keys(user) if row["id"] == made["id"])
            return row if row["sync_status"] == "synced" else None

        row = until(synced, what="the key is synced")
        assert row is not None
        return row

    def credits(self, user: User) -> int:
        rows = self.rest(user, "GET", "/profiles?select=credits").json()
        return int(rows[0]["credits"])

    def purchases(self, user: User) -> list[Json]:
        rows: list[Json] = self.rest(user, "GET", "/credit_ledger?kind=eq.purchase").json()
        return rows

    def parked_key(self, **limits: object) -> tuple[User, Json]:
        """Somebody's key that LiteLLM refused for good."""
        user = self.sign_up()
        key = self.synced_key(user, **limits)
        self.park(user)
        return user, key

    def park(self, user: User) -> None:
        """As if LiteLLM had refused the account and its keys for good."""
        with self.db.transaction():
            self.db.execute(PARK, [user.id])
            self.db.execute(PARK_KEYS, [user.id])

    def set_failures_aside(self) -> None:
        """Have nothing failing that other tests left behind, some of it refused for good."""

        def look() -> bool:
            self.db.execute(SET_ASIDE)
            return self.db.execute(FAILING).fetchone() == (0,)

        until(look, what="nothing of other tests fails")

    def administrator(self) -> User:
        user = self.sign_up()
        self.db.execute("insert into keyfund.administrators (user_id) values (%s)", [user.id])
        return user

    # ---------------------------------------------------------------- money

    def order(self, user: User, package_id: str = "starter-ngn") -> Json:
        answer = self.api(user, "POST", "/api/credits/checkout", json={"package_id": package_id})
        assert answer.status_code == 201, answer.text
        checkout: Json = answer.json()
        return checkout

    def pay(self, reference: str, **overrides: Any) -> Json:
        """Pay in the sandbox; answers with the signed event."""
        return self.sandbox(f"/sandbox/transactions/{reference}/pay", **overrides)

    def sandbox(self, path: str, **body: Any) -> Json:
        answer = self.http.post(f"{self.env['PAYSTACK_BASE_URL']}{path}", json=body)
        assert answer.status_code < 300, answer.text
        told: Json = answer.json()
        return told

    def misbehave(self, *faults: Json, **demands: Any) -> None:
        self.sandbox("/sandbox/misbehave", **demands, **({"faults": list(faults)} if faults else {}))

    def behave(self) -> None:
        self.sandbox("/sandbox/reset")

    def payment(self, user: User, reference: str) -> Json:
        listed = self.api(user, "GET", "/api/credits/transactions").json()["transactions"]
        found: Json = next(one for one in listed if one["reference"] == reference)
        return found

    def until_status(self, user: User, reference: str, status: str, seconds: float = 60) -> Json:
        def look() -> Json | None:
            payment = self.payment(user, reference)
            return payment if payment["status"] == status else None

        payment = until(look, seconds=seconds, what=f"{reference} is {status}")
        assert payment is not None
        return payment

    def signature(self, raw: bytes) -> str:
        return hmac.new(self.env["PAYSTACK_SECRET_KEY"].encode(), raw, hashlib.sha512).hexdigest()

    def deliver(
        self, raw: bytes, signature: str | None = None, path: str = "/webhooks/paystack"
    ) -> httpx.Response:
        """Send a body as Paystack would, signed unless another signature is given."""
        headers = {
            "content-type": "application/json",
            "x-paystack-signature": signature or self.signature(raw),
        }
        return self.http.post(f"{self.env['WEBHOOK_BASE_URL']}{path}", content=raw, headers=headers)

    def event(self, raw: bytes) -> Json | None:
        """What the inbox holds of a body, by its text."""
        columns = ("event", "deliveries", "outcome", "handled_at", "last_error", "attempts")
        query = f"select {', '.join(columns)} from keyfund.events where body = %s"
        row = self.db.execute(query, [raw.decode()]).fetchone()
        return dict(zip(columns, row, strict=True)) if row else None

    # -------------------------------------------------------------- LiteLLM

    def litellm(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.env['LITELLM_MASTER_KEY']}"}
        return self.http.request(method, f"{self.env['LITELLM_BASE_URL']}{path}", headers=headers, **request)

    def wallet(self, user: User) -> Json:
        """LiteLLM's user row."""
        row: Json = self.litellm("GET", "/v2/user/info", params={"user_id": user.id}).json()
        return row

    def key_info(self, key: Json) -> Json:
        digest = hashlib.sha256(key["litellm_key_id"].encode()).hexdigest()
        answer = self.litellm("GET", "/key/info", params={"key": digest})
        assert answer.status_code == 200, answer.text
        info: Json = answer.json()["info"]
        return info

    def call(self, key: Json, model: str = "mock-small", text: str = "Hello") -> httpx.Response:
        """A model call with somebody's key."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 20}
        return self.ask(key, "POST", "/v1/chat/completions", json=body)

    def ask(self, key: Json, method: str, path: str, **request: Any) -> httpx.Response:
        """Any request to LiteLLM with somebody's key."""
        headers = {"Authorization": f"Bearer {key['litellm_key_id']}"}
        return self.http.request(method, f"{self.env['LITELLM_BASE_URL']}{path}", headers=headers, **request)


def dumps(document: Json, variant: int) -> bytes:
    """The same event in other bytes: spacing, order of keys, escapes."""
    items = list(document.items())
    turned = dict(items[variant % len(items) :] + items[: variant % len(items)])
    turned["data"] = dict(sorted(turned["data"].items(), reverse=bool(variant % 2)))
    text = json.dumps(turned, indent=variant % 5 or None, ensure_ascii=bool(variant % 3))
    return (" " * (variant // 15) + text + "\n" * (variant % 2)).encode()
