"""Deliveries to the webhook: bodies of all kinds, signed and forged, and which answers are right."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.hostile.values import BIG_BODIES, BODIES, EVENT_NAMES, NOISE, TEXTS, anything, dumps, with_raw
from tests.hostile.wire import Headers

SIGNED_SHARE = 0.25
MIB = 1024 * 1024
FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"


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


def deliveries(
    random: Random, count: int, secret: str, others: list[str], references: list[str]
) -> Iterator[Delivery]:
    bodies = Bodies(random, references)
    for body in giants(random):
        size = {413} if len(body) > MIB else {200, 400}
        yield Delivery(body, [("x-paystack-signature", sign(secret, body))], frozenset(size))
        yield Delivery(body, [], frozenset({413} if len(body) > MIB else {401}))
    for _ in range(count - 24):
        body = bodies.make()
        noise = random.sample(NOISE, random.choice([0, 0, 1, 3]))
        if random.random() < SIGNED_SHARE:
            signature = [("x-paystack-signature", sign(secret, body))]
            yield Delivery(body, signature + noise, frozenset({200, 400}), random.random() < 0.1)
        else:
            signature = forge(random, secret, others, body)
            yield Delivery(body, signature + noise, chunked=random.random() < 0.1)
