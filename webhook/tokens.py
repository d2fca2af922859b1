"""Checking a Supabase access token here, without asking anyone.

Either HS256 with the project's secret or asymmetric keys from its JWKS, never both: the mode is fixed by
the settings, so a token cannot choose how it is checked.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from core.errors import RefusedError
from core.refusals import refused, unavailable
from core.settings import Settings

ASYMMETRIC = ["ES256", "RS256", "EdDSA"]
AUDIENCE = ROLE = "authenticated"
LEEWAY_SECONDS = 30  # as PostgREST has it: clocks differ, and a token is used the moment it is made
JWKS_SECONDS = 600  # Supabase asks for at most ten minutes
JWKS_PAUSE_SECONDS = 15  # how often an unknown key id, or a project that is away, may make us ask again
JWKS_FIRST_PAUSE_SECONDS = 1  # the same before the first answer: nobody can sign in until then


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as Supabase says, and the token to act as them."""

    user_id: str
    token: str


class TokenVerifier:
    """Verifies access tokens; keeps the project's public keys.

    A key is trusted from when the project publishes it until at most ten minutes after it withdrew it. While
    the project cannot be asked, those that it published last go on being trusted.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        secret = settings.supabase_jwt_secret
        self._secret = secret.get_secret_value() if secret is not None else None
        self._issuer = f"{settings.supabase_url}/auth/v1"
        self._client = client
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def verify(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization: Bearer`` header.

        Raises:
            RefusedError: 401, for whatever reason: the reason is nobody's business.
            TransientError: the project's keys cannot be had.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _not_signed_in()
        try:
            claims = await self._decode(token.strip())
        except (jwt.PyJWTError, ValueError):
            raise _not_signed_in() from None
        if claims.get("role") != ROLE or not isinstance(claims.get("sub"), str):
            raise _not_signed_in()
        return Caller(user_id=claims["sub"], token=token.strip())

    async def _decode(self, token: str) -> dict[str, Any]:
        if self._secret is not None:
            # Projects with a shared secret may leave the issuer out; a wrong one is still wrong.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                ["HS256"],
                audience=AUDIENCE,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "aud", "sub"]},
            )
            if claims.get("iss", self._issuer) != self._issuer:
                raise jwt.InvalidIssuerError
            return claims
        key = await self._key(jwt.get_unverified_header(token).get("kid"))
        decoded: dict[str, Any] = jwt.decode(
            token,
            key.key,
            [key.algorithm_name],
            audience=AUDIENCE,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "aud", "sub", "iss"]},
        )
        return decoded

    async def _key(self, key_id: object) -> jwt.PyJWK:
        if self._must_ask(key_id):
            async with self._asking:  # one asks, the others wait for what it hears
                if self._must_ask(key_id):
                    await self._fetch_keys()
        if self._read_at is None:
            raise unavailable("keys_unavailable")
        if not isinstance(key_id, str) or key_id not in self._keys:
            raise jwt.InvalidKeyError
        return self._keys[key_id]

    def _must_ask(self, key_id: object) -> bool:
        now = time.monotonic()
        if self._read_at is None:
            return now - self._asked_at > JWKS_FIRST_PAUSE_SECONDS
        known = isinstance(key_id, str) and key_id in self._keys
        return now - self._asked_at > JWKS_PAUSE_SECONDS and (not known or now - self._read_at > JWKS_SECONDS)

    async def _fetch_keys(self) -> None:
        try:
            response = await self._client.get(f"{self._issuer}/.well-known/jwks.json")
            response.raise_for_status()
            published = list(response.json()["keys"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return  # those we have are still the best we know
        finally:
            self._asked_at = time.monotonic()
        self._read_at = self._asked_at
        self._keys = {str(key.key_id): key for one in published if (key := _read_key(one)) is not None}


def _read_key(published: Any) -> jwt.PyJWK | None:
    """A key for signatures that we check; None for any other: it must not keep the rest from being used."""
    if not isinstance(published, dict) or published.get("alg") not in ASYMMETRIC or not published.get("kid"):
        return None
    try:
        return jwt.PyJWK(published)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _not_signed_in() -> RefusedError:
    return refused("not_signed_in")
