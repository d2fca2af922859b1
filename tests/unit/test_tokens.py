"""Tokens of a project with public keys: its keys come and go, and only its own signatures count."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from core.errors import RefusedError, TransientError
from core.settings import Settings
from tests.unit.service import make_settings, token
from webhook import tokens
from webhook.tokens import JWKS_PAUSE_SECONDS, JWKS_SECONDS, TokenVerifier

URL = "https://project.test"
JWKS = f"{URL}/auth/v1/.well-known/jwks.json"


class Key:
    """One of the project's signing keys."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.private = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.jwk = {**public, "kid": key_id, "alg": "ES256", "use": "sig"}

    def claims(self, **other: object) -> dict[str, object]:
        usual = {"iss": f"{URL}/auth/v1", "sub": "u1", "aud": "authenticated", "role": "authenticated"}
        return {**usual, "exp": int(time.time()) + 86_400, **other}

    def sign(self, **other: object) -> str:
        return jwt.encode(self.claims(**other), self.private, algorithm="ES256", headers={"kid": self.key_id})


class Project:
    """The project's JWKS, as it is published now, and a verifier with a clock of its own."""

    def __init__(self, mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.keys: list[Any] = []
        self.away = False
        self.route = mock.get(JWKS).mock(side_effect=self.answer)
        monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: self.now))
        settings = Settings.model_validate(
            {
                "supabase_url": URL,
                "supabase_service_role_key": "sb_secret_x1234",
                "supabase_anon_key": "sb_publishable_x",
            }
        )
        self.verifier = TokenVerifier(settings, httpx.AsyncClient())

    def answer(self, _request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if self.away else httpx.Response(200, json={"keys": self.keys})

    @property
    def asked(self) -> int:
        return int(self.route.call_count)

    async def takes(self, token: str) -> bool:
        try:
            return (await self.verifier.verify(f"Bearer {token}")).user_id == "u1"
        except RefusedError as error:
            if (error.status, error.code) != (401, "not_signed_in"):
                raise
            return False


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.delenv("SUPABASE_JWT_SECRET", raising=False)
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    with respx.mock(assert_all_called=False) as mock:
        yield Project(mock, monkeypatch)


async def test_a_token_of_a_published_key_is_taken_and_the_keys_are_asked_for_once(project: Project) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert all([await project.takes(key.sign()) for _ in range(20)])
    assert project.asked == 1


async def test_many_at_once_ask_once(project: Project) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert all(await asyncio.gather(*(project.takes(key.sign()) for _ in range(20))))
    assert project.asked == 1


async def test_a_new_key_is_picked_up_beside_the_old_one(project: Project) -> None:
    old, new = Key("old"), Key("new")
    project.keys = [old.jwk]
    assert await project.takes(old.sign())
    project.keys = [old.jwk, new.jwk]
    project.now += JWKS_PAUSE_SECONDS + 1
    assert await project.takes(new.sign())
    assert await project.takes(old.sign())
    assert project.asked == 2


async def test_a_withdrawn_key_is_refused_once_the_cache_ends(project: Project) -> None:
    assert JWKS_SECONDS <= 600  # Supabase's own caches: no key may be trusted for longer
    old, new = Key("old"), Key("new")
    project.keys = [old.jwk]
    assert await project.takes(old.sign())
    project.keys = [new.jwk]
    project.now += JWKS_SECONDS - 1
    assert await project.takes(old.sign())
    project.now += 2
    assert not await project.takes(old.sign())
    assert await project.takes(new.sign())


async def test_the_last_key_withdrawn_leaves_none_that_is_taken(project: Project) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert await project.takes(key.sign())
    project.keys = []
    project.now += JWKS_SECONDS + 1
    assert not await project.takes(key.sign())


async def test_made_up_key_ids_make_us_ask_at_most_every_15_seconds(project: Project) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert await project.takes(key.sign())
    made_up = Key("made up").sign()
    for _ in range(600):  # a minute of ten such tokens a second
        project.now += 0.1
        assert not await project.takes(made_up)
    assert project.asked <= 5
    assert await project.takes(key.sign())


async def test_a_project_that_is_away_is_asked_now_and_then_and_its_last_keys_are_kept(
    project: Project,
) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert await project.takes(key.sign())
    project.away = True
    project.now += JWKS_SECONDS + 1
    assert all([await project.takes(key.sign()) for _ in range(20)])
    assert project.asked == 2
    project.now += JWKS_PAUSE_SECONDS + 1
    assert await project.takes(key.sign())
    assert project.asked == 3


async def test_before_the_first_answer_nobody_is_called_signed_out(project: Project) -> None:
    key = Key("one")
    project.keys, project.away = [key.jwk], True
    for _ in range(20):
        with pytest.raises(TransientError, match="keys_unavailable"):
            await project.verifier.verify(f"Bearer {key.sign()}")
    assert project.asked == 1
    project.away = False
    project.now += 2
    assert await project.takes(key.sign())


@pytest.mark.parametrize(
    "odd",
    [{}, {"kty": "EC"}, {"kid": "x", "alg": "ES256"}, {"kid": "x", "alg": "ES256", "kty": "oct", "k": "AAAA"},
     {"kid": "x", "alg": "HS256", "kty": "oct", "k": "AAAA"}, "x", None, 7, ["x"],
     {"kid": "x", "alg": "ES256", "kty": "EC", "crv": "P-256", "x": "!", "y": "!"}],
    ids=str,
)  # fmt: skip
async def test_a_key_that_cannot_be_used_does_not_spoil_the_others(project: Project, odd: object) -> None:
    key = Key("one")
    project.keys = [odd, key.jwk]
    assert await project.takes(key.sign())


async def test_what_is_published_is_not_enough_to_sign_with(project: Project) -> None:
    """Algorithm confusion: the public key, in any writing, as the secret of an HS256 token."""
    key = Key("one")
    project.keys = [key.jwk]
    public = key.private.public_key()
    shapes = [
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
        json.dumps(key.jwk).encode(),
        base64.urlsafe_b64decode(str(key.jwk["x"]) + "="),
        b"",
    ]
    for shape in [*shapes, shapes[0].strip()]:
        for algorithm in ("HS256", "ES256"):
            assert not await project.takes(with_hmac(key, shape, algorithm))
    other = Key("one")  # another key under the same name
    assert not await project.takes(other.sign())
    assert await project.takes(key.sign())


def with_hmac(key: Key, secret: bytes, algorithm: str) -> str:
    """PyJWT itself refuses to sign with what looks like a public key."""
    parts = [{"alg": algorithm, "typ": "JWT", "kid": key.key_id}, key.claims()]
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "wrong",
    [{"iss": "https://evil.test/auth/v1"}, {"aud": "anon"}, {"role": "service_role"}, {"exp": 1},
     {"sub": 7}],
    ids=str,
)  # fmt: skip
async def test_wrong_claims_are_refused_whoever_signed_them(project: Project, wrong: dict[str, Any]) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    assert not await project.takes(key.sign(**wrong))


