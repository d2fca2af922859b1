"""The same signed deliveries, to the peer and to Keyfund in turns."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psycopg

from bench.bare import Account, wired
from bench.intake import CREDITED
from bench.load import fire
from bench.measure import Line, Row, Series
from bench.push import KEYS_EACH, PUSHED, create_bare, create_keys
from bench.scene import Scene, staged
from dev.child import Child
from dev.part import Part
from dev.postgres import SUPERUSER
from dev.stack import ROOT, free_port

DELIVERIES, KEYS, CONNECTIONS = 10_000, 2_000, 32
VENV = ROOT / ".stack" / "peer-venv"
REQUIREMENTS = ROOT / "requirements" / "peer.txt"
SITE = Path(__file__).parent


def measure(runs: int, scale: float) -> list[Row]:
    """Once, because of the size; the deliveries come in five turns."""
    scale = min(1, scale) if runs > 2 else 0.06
    with staged("peer") as scene:
        keys = asyncio.run(_push(scene, int(KEYS * scale)))
        scene.stack.stop_part("litellm")
        with _peer(scene) as url:
            return [*asyncio.run(_deliver(scene, url, int(DELIVERIES * scale))), keys]


async def _deliver(scene: Scene, url: str, count: int) -> list[Row]:
    turns = 5
    theirs, ours, credited = list[float](), list[float](), list[float]()
    for _ in range(turns):
        paid = await scene.pay(scene.sign_up(count // turns))
        shots = [scene.delivery(one) for one in paid]
        theirs.append((await fire([replace(one, url=url) for one in shots], CONNECTIONS)).per_second)
        began = time.perf_counter()
        ours.append((await fire(shots, CONNECTIONS)).per_second)
        await scene.until(CREDITED, [one.reference for one in paid])
        credited.append(len(paid) / (time.perf_counter() - began))
    what = f"{count:,} deliveries, {CONNECTIONS} connections"
    peer = "paystack-django, stored"
    return [
        Line(f"{what}: stored", "events/s", Series.of(ours), peer, Series.of(theirs)),
        Line(f"{what}: verified and credited", "events/s", Series.of(credited), peer, Series.of(theirs)),
    ]


async def _push(scene: Scene, keys: int) -> Row:
    users = scene.sign_up(keys // KEYS_EACH)
    await scene.until(PUSHED, users=users)
    began = time.perf_counter()
    await create_keys(scene, users)
    ours = keys / (time.perf_counter() - began)
    async with wired(scene.env) as wire:
        began = time.perf_counter()
        await create_bare(wire, [Account.with_keys(KEYS_EACH) for _ in users], 1)
    alone = keys / (time.perf_counter() - began)
    return Line(
        f"{keys:,} keys pushed", "keys/s", Series.of([ours]), "one call after another", Series.of([alone])
    )


@contextmanager
def _peer(scene: Scene) -> Iterator[str]:
    """The package behind gunicorn, two processes of eight threads; ends with its webhook's address."""
    _install()
    with psycopg.connect(scene.stack.superuser_url("postgres"), autocommit=True) as database:
        database.execute("create database peer")
    port = free_port()
    env = {
        "PEER_PORT": str(scene.stack.address.port),
        "PEER_USER": SUPERUSER,
        "PEER_PASSWORD": scene.stack.address.passwords[SUPERUSER],
        "PEER_SECRET": scene.env["PAYSTACK_SECRET_KEY"],
    }
    python = str(VENV / "bin" / "python")
    subprocess.run([python, str(SITE / "project.py")], check=True, env=os.environ | env)
    options = ["--workers", "2", "--threads", "8", "--bind", f"127.0.0.1:{port}", "--chdir", str(SITE)]
    url = f"http://127.0.0.1:{port}/webhook/"
    part = Part(
        name="peer",
        argv=[python, "-m", "gunicorn", *options, "project:application"],
        url=url,
        ready=lambda: _answers(url),
        env=env,
    )
    child = Child(part, ROOT / ".stack" / "bench" / "peer.log", {})
    try:
        child.spawn()
        child.wait_ready()
        yield url
    finally:
        child.stop()


def _install() -> None:
    """The peer and what it needs, by hash, in a virtual environment of its own; nothing if it is there."""
    stamp = VENV / ".installed"
    wanted = REQUIREMENTS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)], check=True)
    stamp.write_text(wanted)


def _answers(url: str) -> bool:
    try:
        urlopen(url, timeout=2).close()  # noqa: S310 (our own http address)
    except URLError as error:
        return getattr(error, "code", None) == 405  # it takes POST alone
    except OSError:
        return False
    return True
