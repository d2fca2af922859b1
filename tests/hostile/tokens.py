"""Access tokens that must open nothing."""

import base64
import json
import time
from dataclasses import dataclass
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support import User

Claims = dict[str, object]


@dataclass(frozen=True)
class Issuer:
    """What a forger knows (the shape) and does not know (the secret, which stands in for the true issuer)."""

    secret: str
    url: str

    def claims(self, user: User, **other: object) -> Claims:
        now = int(time.time())
        usual: Claims = {
            "iss": f"{self.url}/auth/v1",
            "sub": user.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": user.email,
            "iat": now - 10,
            "exp": now + 3600,
            "session_id": str(uuid4()),
        }
        changed = usual | other
        return {name: value for name, value in changed.items() if value is not None}

    def sign(self, user: User, **other: object) -> str:
        """Rightly signed, with other claims; None leaves one out."""
        return jwt.encode(self.claims(user, **other), self.secret, algorithm="HS256")


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forged(issuer: Issuer, user: User, keys: dict[str, str]) -> dict[str, str]:
    """By what is wrong with it, each as the value of the Authorization header."""
    claims = issuer.claims(user)
    head, body, signature = user.token.split(".")
    none = part({"alg": "none", "typ": "JWT"})
    curve, rsa_key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    own_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
    tokens = {
        "alg none": f"{none}.{body}.",
        "alg None": f"{part({'alg': 'None'})}.{body}.",
        "alg nOnE with the signature": f"{part({'alg': 'nOnE'})}.{body}.{signature}",
        "alg none without the last dot": f"{none}.{body}",
        "no alg": f"{part({'typ': 'JWT'})}.{body}.{signature}",
        "wrong secret": jwt.encode(claims, "w" * 64, algorithm="HS256"),
        "short secret": jwt.encode(claims, "secret", algorithm="HS256"),
        "the publishable key as secret": jwt.encode(claims, keys["SUPABASE_ANON_KEY"], algorithm="HS256"),
        "HS512 with the right secret": jwt.encode(claims, issuer.secret, algorithm="HS512"),
        "HS384 with the right secret": jwt.encode(claims, issuer.secret, algorithm="HS384"),
        "ES256 with a key of one's own": jwt.encode(claims, curve, algorithm="ES256"),
        "RS256 with a key of one's own": jwt.encode(claims, rsa_key, algorithm="RS256"),
        "a key in the header": jwt.encode(claims, rsa_key, algorithm="RS256", headers={"jwk": own_jwk}),
        "an address of keys in the header": jwt.encode(
            claims, rsa_key, algorithm="RS256", headers={"jku": f"{issuer.url}/evil.json", "kid": "x"}
        ),
        "a key id that is a path": jwt.encode(
            claims, "w" * 64, algorithm="HS256", headers={"kid": "../../../../dev/null"}
        ),
        "expired": issuer.sign(user, exp=int(time.time()) - 60),
        "expired long ago": issuer.sign(user, exp=1),
        "without an end": issuer.sign(user, exp=None),
        "not yet": issuer.sign(user, nbf=int(time.time()) + 3600),
        "another audience": issuer.sign(user, aud="anon"),
        "no audience": issuer.sign(user, aud=None),
        "role anon": issuer.sign(user, role="anon"),
        "role service_role": issuer.sign(user, role="service_role"),
        "role supabase_admin": issuer.sign(user, role="supabase_admin"),
        "role a list": issuer.sign(user, role=["authenticated"]),
        "no role": issuer.sign(user, role=None),
        "another issuer": issuer.sign(user, iss="https://evil.example/auth/v1"),
        "an issuer with a slash": issuer.sign(user, iss=f"{issuer.url}/auth/v1/"),
        "no subject": issuer.sign(user, sub=None),
        "somebody else's claims": f"{head}.{part({**claims, 'sub': str(uuid4())})}.{signature}",
        "cut signature": user.token[:-4],
        "swapped parts": f"{body}.{head}.{signature}",
        "four parts": f"{user.token}.{signature}",
        "an encrypted one's form": f"{head}.{body}.{signature}.{body}.{signature}",
        "nothing but dots": "..",
        "deep claims": f"{head}.{base64.urlsafe_b64encode(b'[' * 50_000).decode()}.{signature}",
        "no JSON": f"{base64.urlsafe_b64encode(b'no').decode()}.{body}.{signature}",
        "NUL": "\\0\\0\\0",
        "a long one": "a" * 20_000,
        "the user's id": user.id,
    }
    tokens |= {f"{name} as token": value for name, value in keys.items()}
    headers = {what: f"Bearer {token}" for what, token in tokens.items()}
    return headers | {
        "no scheme": user.token,
        "Basic": f"Basic {user.token}",
        "a scheme alone": "Bearer",
        "the token twice": f"Bearer {user.token} {user.token}",
        "with a comma": f"Bearer {user.token},{user.token}",
        "quoted": f'Bearer "{user.token}"',
    }
