"""Ten thousand hostile deliveries: nothing breaks, nothing is bought."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.hostile.bare import unbalanced
from tests.hostile.evidence import Evidence
from tests.hostile.values import (
    BIG_BODIES,
    BODIES,
    EVENT_NAMES,
    HEAD,
    NOISE,
    TALK,
    TEXTS,
    anything,
    dumps,
    with_raw,
)
from tests.hostile.wire import Answer, Headers, Wire, request
from tests.integration.world import World, until
from tests.support import User

SEED = 20261124
DELIVERIES = 10_000
SIGNED_SHARE = 0.25
AT_ONCE = 16
SLOW_SECONDS = 180  # about 25 on two quiet cores
MIB = 1024 * 1024
PATHS = ("/webhooks/paystack", "/webhooks/paystack/", "/payment-webhook", "/payment-webhook/")
FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"

MONEY = {
    "credits": "select id, credits + coalesce((select -sum(delta) from public.credit_ledger l "
    "where l.user_id = p.id and kind = 'usage'), 0) from public.profiles p order by id",
    "ledger": "select count(*), sum(delta), max(id) from public.credit_ledger where kind <> 'usage'",
    "payments": "select id, user_id, order_id, amount, credits, currency, credited_at, paid_amount, "
    "provider_id, status in ('success', 'needs_review') from public.transactions order by id",
    "keys": "select id, user_id, litellm_key_id, state, max_budget, cap, rpm_limit, tpm_limit "
    "from public.virtual_keys order by id",
    "wallets": "select user_id, wallet_credits from keyfund.accounts order by 1",
}
"""What no delivery may change. Usage is left out: calls that were made before are still being booked."""


@dataclass
class Delivery:
    """One request, and the answers that are right for it."""

    body: bytes
    headers: Headers = field(default_factory=list)
    right: frozenset[int] = frozenset({401})
    chunked: bool = False


def sign(secret: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha512).hexdigest().encode()


# --- bodies -------------------------------------------------------------------------------------------------


def made_up(random: Random) -> str:
    """A reference that we never issued."""
    return f"kf-{random.getrandbits(128):032x}"


CHARGE = (FIXTURES / "charge.success.card.json").read_text()
RECORDED = [file.read_bytes() for file in sorted(FIXTURES.glob("*.json"))]


def charge(reference: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(CHARGE)
    event["data"]["reference"] = reference
    return event


class Bodies:
    """Bodies of all kinds, about these orders."""

    def __init__(self, random: Random, references: list[str]) -> None:
        self.random = random
        self.references = references
        self.kinds: list[tuple[int, Callable[[], bytes]]] = [
            (4, self.field_of_charge),
            (3, self.field_of_envelope),
            (2, self.raw_value),
            (2, self.broken),
            (2, self.reference),
            (2, self.event_name),
            (1, self.doubled),
            (1, self.recorded),
            (1, self.encoded),
            (1, self.nested),
        ]

    def make(self) -> bytes:
        weights = [weight for weight, _ in self.kinds]
        (_, kind), *_ = self.random.choices(self.kinds, weights)
        return kind()

    def event(self) -> dict[str, Any]:
        """A charge; every tenth is about an order that exists: asking Paystack must not drown the rest."""
        known = self.random.random() < 0.1
        return charge(self.random.choice(self.references) if known else made_up(self.random))

    def field_of_charge(self) -> bytes:
        event = self.event()
        data = event["data"]
        for name in self.random.sample(sorted(data), self.random.randint(1, 4)):
            if self.random.random() < 0.2:
                del data[name]
            else:
                data[name] = anything(self.random)
        return dumps(self.random, event)

    def field_of_envelope(self) -> bytes:
        event = self.event()
        name = self.random.choice(["event", "data", "extra", "id", "created_at"])
        return dumps(self.random, {**event, name: anything(self.random)})

    def raw_value(self) -> bytes:
        event = self.event()
        if self.random.random() < 0.3:
            return with_raw(self.random, event, self.random.choice(["event", "data", "more"]))
        inner = with_raw(
            self.random, event["data"], self.random.choice(["amount", "reference", "metadata", "id"])
        )
        return b'{"event":"charge.success","data":' + inner + b"}"

    def broken(self) -> bytes:
        if self.random.random() < 0.5:
            return self.random.choice(BIG_BODIES if self.random.random() < 0.05 else BODIES)
        whole = bytearray(dumps(self.random, self.event()))
        for _ in range(self.random.randint(1, 8)):
            whole[self.random.randrange(len(whole))] = self.random.randrange(256)
        return bytes(whole[: self.random.randint(1, len(whole))])

    def reference(self) -> bytes:
        real = self.random.choice(self.references)
        strange = [*TEXTS, "kf-" + "0" * 97, "kf-" + "0" * 98, real.upper(), real + " ", real[:-1]]
        event = self.event()
        event["data"]["reference"] = self.random.choice(strange)
        if self.random.random() < 0.3:
            event["data"]["transaction"] = {"reference": self.random.choice(self.references)}
        return dumps(self.random, event)

    def event_name(self) -> bytes:
        name: Any = self.random.choice([*EVENT_NAMES, 7, None, [], {"event": "charge.success"}])
        return dumps(self.random, {**self.event(), "event": name, "salt": self.random.random()})

    def doubled(self) -> bytes:
        """Each name twice: what was signed and what is read must be the same."""
        once = json.dumps(self.event())[1:-1]
        return ('{"event":"refund.failed",' + once + ',"data":{},' + once + "}").encode()

    def recorded(self) -> bytes:
        return self.random.choice(
            sorted(FIXTURES.glob("*.json"))
        ).read_bytes() + b" " * self.random.randrange(99)

    def encoded(self) -> bytes:
        text = json.dumps(self.event())
        return text.encode(
            self.random.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037"])
        )

    def nested(self) -> bytes:
        depth = self.random.choice([50, 500, 900, 1_100, 20_000])
        event = {**self.event(), "more": "@"}
        return json.dumps(event).encode().replace(b'"@"', b"[" * depth + b"]" * depth)


def giants(random: Random) -> Iterator[bytes]:
    """Up to and past one mebibyte."""
    for size in (MIB - 1, MIB, MIB + 1, 3 * MIB):
        yield b"x" * size
        for field_name in ("more", "event"):
            event = {**charge(made_up(random)), field_name: ""}
            short = json.dumps(event).encode()
            key = f'"{field_name}": "'.encode()
            yield short.replace(key, key + b"y" * (size - len(short)), 1)


# --- headers ------------------------------------------------------------------------------------------------


Forge = Callable[[str, bytes], bytes]

# Every way to be signed, but not by Paystack: from its key and the body.
FORGERIES: list[Forge] = [
    lambda key, body: sign(key, body)[:-1],
    lambda key, body: sign(key, body)[:-1] + b"x",
    lambda key, body: sign(key, body) + b"0",
    lambda key, body: sign(key, body)[::-1],
    lambda key, body: sign(key, body)[:64],
    lambda key, body: sign(key, body)[:64] + b"\xe9" + sign(key, body)[65:],
    lambda key, body: sign(key, body).upper(),
    lambda key, body: b"sha512=" + sign(key, body),
    lambda key, body: sign(key, body) + b"," + sign(key, body),
    lambda key, body: b"'" + sign(key, body) + b"'",
    lambda key, body: b64encode(bytes.fromhex(sign(key, body).decode())),
    lambda key, body: sign(key, body + b"\n"),
    lambda key, body: sign(key, b" " + body),
    lambda key, body: sign(key, b""),
    lambda key, body: sign(key, body[:-1] + b"~"),
    lambda key, body: sign("", body),
    lambda key, body: sign(key + "\n", body),
    lambda key, body: sign(key[:-1], body),
    lambda key, body: sign(key.upper(), body),
    lambda key, body: hashlib.sha512(body).hexdigest().encode(),
    lambda key, body: hashlib.sha512(key.encode() + body).hexdigest().encode(),
    lambda key, body: hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode(),
    lambda key, body: hmac.new(body, key.encode(), hashlib.sha512).hexdigest().encode(),
]
FANCIES = [
    b"",
    b"0" * 128,
    b"f" * 127,
    b"f" * 129,
    b"g" * 128,
    b"\xff" * 128,
    "é".encode() * 64,
    "０".encode() * 128,
]
FANCIES += [b"null", b"undefined", b"true", b"*", b"' or '1'='1", b"x" * 4000]
OTHER_PLACES = [
    "x-paystack-signatures",
    "paystack-signature",
    "x_paystack_signature",
    "authorization",
    "cookie",
]


def forge(random: Random, key: str, others: list[str], body: bytes) -> Headers:
    """The headers of somebody who does not hold the key, or does not know the rules."""
    name, right = "x-paystack-signature", sign(key, body)
    way = random.random()
    if way < 0.1:
        return []
    if way < 0.2:
        return [(random.choice(OTHER_PLACES), right)]
    if way < 0.25:
        return [(name, b"0" * 128), (name, right)]
    if way < 0.4:
        return [(name, random.choice(FANCIES))]
    if way < 0.5:
        return [(name, sign(random.choice(others), body))]
    forged = random.choice(FORGERIES)(key, body)
    return [(name, forged if forged != right else b"0" * 128)]


def deliveries(random: Random, secret: str, others: list[str], references: list[str]) -> Iterator[Delivery]:
    bodies = Bodies(random, references)
    for body in giants(random):
        size = {413} if len(body) > MIB else {200, 400}
        yield Delivery(body, [("x-paystack-signature", sign(secret, body))], frozenset(size))
        yield Delivery(body, [], frozenset({413} if len(body) > MIB else {401}))
    for _ in range(DELIVERIES - 24):
        body = bodies.make()
        noise = random.sample(NOISE, random.choice([0, 0, 1, 3]))
        if random.random() < SIGNED_SHARE:
            signature = [("x-paystack-signature", sign(secret, body))]
            yield Delivery(body, signature + noise, frozenset({200, 400}), random.random() < 0.1)
        else:
            signature = forge(random, secret, others, body)
            yield Delivery(body, signature + noise, chunked=random.random() < 0.1)


# --- the tests ----------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A world with orders in every state, and what must not change."""

    world: World
    references: list[str]
    first_event: int
    log_began: int

    @property
    def url(self) -> str:
        return self.world.env["WEBHOOK_BASE_URL"]

    def money(self) -> dict[str, list[tuple[Any, ...]]]:
        return {name: self.world.db.execute(query.encode()).fetchall() for name, query in MONEY.items()}

    def logged(self, event: str) -> int:
        """How often the webhook has logged an event since the scene began."""
        log = (self.world.stack.logs / "webhook.log").read_bytes()[self.log_began :]
        return log.count(f'"event": "{event}"'.encode())


