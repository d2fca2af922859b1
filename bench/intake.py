"""Webhook to committed credit, against the bare RPC through the REST layer and the bare SQL function."""

import asyncio
import hashlib
import time
from functools import partial

import psycopg
from psycopg.types.json import Jsonb

from bench.bare import Json, Wire, wired
from bench.load import Load, Shot, fire, spread
from bench.measure import Line, Row, Series
from bench.scene import Paid, Scene, staged

CONNECTIONS = (1, 8, 32)
CREDITED = """
    select not exists (select from public.transactions where reference = any(%s) and credited_at is null)"""
HANDLED = """
    select not exists (select from keyfund.events
    where handled_at is null and reference = any(%s) and next_attempt_at < now() + interval '5 minutes')"""


def measure(runs: int, scale: float) -> list[Row]:
    """LiteLLM is stopped, so what is measured is the way of the money, not the push that follows it."""
    with staged("intake") as scene:
        scene.stack.stop_part("litellm")
        return asyncio.run(_measure(scene, runs, scale))


async def _measure(scene: Scene, runs: int, scale: float) -> list[Row]:
    rows: list[Row] = []
    for connections in CONNECTIONS:
        count = int((150 if connections == 1 else 400) * scale)
        sql, chain, credited = list[float](), list[float](), list[float]()
        rpc, webhook = list[Load](), list[Load]()
        for _ in range(runs):
            paid = await scene.pay(scene.sign_up(4 * count))
            parts = [paid[start::4] for start in range(4)]
            sql.append((await call_sql(scene, parts[0], connections)).per_second)
            rpc.append(await fire([store(scene, one) for one in parts[1]], connections))
            chain.append((await settle_bare(scene, parts[2], connections)).per_second)
            began = time.perf_counter()
            webhook.append(await fire([scene.delivery(one) for one in parts[3]], connections))
            references = [one.reference for one in parts[3]]
            await scene.until(CREDITED, references)
            credited.append(count / (time.perf_counter() - began))
            await scene.until(HANDLED, references)
        rows += describe(connections, sql, rpc, webhook)
        rows.append(
            Line(
                f"webhook to credit, {plural(connections)}",
                "payments/s",
                Series.of(credited),
                "calls it needs, bare",
                Series.of(chain),
            )
        )
    return rows


def plural(connections: int) -> str:
    return f"{connections} connection{'s' * (connections > 1)}"


def describe(connections: int, sql: list[float], rpc: list[Load], webhook: list[Load]) -> list[Row]:
    many = plural(connections)
    bare = Series.of([one.per_second for one in rpc])
    ours = Series.of([one.per_second for one in webhook])
    rows: list[Row] = [
        Line(f"webhook, {many}", "events/s", ours, "bare RPC", bare, "≥0.7" if connections > 1 else ""),
        Line(f"bare RPC, {many}", "calls/s", bare, "bare SQL", Series.of(sql)),
    ]
    rows += [
        Line(
            f"webhook p{share * 100:.0f}, {many}",
            "ms",
            Series.of([one.at(share) for one in webhook]),
            "bare RPC",
            Series.of([one.at(share) for one in rpc]),
        )
        for share in (0.5, 0.95, 0.99)
    ]
    return rows


def store(scene: Scene, paid: Paid) -> Shot:
    return scene.rpc("receive_events", provider="paystack", events=[arguments(paid)])


def arguments(paid: Paid) -> Json:
    return {
        "fingerprint": fingerprint(paid),
        "event": "charge.success",
        "reference": paid.reference,
        "body": paid.raw.decode(),
        "lease_seconds": 600,
    }


def fingerprint(paid: Paid) -> str:
    return hashlib.sha256(paid.raw).hexdigest()


async def call_sql(scene: Scene, paid: list[Paid], connections: int) -> Load:
    """The function alone, over so many connections to the database."""
    query = "select public.receive_events('paystack', %s)"
    url = scene.stack.superuser_url("keyfund")
    pool = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(connections)]

    async def call(one: Paid) -> None:
        mine = pool.pop()
        await mine.execute(query, [Jsonb([arguments(one)])])
        pool.append(mine)

    load = await spread(paid, connections, call)
    for one in pool:
        await one.close()
    return load


async def settle_bare(scene: Scene, paid: list[Paid], connections: int) -> Load:
    """The calls without which no payment is credited: store, verify, credit."""
    async with wired(scene.env) as wire:
        return await spread(paid, connections, partial(_settle, wire))


async def _settle(wire: Wire, paid: Paid) -> None:
    credited = await credit_bare(wire, paid)
    assert credited["credited"]


async def credit_bare(wire: Wire, paid: Paid, lease_seconds: int | None = None) -> Json:
    event = (await wire.rpc("receive_events", provider="paystack", events=[arguments(paid)]))[
        fingerprint(paid)
    ]
    verified = (await wire.paystack("GET", f"/transaction/verify/{paid.reference}"))["data"]
    credited: Json = await wire.rpc(
        "credit_payment",
        reference=paid.reference,
        provider_id=verified["id"],
        paid_amount=verified["amount"],
        currency=verified["currency"],
        paid_at=verified["paid_at"],
        event_id=event["id"],
        event_token=event["token"],
        lease_seconds=lease_seconds,
    )
    return credited
