"""Values that have broken services before. All chance is seeded, so that a failure can be repeated."""

import json
from random import Random
from typing import Any

TEXTS = [
    "", " ", "\t\n", "null", "undefined", "0", "-1", "1e999", "NaN", "true", "[]", "{}", "a\0b", "\0",
    "\x01\x1b[31m", "\x7f", "\u202eevil", "\ufeff", "ＡＢＣ", "Ω≈ç√", "👩‍👩‍👧", "e\u0301" * 20, "x" * 101,
    "x" * 10_000, "../../etc/passwd", "%00", "%2e%2e%2f", "..\\..\\", "a\r\nx-injected: yes",
    "' or 1=1 --", "'; drop table public.profiles; --", "\") ; select pg_sleep(5); --",
    "1) or (select count(*) from auth.users) > 0", "$$; select 1; $$", "*", "%", "_", "{{7*7}}",
    "${jndi:ldap://127.0.0.1/x}", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>",
    "sk-kf-made-up", "kf-00000000000000000000000000000000", "=cmd|' /C calc'!A0",
    "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000", "starter-ngn\0",
    "STARTER-NGN", " starter-ngn", "starter-ngn'",
]  # fmt: skip
NUMBERS = [
    0, -0.0, -1, 1, 1.5, 0.1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63,
    -(2**63) - 1, 10**30, 1e308, -1e308, 5e-324, 10**400,
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, [], {}, [None], [[]], {"": None}, {"$ne": None}, {"toString": 1}, ["x"] * 1000,
    {"__proto__": {"admin": True}}, {"a": {"b": {"c": {}}}}, [{"id": 1}, {"id": 1}],
]  # fmt: skip
RAW_JSON = [
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"0.1e-99999", b'"\\ud800"',
    b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xff\xfe"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"01", b"+1",
    b".5", b"0x10", b"'x'", b"tru", b'{"a":1,"a":2}', b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b"/**/1", b"1,", b"\xef\xbb\xbf1",
]  # fmt: skip
"""Values as bytes, for what no JSON writer makes."""

BODIES = [
    b"", b" ", b"null", b"true", b"0", b'""', b"[]", b"{}", b"[{}]", b"{", b"}", b'{"', b'{"a"', b'{"a":}',
    b"{,}", b"\0", b"\xff", b"\xfe\xff\x00{", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"a=b&c=d", b"<xml/>",
    b"--x\r\n", '{"name": "x"}'.encode("utf-16"), '{"name": "x"}'.encode("utf-32"), b"\xef\xbb\xbf{}",
    b'{"name":"x"}{"name":"y"}', b'{"name":"x"} x',
]  # fmt: skip

BIG_BODIES = [b"[" * 200_000, b'{"a":' * 100_000, b"[" * 50_000 + b"]" * 50_000, b" " * 500_000]

EVENT_NAMES = [
    "charge.success", "charge.success ", "CHARGE.SUCCESS", "charge.success\0", "charge.sucess", "charge",
    ".", "-", "a" * 100, "a" * 101, "refund.processed", "charge.dispute.create", "transfer.success",
    "no.such.event", "été", "charge..success", "x\ny", "",
]  # fmt: skip
"""For a delivery's envelope."""

NOISE: list[tuple[str, bytes]] = [
    ("content-type", b"application/json"), ("content-type", b"text/plain; charset=utf-16"),
    ("content-type", b"multipart/form-data"), ("content-type", b"application/x-www-form-urlencoded"),
    ("content-type", b"\xff\xfe"), ("content-encoding", b"gzip"), ("content-encoding", b"br"),
    ("x-forwarded-for", b"52.31.139.75"), ("x-real-ip", b"52.214.14.220"),
    ("x-forwarded-proto", b"javascript"), ("forwarded", b"for=52.49.173.169"),
    ("x-http-method-override", b"DELETE"), ("x-original-url", b"/api/status"), ("expect", b"nothing"),
    ("accept", b"\xc3\xa9"), ("range", b"bytes=0-1"), ("authorization", b"Bearer x"),
    ("cookie", b"a=\xe9;" * 50), ("user-agent", b"${jndi:ldap://127.0.0.1/x}"),
    ("accept-encoding", b"identity;q=0"), ("x-very-long", b"y" * 8000), ("origin", b"null"),
    ("transfer-encodings", b"chunked"), ("upgrade", b"h2c"), ("te", b"trailers"),
]  # fmt: skip
"""Headers that a delivery may carry and that must not matter."""

