"""The stack under measurement: people, orders and keys made in bulk, and the bare ways to the same work."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg

from bench.load import Shot, spread
from dev.stack import ROOT, Stack

Connection = psycopg.Connection[tuple[Any, ...]]
Json = dict[str, Any]
PACKAGE = "starter-ngn"
PATIENCE_SECONDS = 300
# What the stack sets otherwise for tests, as an installation has it.
DEFAULTS = {"LOG_LEVEL": "info", "API_RATE_PER_MINUTE": "300"}

SIGN_UP = """
    insert into auth.users (id, aud, role, email, email_confirmed_at)
    select id, 'authenticated', 'authenticated', id || '@example.com', now() from unnest(%s::uuid[]) id"""

KEYS = """
    insert into public.virtual_keys (user_id, name)
    select id, 'Key ' || n from generate_series(1, %s) n, unnest(%s::uuid[]) id"""

ORDERS = "select public.open_order(id, %s) from unnest(%s::uuid[]) id"

SWEPT = "select state is not null from keyfund.chores where name = 'sweep_paystack'"


@dataclass(frozen=True)
class Paid:
    """A payment that was made at the sandbox and that nobody has told us of."""

    reference: str
    raw: bytes
    signature: str


@dataclass(frozen=True)
class Scene:
    """One running stack."""

    stack: Stack
    db: Connection

    @property
    def env(self) -> dict[str, str]:
        return self.stack.env

    def value(self, query: str, *arguments: object, **named: object) -> Any:
        row = self.db.execute(query.encode(), named or arguments).fetchone()
        return row[0] if row else None

    def sign_up(self, people: int) -> list[str]:
        """So many accounts, as the trigger makes them."""
        made = [str(uuid4()) for _ in range(people)]
        self.db.execute(SIGN_UP, [made])
        return made

    def make_keys(self, users: list[str], each: int) -> None:
        """So many keys for everybody, due at once."""
        self.db.execute(KEYS, [each, users])

    def rpc(self, function: str, **arguments: object) -> Shot:
        """A call of an SQL function through the REST layer, and nothing of ours around it."""
        key = self.env["SUPABASE_SERVICE_ROLE_KEY"]
        headers = {"apikey": key, "authorization": f"Bearer {key}", "content-type": "application/json"}
        body = json.dumps({f"p_{name}": value for name, value in arguments.items()}).encode()
        return Shot(f"{self.env['SUPABASE_URL']}/rest/v1/rpc/{function}", body, headers)

    def delivery(self, paid: Paid) -> Shot:
        """Paystack's event as it comes to the webhook."""
        headers = {"content-type": "application/json", "x-paystack-signature": paid.signature}
        return Shot(f"{self.env['WEBHOOK_BASE_URL']}/webhooks/paystack", paid.raw, headers)

    def strange(self, name: str) -> Paid:
        """A signed event of a payment that is none of ours."""
        raw = json.dumps({"event": "charge.success", "data": {"reference": name}}).encode()
        key = self.env["PAYSTACK_SECRET_KEY"].encode()
        return Paid(name, raw, hmac.new(key, raw, hashlib.sha512).hexdigest())

    def order(self, users: list[str]) -> list[Json]:
        """One unpaid order each."""
        rows = self.db.execute(ORDERS, [PACKAGE, users]).fetchall()
        return [row[0] for row in rows]

    async def pay(self, users: list[str]) -> list[Paid]:
        """One paid order each, of which the webhook has not heard."""
        paid: list[Paid] = []
        async with aiohttp.ClientSession(self.env["PAYSTACK_BASE_URL"]) as paystack:

            async def pay(order: Json) -> None:
                asked = {name: order[name] for name in ("reference", "amount", "currency", "email")}
                async with paystack.post("/sandbox/charges", json={**asked, "deliver": False}) as answer:
                    told = await answer.json()
                paid.append(Paid(order["reference"], told["raw"].encode(), told["signature"]))

            await spread(self.order(users), 8, pay)
        return paid

    async def until(self, query: str, *arguments: object, pause: float = 0.002, **named: object) -> None:
        """Until the query's one value is true; looks often, because the clock is running."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.monotonic()
            if self.value(query, *arguments, **named):
                return
            if began > deadline:
                raise RuntimeError(f"still not so: {query}")
            await asyncio.sleep(pause + 5 * (time.monotonic() - began))  # looking must not be the load


@contextmanager
def staged(name: str, **settings: str) -> Iterator[Scene]:
    """A stack of its own for one figure."""
    home = ROOT / ".stack" / "bench" / name
    with (
        Stack(home, say=lambda _: None, settings=DEFAULTS | settings) as stack,
        psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db,
    ):
        stack.unhurry()
        scene = Scene(stack, db)
        # The worker's first sweep would find what is paid before it is delivered; the next is far away.
        asyncio.run(scene.until(SWEPT))
        yield scene