async def test_with_a_shared_secret_no_public_key_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is the settings', never the token's: nobody is even asked for keys."""
    secret = "s" * 40
    settings = Settings.model_validate(
        {
            "supabase_url": URL,
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
            "supabase_jwt_secret": secret,
        }
    )
    verifier = TokenVerifier(settings, httpx.AsyncClient())
    key = Key("one")
    with respx.mock:  # which fails on any request
        taken = await verifier.verify(f"Bearer {jwt.encode(key.claims(), secret, algorithm='HS256')}")
        assert taken.user_id == "u1"
        with pytest.raises(RefusedError):
            await verifier.verify(f"Bearer {key.sign()}")


SKEWS = [
    ({"iat": 1}, True), ({"iat": 5}, True), ({"iat": 20}, True), ({"iat": 28}, True), ({"iat": 60}, False),
    ({"nbf": 1}, True), ({"nbf": 20}, True), ({"nbf": 28}, True), ({"nbf": 60}, False),
    ({"exp": -1}, True), ({"exp": -20}, True), ({"exp": -28}, True), ({"exp": -60}, False),
]  # fmt: skip


@pytest.mark.parametrize(("skew", "taken"), SKEWS, ids=str)
async def test_clocks_may_differ_by_half_a_minute(
    project: Project, skew: dict[str, int], taken: bool
) -> None:
    key = Key("one")
    project.keys = [key.jwk]
    times = {name: int(time.time()) + seconds for name, seconds in skew.items()}
    assert await project.takes(key.sign(**times)) is taken


@pytest.mark.parametrize(("skew", "taken"), SKEWS, ids=str)
async def test_so_they_may_with_a_shared_secret(skew: dict[str, int], taken: bool) -> None:
    verifier = TokenVerifier(make_settings(), httpx.AsyncClient())
    times = {name: int(time.time()) + seconds for name, seconds in skew.items()}
    asked = verifier.verify(token("u1", **times)["authorization"])
    if taken:
        assert (await asked).user_id == "u1"
    else:
        with pytest.raises(RefusedError):
            await asked
