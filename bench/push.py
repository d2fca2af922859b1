"""Pending to synced, against the same calls made by a bare concurrent loop, and one after another."""

import asyncio
import time
from collections.abc import Awaitable

from bench.bare import Account, Wire, wired
from bench.load import spread
from bench.measure import Line, Row, Series
from bench.scene import Scene, staged

KEYS_EACH = 4
AT_ONCE = 8  # PUSH_CONCURRENCY's default
BULK = 100

PUSHED = """
    select not exists (select from keyfund.pushes where account_id = any(%(users)s::uuid[])
        and (revision > confirmed_revision or next_attempt_at is not null))
      and not exists (select from public.virtual_keys where user_id = any(%(users)s::uuid[])
        and state <> 'placeholder' and sync_status <> 'synced')"""

ADJUST = """
    select count(keyfund.append_entry(user_id::uuid, 50, 'adjustment', 'bench:' || gen_random_uuid()))
    from unnest(%s::text[]) user_id"""


def measure(runs: int, scale: float) -> list[Row]:
    with staged("push") as scene:
        return asyncio.run(_measure(scene, min(3, runs), max(8, int(160 * scale))))


async def _measure(scene: Scene, runs: int, accounts: int) -> list[Row]:
    keys = accounts * KEYS_EACH
    rates: dict[str, list[float]] = {}

    async def time_it(name: str, count: int, work: Awaitable[object]) -> None:
        began = time.perf_counter()
        await work
        rates.setdefault(name, []).append(count / (time.perf_counter() - began))

    async with wired(scene.env) as wire:
        for _ in range(runs):
            bare = [Account.with_keys(KEYS_EACH) for _ in range(accounts)]
            alone = [Account.with_keys(KEYS_EACH) for _ in range(max(2, accounts // 8))]
            users = scene.sign_up(accounts)
            await scene.until(PUSHED, users=users)
            await time_it("create bare", keys, create_bare(wire, bare, AT_ONCE))
            await time_it("create", keys, create_keys(scene, users))
            await time_it("create alone", len(alone) * KEYS_EACH, create_bare(wire, alone, 1))
            await time_it("change bare", keys, _change_bare(wire, bare))
            await time_it("change", keys, _change(scene, users))
            half = bare[::2]
            await time_it("wallets bulk", len(half), _bulk_wallets(wire, half))
            await time_it("wallets", len(half), _wallets(wire, half))
            await time_it("caps bulk", len(half) * KEYS_EACH, _bulk_caps(wire, half))
            await time_it("caps", len(half) * KEYS_EACH, _caps(wire, half))
    of = {name: Series.of(values) for name, values in rates.items()}
    each = f"{accounts} accounts, {KEYS_EACH} keys each"
    bulk = "write in bulk (not used),"
    return [
        Line(f"create keys ({each})", "keys/s", of["create"], "same calls, bare", of["create bare"], "≥0.9"),
        Line("create keys", "keys/s", of["create"], "one call after another", of["create alone"]),
        Line(f"change budgets ({each})", "keys/s", of["change"], "same, bare", of["change bare"], "≥0.9"),
        Line(f"{bulk} /user/bulk_update", "users/s", of["wallets bulk"], "single calls", of["wallets"]),
        Line(f"{bulk} /key/bulk_update", "keys/s", of["caps bulk"], "single calls", of["caps"]),
    ]


async def create_keys(scene: Scene, users: list[str]) -> None:
    """From the commit that makes the keys until the last of them is synced; the worker's tick is in it."""
    scene.make_keys(users, KEYS_EACH)
    await scene.until(PUSHED, users=users, pause=0.1)


async def _change(scene: Scene, users: list[str]) -> None:
    scene.value(ADJUST, users)
    await scene.until(PUSHED, users=users, pause=0.1)


async def create_bare(wire: Wire, accounts: list[Account], at_once: int) -> None:
    keys_at_once = asyncio.Semaphore(at_once)
    await spread(accounts, at_once, lambda one: wire.create(one, keys_at_once))


async def _change_bare(wire: Wire, accounts: list[Account]) -> None:
    keys_at_once = asyncio.Semaphore(AT_ONCE)
    await spread(accounts, AT_ONCE, lambda one: wire.change(one, keys_at_once, 11.0))


# Writes alone, because a bulk route saves nothing else: what was written has to be read back, each by itself.


async def _wallets(wire: Wire, accounts: list[Account]) -> None:
    await spread(accounts, AT_ONCE, lambda one: wire.write_wallet(one.user_id, 12.0))


async def _bulk_wallets(wire: Wire, accounts: list[Account]) -> None:
    for start in range(0, len(accounts), BULK):
        users = [{"user_id": one.user_id, "max_budget": 13.0} for one in accounts[start : start + BULK]]
        told = await wire.litellm("POST", "/user/bulk_update", json={"users": users})
        assert told["successful_updates"] == len(users)


async def _caps(wire: Wire, accounts: list[Account]) -> None:
    keys = [key for one in accounts for key in one.keys]

    async def update(key: str) -> None:
        await wire.litellm("POST", "/key/update", json={"key": key, "max_budget": 12.0})

    await spread(keys, AT_ONCE, update)


async def _bulk_caps(wire: Wire, accounts: list[Account]) -> None:
    keys = [key for one in accounts for key in one.keys]
    for start in range(0, len(keys), BULK):
        some = [{"key": key, "max_budget": 13.0} for key in keys[start : start + BULK]]
        told = await wire.litellm("POST", "/key/bulk_update", json={"keys": some})
        assert len(told["successful_updates"]) == len(some)