@pytest.fixture(scope="module")
def scene(world: World) -> Iterator[Scene]:
    """Orders that are unpaid, credited, and waiting for a person. Leaves no event behind for others."""
    references = []
    for _ in range(2):
        user = world.sign_up()
        world.synced_key(user)
        unpaid, paid, misfit = (world.order(user)["reference"] for _ in range(3))
        world.pay(paid)
        world.pay(misfit, amount=1)
        world.until_status(user, paid, "success")
        world.until_status(user, misfit, "needs_review")
        until(partial(is_effective, world, user, paid), what="the credits are effective")
        references += [unpaid, paid, misfit]
    row = world.db.execute("select coalesce(max(id), 0) from keyfund.paystack_events").fetchone()
    assert row is not None
    log = world.stack.logs / "webhook.log"
    yield Scene(world, references, int(row[0]), log.stat().st_size)
    world.db.execute("delete from keyfund.paystack_events where id > %s", [row[0]])


def is_effective(world: World, user: User, reference: str) -> bool:
    return bool(world.payment(user, reference)["timeline"]["effective"])


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[tuple[int, frozenset[int], bytes, object]] = field(default_factory=list)
    cut: int = 0


async def attack(url: str, queue: Iterator[Delivery], random: Random, evidence: Evidence) -> Tally:
    tally = Tally()

    async def deliver(wire: Wire, one: Delivery) -> Answer | None:
        words = request(random.choice(PATHS), one.headers, one.body, pieces=20 if one.chunked else 0)
        for _ in range(3):
            if answer := await wire.send(words):
                return answer
        return None

    async def sender() -> None:
        async with Wire(url) as wire:
            for one in queue:
                answer = await deliver(wire, one)
                if answer is None and 413 in one.right:
                    tally.cut += (
                        1  # 413 was said and the rest not read: then the answer may be lost on the way
                    )
                    continue
                status = answer.status if answer else 0
                tally.statuses[status] += 1
                if answer is None or status not in one.right or not shaped(answer):
                    tally.wrong.append((status, one.right, one.body[:200], one.headers))
                if answer is not None:
                    evidence.note_raw(f"the webhook -> {status}", answer.body)

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return tally


