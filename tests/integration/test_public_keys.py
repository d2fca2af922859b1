"""The HTTP API of a project that signs tokens with public keys, on a stack of its own; and its rate limit."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from dev import supabase
from dev.stack import ROOT, Stack
from tests.integration.world import Json, World, until
from tests.support import User

PER_MINUTE = 240


@pytest.fixture(scope="module")
def public_stack(homes: Path) -> Iterator[Stack]:
    settings = {"API_RATE_PER_MINUTE": str(PER_MINUTE)}
    with Stack(homes / "public-keys", settings=settings, asymmetric=True) as running:
        yield running


@pytest.fixture
def world(public_stack: Stack) -> Iterator[World]:
    """The same as elsewhere, on this stack."""
    env = public_stack.env

    def sign_up(email: str | None = None, **_: object) -> User:
        person = {"email": email or f"user-{uuid4().hex[:12]}@example.com", "password": uuid4().hex}
        headers = {"apikey": env["SUPABASE_ANON_KEY"]}
        answer = httpx.post(f"{env['SUPABASE_URL']}/auth/v1/signup", headers=headers, json=person, timeout=30)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return User(body["user"]["id"], person["email"], person["password"], body["access_token"])

    with psycopg.connect(public_stack.superuser_url("keyfund"), autocommit=True) as db:
        world = World(public_stack, db, sign_up)
        yield world
        world.http.close()


def sign_in(world: World, user: User) -> User:
    """The same person with a token of the project's key of now."""
    answer = world.http.post(
        f"{world.env['SUPABASE_URL']}/auth/v1/token?grant_type=password",
        headers={"apikey": world.env["SUPABASE_ANON_KEY"]},
        json={"email": user.email, "password": user.password},
    )
    assert answer.status_code == 200, answer.text
    return User(user.id, user.email, user.password, answer.json()["access_token"])


def jwk(world: World) -> Json:
    answer = world.http.get(f"{world.env['SUPABASE_URL']}/auth/v1/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    told: Json = key
    return told


def status_with(world: World, token: str) -> int:
    who = User("", "", "", token)
    return world.api(who, "GET", "/api/keys/manage").status_code


def test_the_whole_way_with_a_token_of_a_public_key(world: World) -> None:
    user = world.sign_up()
    head = jwt.get_unverified_header(user.token)
    assert (head["alg"], head["kid"]) == ("ES256", jwk(world)["kid"])
    assert "SUPABASE_JWT_SECRET" not in world.env
    made = world.api(user, "POST", "/api/keys/manage", json={"name": "laptop"})
    assert made.status_code == 201, made.text
    until(lambda: world.keys(user)[0]["sync_status"] == "synced", what="the key is synced")
    assert world.call(made.json()).status_code == 200
    answer = world.api(user, "POST", "/api/keys/sync", json={"keyId": made.json()["id"], "action": "update"})
    assert answer.json()["key"]["sync_status"] == "synced"
    reference = world.order(user)["reference"]
    world.pay(reference)
    until(lambda: world.credits(user) >= 900, what="the credits are there")
    assert world.payment(user, reference)["status"] == "success"
    assert world.api(user, "GET", f"/api/credits/transactions/{reference}/receipt").status_code == 200
    assert world.api(user, "GET", "/api/status").json()["litellm"]["connected"] is True
    refused = world.api(user, "GET", "/api/admin/resync")
    assert refused.status_code == 403


def test_only_the_project_s_own_signature_counts(world: World) -> None:
    user = world.sign_up()
    claims = jwt.decode(user.token, options={"verify_signature": False})
    public = jwk(world)
    key: Any = ECAlgorithm.from_jwk(public)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secrets = [pem, pem.strip(), json.dumps(public).encode(), world.stack.keys.jwt_secret.encode(), b""]
    forged = [confused(claims, public["kid"], secret) for secret in secrets]
    other = ec.generate_private_key(ec.SECP256R1())
    kids = (public["kid"], "another", "")
    forged += [jwt.encode(claims, other, algorithm="ES256", headers={"kid": kid}) for kid in kids]
    assert [status_with(world, token) for token in forged] == [401] * len(forged)
    assert status_with(world, user.token) == 200


def confused(claims: Json, kid: str, secret: bytes) -> str:
    """HS256, with what is published as the secret; PyJWT itself refuses to sign with that."""
    head = {"alg": "HS256", "typ": "JWT", "kid": kid}
    signed = ".".join(encoded(json.dumps(one).encode()) for one in (head, claims))
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_one_who_calls_too_often_is_told_when_to_come_back_and_others_are_not(world: World) -> None:
    busy, other = world.sign_up(), world.sign_up()

    def call() -> httpx.Response:
        return world.api(busy, "GET", "/api/nowhere")  # which asks no database

    answers = [call() for _ in range(PER_MINUTE)]
    assert {one.status_code for one in answers} == {404}
    refused = next(answer for answer in (call() for _ in range(PER_MINUTE)) if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "too_many_calls"
    assert int(refused.headers["retry-after"]) >= 1
    assert world.api(other, "GET", "/api/credits/packages").status_code == 200
    url = world.env["WEBHOOK_BASE_URL"]
    assert world.http.get(f"{url}/readyz").status_code == 200
    assert world.deliver(b"{}", signature="0" * 128).status_code == 401


def test_nobodies_are_counted_by_the_address_that_the_proxy_tells(world: World) -> None:
    url = f"{world.env['WEBHOOK_BASE_URL']}/api/status"

    def call(host: str) -> int:
        return world.http.get(url, headers={"x-forwarded-for": host}).status_code

    statuses = [call("203.0.113.1") for _ in range(PER_MINUTE + 60)]
    assert statuses[:PER_MINUTE] == [401] * PER_MINUTE
    assert 429 in statuses
    assert call("203.0.113.2") == 401
    assert world.api(world.sign_up(), "GET", "/api/status").status_code == 200


def test_a_new_signing_key_is_picked_up_and_the_withdrawn_one_refused(world: World) -> None:
    """The last test of this file: afterwards the project signs with another key."""
    old = world.sign_up()
    assert status_with(world, old.token) == 200
    stack, before = world.stack, jwk(world)["kid"]
    keys = stack.keys
    changed = replace(keys, signing_key=supabase.Keys.random(asymmetric=True).signing_key)
    stack.stop_part("supabase")
    stack.parts["supabase"] = supabase.part(
        ROOT, address=stack.address, database="keyfund", port=stack.ports["supabase"], keys=changed
    )
    del stack.children["supabase"]
    stack.start_part("supabase")
    assert jwk(world)["kid"] != before
    new = sign_in(world, old)
    until(lambda: status_with(world, new.token) == 200, seconds=30, what="the new key is picked up")
    assert status_with(world, old.token) == 401
