"""From a payment's delivery until LiteLLM lets it be spent, against the calls that this cannot do without."""

import asyncio
import time

from bench.bare import Json, Wire, hashed, wired
from bench.intake import credit_bare
from bench.measure import Line, Row, Series, percentile
from bench.push import PUSHED
from bench.scene import Paid, Scene, staged

EFFECTIVE = "select effective_at is not null from public.transactions where reference = %s"


def measure(runs: int, scale: float) -> list[Row]:
    with staged("effect") as scene:
        return asyncio.run(_measure(scene, runs, max(10, int(40 * scale))))


async def _measure(scene: Scene, runs: int, payments: int) -> list[Row]:
    ours, bare = list[list[float]](), list[list[float]]()
    async with wired(scene.env) as wire:
        for _ in range(runs):
            users = scene.sign_up(2 * payments)
            scene.make_keys(users, 1)
            await scene.until(PUSHED, users=users)
            paid = await scene.pay(users)
            ours.append([])
            bare.append([])
            for one, other in zip(paid[::2], paid[1::2], strict=True):  # in turns
                delivered = await _deliver(scene, wire, one)
                if (by_hand := await _by_hand(scene, wire, other)) is not None:
                    ours[-1].append(delivered)
                    bare[-1].append(by_hand)
            await scene.until(PUSHED, users=users)
    return [
        Line(
            f"payment to effective, p{share * 100:.0f}",
            "ms",
            Series.of([percentile(times, share) for times in ours]),
            "calls it needs",
            Series.of([percentile(times, share) for times in bare]),
            "≤2",
        )
        for share in (0.5, 0.95)
    ]


async def _deliver(scene: Scene, wire: Wire, paid: Paid) -> float:
    """Milliseconds from Paystack's first byte until the payment counts as effective."""
    shot = scene.delivery(paid)
    began = time.perf_counter()
    async with wire.session.post(shot.url, data=shot.body, headers=shot.headers) as answer:
        assert answer.status == 200, await answer.text()
    await scene.until(EFFECTIVE, paid.reference)
    return (time.perf_counter() - began) * 1000


async def _by_hand(scene: Scene, wire: Wire, paid: Paid) -> float | None:
    """The same with bare calls, one after another: each needs what the one before it answered.

    None: the worker was quicker, so this is no time of theirs.
    """
    began = time.perf_counter()
    push = (await credit_bare(wire, paid, lease_seconds=40))["push"]
    if push is None:
        return None
    await _push(wire, push)
    taken = (time.perf_counter() - began) * 1000
    assert scene.value(EFFECTIVE, paid.reference)
    return taken


async def _push(wire: Wire, push: Json) -> None:
    (key,) = push["keys"]
    await wire.push_wallet(push["user_id"], push["budget_micros"] / 1_000_000)
    await wire.change_key(push["user_id"], key["key"], key["budget_cents"] / 100)
    question = {"model": "mock-small", "prompt": "x"}
    await wire.litellm("POST", "/utils/token_counter", key["key"], json=question)
    result = {
        "id": key["id"],
        "key_hash": hashed(key["key"]),
        "revision": key["revision"],
        "outcome": "synced",
    }
    assert await wire.rpc(
        "finish_push",
        user_id=push["user_id"],
        token=push["token"],
        revision=push["revision"],
        spend_micros=0,
        keys=[result],
        effective="yes",
        cache_seconds=0,
    )