def shaped(answer: Answer) -> bool:
    body = json.loads(answer.body)
    if answer.status == 200:
        return bool(body == {"received": True})
    return set(body) == {"error"} and set(body["error"]) == {"code", "message"}


def test_ten_thousand_hostile_deliveries_break_and_buy_nothing(scene: Scene, evidence: Evidence) -> None:
    world, random = scene.world, Random(SEED)
    env = world.env
    known = ("LITELLM_MASTER_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY")
    others = [*(env[name] for name in known), "undefined", "None", "sk_test_"]
    queue = deliveries(random, env["PAYSTACK_SECRET_KEY"], others, scene.references)
    before, began = scene.money(), time.monotonic()
    tally = asyncio.run(attack(scene.url, queue, random, evidence))
    seconds = time.monotonic() - began
    assert tally.wrong[:5] == []
    assert sum(tally.statuses.values()) + tally.cut == DELIVERIES
    assert tally.statuses[401] > DELIVERIES / 2
    assert tally.statuses[200] > DELIVERIES / 20
    assert tally.statuses[400] > DELIVERIES / 20
    assert seconds < SLOW_SECONDS
    until(lambda: handled(scene), what="what was stored is handled, or waits for Paystack's word")
    assert scene.money() == before
    assert unbalanced(world.db) == []
    assert observed_otherwise(scene) == []
    assert scene.logged("http.bug") == 0
    answers_quickly(scene)
    credits_a_real_payment(world)