HEAD = b"POST /webhooks/paystack HTTP/1.1\r\nhost: keyfund\r\n"
TALK: dict[str, bytes] = {
    "content-length too long": HEAD + b"content-length: 500\r\n\r\n{}",
    "content-length too short": HEAD + b"content-length: 1\r\n\r\n{}GET /healthz HTTP/1.1\r\n\r\n",
    "content-length negative": HEAD + b"content-length: -1\r\n\r\n{}",
    "content-length huge": HEAD + b"content-length: 99999999999999999999\r\n\r\n{}",
    "content-length no number": HEAD + b"content-length: ten\r\n\r\n{}",
    "content-length twice": HEAD + b"content-length: 2\r\ncontent-length: 5\r\n\r\n{}",
    "content-length with plus": HEAD + b"content-length: +2\r\n\r\n{}",
    "length and chunked": HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    "chunk too long": HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n{}\r\n",
    "chunk size huge": HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n",
    "chunk size no number": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "chunks never ended": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "chunk extension": HEAD + b'transfer-encoding: chunked\r\n\r\n2;x="\r\n{}\r\n0\r\n\r\n',
    "unknown coding": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding in disguise": HEAD + b"transfer-encoding: \x0bchunked\r\ncontent-length: 2\r\n\r\n{}",
    "header without a colon": HEAD + b"nonsense\r\n\r\n",
    "header with NUL": HEAD + b"x-a: b\0c\r\ncontent-length: 2\r\n\r\n{}",
    "header with a bare CR": HEAD + b"x-a: b\rx-paystack-signature: c\r\ncontent-length: 2\r\n\r\n{}",
    "header with a bare LF": HEAD + b"x-a: b\nx-paystack-signature: c\ncontent-length: 2\n\n{}",
    "header folded": HEAD + b"x-paystack-signature: a\r\n b\r\ncontent-length: 2\r\n\r\n{}",
    "header name with a space": HEAD + b"x-paystack-signature : a\r\ncontent-length: 2\r\n\r\n{}",
    "header of 200 kB": HEAD + b"x-a: " + b"y" * 200_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "ten thousand headers": HEAD + b"a: b\r\n" * 10_000 + b"content-length: 2\r\n\r\n{}",
    "no host": b"POST /webhooks/paystack HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/0.9": b"GET /webhooks/paystack\r\n",
    "HTTP/3.0": b"POST /webhooks/paystack HTTP/3.0\r\nhost: x\r\n\r\n",
    "method with NUL": b"PO\0ST /webhooks/paystack HTTP/1.1\r\nhost: x\r\n\r\n",
    "path of 100 kB": b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    "path with NUL": b"POST /webhooks/paystack%00 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    "path not ASCII": b"POST /webhooks/\xff\xfe HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    "path absolute": b"POST http://evil.example/webhooks/paystack HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
    "path climbing": b"POST /api/../webhooks/paystack HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
    "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n",
    "upgrade": HEAD + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), "nothing at all": b"",
    "expect continue and go": HEAD + b"expect: 100-continue\r\ncontent-length: 10\r\n\r\n",
}  # fmt: skip
"""What is said on a raw connection."""

PLACE = b'"@@here@@"'


def anything(random: Random) -> Any:
    """A value of any type."""
    kinds: list[list[Any]] = [TEXTS, NUMBERS, OTHERS]
    return random.choice(random.choice(kinds))


def dumps(random: Random, document: Any) -> bytes:
    """A document in one of the ways to write it."""
    text = json.dumps(
        document,
        ensure_ascii=random.random() < 0.7,
        indent=random.choice([None, None, 1, 4]),
        separators=random.choice([None, (",", ":"), (" , ", " : ")]),
    )
    return (random.choice(["", " ", "\n"]) + text + random.choice(["", "\r\n"])).encode(
        errors="surrogatepass"
    )


def with_raw(random: Random, document: dict[str, Any], name: str) -> bytes:
    """The document with something as the named field's value that no JSON writer makes."""
    return (
        json.dumps({**document, name: PLACE.decode().strip('"')})
        .encode()
        .replace(PLACE, random.choice(RAW_JSON), 1)
    )
