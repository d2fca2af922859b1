"""The HTTP side: what to install, and the process that serves /auth/v1 and /rest/v1."""

import json
import os
import secrets
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from dev.npm import NODE, install_modules
from dev.part import Part
from dev.postgres import Address
from dev.service import healthy

HERE = Path(__file__).parent

API = ("schemas", "extra_search_path", "max_rows")
AUTH = ("site_url", "additional_redirect_urls", "jwt_expiry", "enable_signup", "enable_anonymous_sign_ins",
        "minimum_password_length", "password_requirements", "enable_refresh_token_rotation",
        "refresh_token_reuse_interval")  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """What a project's settings page shows.

    ``signing_key`` is a private ES256 key as JWK: it signs user tokens, and its public half is in the
    project's JWKS, as in every new project. Empty in projects that still sign with ``jwt_secret``.
    """

    publishable: str
    secret: str
    jwt_secret: str
    signing_key: str

    @classmethod
    def random(cls, *, asymmetric: bool = False) -> "Keys":
        token = secrets.token_urlsafe
        signing_key = random_signing_key() if asymmetric else ""
        return cls(f"sb_publishable_{token(24)}", f"sb_secret_{token(24)}", token(48), signing_key)


def random_signing_key() -> str:
    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return json.dumps({**key, "kid": secrets.token_hex(8), "alg": "ES256", "use": "sig"})


def install(root: Path, say: Callable[[str], None]) -> None:
    """Fetch Lite and what it needs; does nothing while the lock file is the one installed."""
    del root
    install_modules(HERE, "the Supabase stand-in", say)


def auth_schema() -> str:
    """The SQL of GoTrue's tables as Lite makes them; takes a second, touches no database."""
    command = [str(NODE), "serve.mjs", "--auth-schema"]
    env = os.environ | {
        "SUPABASE_JWT_SECRET": "only-the-schema-is-asked-for-here",
        "SUPABASE_ANON_KEY": "none",
    }
    return subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, check=True).stdout


def part(
    root: Path, *, address: Address, database: str, port: int, keys: Keys, schema: str = "public"
) -> Part:
    """``schema`` is exposed besides what config.toml exposes."""
    url = f"http://127.0.0.1:{port}"
    api, auth = config(root / "supabase" / "config.toml")
    api["schemas"] = list(dict.fromkeys([*api["schemas"], schema]))
    return Part(
        name="supabase",
        argv=[str(NODE), str(HERE / "serve.mjs")],
        url=url,
        ready=lambda: healthy(f"{url}/ready"),
        env={
            "PORT": str(port),
            "SUPABASE_URL": url,
            "SUPABASE_ANON_KEY": keys.publishable,
            "SUPABASE_SERVICE_ROLE_KEY": keys.secret,
            "SUPABASE_JWT_SECRET": keys.jwt_secret,
            "SIGNING_KEY": keys.signing_key,
            "REST_DATABASE_URL": address.url("authenticator", database),
            "AUTH_DATABASE_URL": address.url("supabase_auth_admin", database),
            "CATALOG_DATABASE_URL": address.url("postgres", database),
            "API_CONFIG": json.dumps(api),
            "AUTH_CONFIG": json.dumps(auth),
            "DO_NOT_TRACK": "1",
        },
        cwd=HERE,
        ready_timeout_seconds=60,
    )


def config(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of the CLI's config.toml that matter here; hosted defaults where it is silent."""
    given = tomllib.loads(file.read_text()) if file.exists() else {}
    api, auth = given.get("api", {}), given.get("auth", {})
    chosen = {"schemas": ["public"], "max_rows": 1000} | {name: api[name] for name in API if name in api}
    return chosen, {name: auth[name] for name in AUTH if name in auth}
