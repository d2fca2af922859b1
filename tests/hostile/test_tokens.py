"""Tokens where the project's keys are public: what is published must not be enough to sign with."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from core.errors import RefusedError
from core.settings import Settings
from tests.hostile.tokens import Issuer, part
from tests.support import User
from webhook.tokens import TokenVerifier


class Jwks:
    """A project with asymmetric keys, its JWKS served to a TokenVerifier; no process needed."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.jwk = {
            **ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True),
            "kid": "one",
            "alg": "ES256",
            "use": "sig",
        }
        self.asked = 0
        settings = Settings(
            supabase_url="https://project.example",
            supabase_anon_key="sb_publishable_x",
            supabase_service_role_key=SecretStr("sb_secret_x"),
        )
        self.issuer = Issuer("", "https://project.example")
        self.verifier = TokenVerifier(settings, httpx.AsyncClient(transport=httpx.MockTransport(self.serve)))

    def serve(self, _request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(200, json={"keys": [self.jwk]})

    def sign(self, user: User, **other: object) -> str:
        return jwt.encode(
            self.issuer.claims(user, **other), self.key, algorithm="ES256", headers={"kid": "one"}
        )


@pytest.fixture
def jwks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Jwks:
    monkeypatch.delenv("SUPABASE_JWT_SECRET", raising=False)
    monkeypatch.chdir(tmp_path)  # away from anybody's .env
    return Jwks()


NOBODY = User(str(uuid4()), "nobody@example.com", "", "")


async def test_the_control_a_token_of_the_project_s_key_is_taken(jwks: Jwks) -> None:
    assert (await jwks.verifier.verify(f"Bearer {jwks.sign(NOBODY)}")).user_id == NOBODY.id


async def test_no_other_token_is_taken_where_keys_are_public(jwks: Jwks) -> None:
    user = User(NOBODY.id, NOBODY.email, "", jwks.sign(NOBODY))
    claims = jwks.issuer.claims(user)
    pem = jwks.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secrets = [pem, pem.strip(), json.dumps(jwks.jwk).encode(), str(jwks.jwk["x"]).encode(), b""]
    tokens = [hmac_signed(claims, secret, {"alg": "HS256", "kid": "one"}) for secret in secrets]
    other = ec.generate_private_key(ec.SECP256R1())
    tokens += [
        jwt.encode(claims, other, algorithm="ES256", headers={"kid": kid}) for kid in ("one", "two", "")
    ]
    tokens += [jwks.sign(user, **wrong) for wrong in WRONG_CLAIMS]
    body, signature = user.token.split(".")[1:]
    heads: list[dict[str, Any]] = [
        {"alg": "none", "kid": "one"}, {"alg": "ES256", "kid": ["one"]}, {"alg": "ES256", "kid": {"a": 1}},
        {"alg": "ES256", "kid": None}, {"alg": "ES256"}, {"alg": "ES384", "kid": "one"},
        {"alg": ["ES256"], "kid": "one"}, {"kid": "one"},
        {"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": False},
    ]  # fmt: skip
    tokens += [f"{part(head)}.{body}.{signature}" for head in heads]
    for token in tokens:
        with pytest.raises(RefusedError) as refused:
            await jwks.verifier.verify(f"Bearer {token}")
        assert (refused.value.status, refused.value.code) == (401, "not_signed_in")
    assert jwks.asked == 1  # made-up key ids do not make us ask again and again


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"iss": None}, {"iss": "https://evil.example/auth/v1"}, {"iss": "https://project.example"},
    {"aud": "anon"}, {"aud": None}, {"role": "service_role"}, {"role": None}, {"exp": 1}, {"exp": None},
    {"sub": None}, {"nbf": 2**33},
]  # fmt: skip


def hmac_signed(claims: dict[str, object], secret: bytes, head: dict[str, object]) -> str:
    """PyJWT itself refuses to sign with what looks like a public key."""
    signed = f"{part(head)}.{part(claims)}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