def handled(scene: Scene) -> bool:
    row = scene.world.db.execute(
        "select count(*) from keyfund.paystack_events where id > %s and handled_at is null and attempts = 0",
        [scene.first_event],
    ).fetchone()
    return row == (0,)


def observed_otherwise(scene: Scene) -> list[tuple[Any, ...]]:
    """Unpaid orders whose state is not what Paystack says of them."""
    rows = scene.world.db.execute(
        "select reference, status, provider_status from public.transactions "
        "where reference = any(%s) and status not in ('success', 'needs_review')",
        [scene.references],
    ).fetchall()
    return [row for row in rows if row[1:] not in (("pending", None), ("abandoned", "abandoned"))]


def answers_quickly(scene: Scene) -> None:
    for path in ("/healthz", "/readyz"):
        times = []
        for _ in range(20):
            answer = scene.world.http.get(f"{scene.url}{path}")
            assert answer.status_code == 200
            times.append(answer.elapsed.total_seconds())
        assert sorted(times)[10] < 0.5


def credits_a_real_payment(world: World) -> None:
    buyer = world.sign_up()
    reference = world.order(buyer)["reference"]
    world.pay(reference)
    world.until_status(buyer, reference, "success", seconds=20)
    assert world.credits(buyer) == 1000


# --- below HTTP ---------------------------------------------------------------------------------------------


def say(url: str, words: bytes, seconds: float = 0.3) -> bytes:
    """What a raw connection is answered within a moment; then it is cut."""
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname or "", address.port or 0), timeout=5)) as wire:
        wire.settimeout(seconds)
        heard = b""
        try:
            wire.sendall(words)
            while more := wire.recv(65536):
                heard += more
        except OSError:
            pass
        return heard


def test_lies_below_http_are_refused_and_leave_no_traceback(scene: Scene) -> None:
    before = scene.money()
    for what, words in TALK.items():
        heard = say(scene.url, words)
        for line in heard.split(b"\r\n"):
            assert not line.startswith(b"HTTP/1.1 5"), what
        assert b"Traceback" not in heard, what
    assert scene.money() == before
    answers_quickly(scene)
    assert scene.logged("http.bug") == 0  # a client that goes away is no bug of ours
    log = (scene.world.stack.logs / "webhook.log").read_bytes()[scene.log_began :]
    assert b"Traceback" not in log


def test_a_hundred_senders_who_never_finish_keep_nobody_waiting(scene: Scene) -> None:
    address = urlsplit(scene.url)
    wires = [socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(100)]
    try:
        for number, wire in enumerate(wires):
            wire.sendall(HEAD + (b"content-length: 100000\r\n\r\n{" if number % 2 else b"x-half: "))
        answers_quickly(scene)
        credits_a_real_payment(scene.world)
    finally:
        for wire in wires:
            wire.close()
