"""Every setting, read once by the entry points, from the environment and ``.env``.

Absent settings of an optional feature switch it off. Malformed or empty ones stop the process: a key that
is "set" to nothing could be forged by anyone.
"""

import base64
import json
import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.domain.payments import Bearer
from core.domain.schema import PUBLIC, objection
from core.errors import SettingsError


class PaystackMode(StrEnum):
    """Which of Paystack's two worlds a secret key belongs to."""

    TEST = "test"
    LIVE = "live"


def _without_slash(url: str) -> str:
    return url.rstrip("/")


def _checked_schema(name: str) -> str:
    if (reason := objection(name)) is not None:
        raise ValueError(reason)
    return name


# No name and password: addresses are shown, to browsers and in the page's policy, and httpx would send them
# instead of our own key. No character that ends an address in that policy either.
Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s/?#@;,]+(/[^\s?#;,]*)?$"), AfterValidator(_without_slash)
]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+$")]
Secret = Annotated[SecretStr, Field(min_length=8)]
Port = Annotated[int, Field(ge=1, le=65535)]
REASONS = {
    "string_pattern_mismatch": "is an address such as https://service.example",
    "string_too_short": "is empty or too short",
    "too_short": "is empty or too short",
    "enum": "is buyer or merchant",
}
PAYSTACK_KEYS = r"^\s*sk_(test|live)_[A-Za-z0-9]+(\s*,\s*sk_\1_[A-Za-z0-9]+)*\s*$"


class Settings(BaseSettings):
    """Keyfund's settings; ``.env.example`` explains each one."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    supabase_url: Url
    supabase_service_role_key: Secret
    supabase_anon_key: Annotated[str, Field(min_length=8)]
    supabase_schema: Annotated[str, AfterValidator(_checked_schema)] = PUBLIC
    supabase_jwt_secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    supabase_realtime: bool = False

    litellm_base_url: Url | None = None
    litellm_master_key: Annotated[SecretStr, Field(min_length=4)] | None = None
    litellm_key_generate_url: Url | None = None
    litellm_key_update_url: Url | None = None
    litellm_timeout_seconds: Annotated[float, Field(ge=1, le=60)] = 12
    litellm_cache_seconds: Annotated[int, Field(ge=0, le=600)] = 60

    paystack_secret_key: Annotated[SecretStr, NoDecode] | None = None
    paystack_base_url: Url = "https://api.paystack.co"
    paystack_fees_borne_by: Bearer | None = None
    paystack_timeout_seconds: Annotated[float, Field(ge=1, le=60)] = 12

    webhook_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    webhook_port: Port = 8000
    webhook_base_url: Url | None = None
    worker_metrics_port: Port | None = None
    metrics_token: Secret | None = None
    allowed_origins: Annotated[list[Origin], NoDecode] = []
    api_rate_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 300

    receipt_seller: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    credit_value_cents: Annotated[int, Field(ge=1, le=100_000)] = 2
    lease_seconds: Annotated[int, Field(ge=5, le=600)] = 40
    push_concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    drift_round_seconds: Annotated[int, Field(ge=1, le=86_400)] = 45
    drift_share_percent: Annotated[float, Field(ge=0.1, le=100)] = 5
    flat_characters_per_token: Annotated[float, Field(ge=1, le=100)] = 4
    flat_micros_per_1000_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)] = 10_000
    include_cost_headers: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        origins = values.get("allowed_origins")
        if isinstance(origins, str):
            values["allowed_origins"] = [origin.strip() for origin in origins.split(",")]
        level = values.get("log_level")
        if isinstance(level, str):
            values["log_level"] = level.lower()
        return values

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.litellm_base_url is None) != (self.litellm_master_key is None):
            raise ValueError("LITELLM_BASE_URL and LITELLM_MASTER_KEY go together: set both or neither")
        if self.litellm_base_url is None and (self.litellm_key_generate_url or self.litellm_key_update_url):
            raise ValueError("LITELLM_KEY_GENERATE_URL and LITELLM_KEY_UPDATE_URL need LITELLM_BASE_URL")
        if self.lease_seconds < 2 * self.litellm_timeout_seconds:
            raise ValueError("LEASE_SECONDS must be at least twice LITELLM_TIMEOUT_SECONDS")
        secrets = (self.supabase_service_role_key, self.supabase_jwt_secret, self.litellm_master_key)
        given = {secret.get_secret_value() for secret in secrets if secret is not None}
        if self.supabase_anon_key in given or is_secret_key(self.supabase_anon_key):
            raise ValueError("SUPABASE_ANON_KEY is a secret key: it must be the publishable one")
        keys = self.paystack_secret_key
        if keys is not None and not re.match(PAYSTACK_KEYS, keys.get_secret_value()):
            raise ValueError("PAYSTACK_SECRET_KEY is a comma list of sk_test_… or of sk_live_… keys")
        return self

    @property
    def paystack_secrets(self) -> tuple[str, ...]:
        """All accepted signing keys; the first one is used for calls."""
        if self.paystack_secret_key is None:
            return ()
        return tuple(key.strip() for key in self.paystack_secret_key.get_secret_value().split(","))

    @property
    def paystack_mode(self) -> PaystackMode:
        return PaystackMode.LIVE if self.paystack_secrets[0].startswith("sk_live_") else PaystackMode.TEST


def is_secret_key(key: str) -> bool:
    """Whether a key given for browsers is one that they must never see: only anon's are for them."""
    if key.startswith(("sb_secret_", "sk-", "sk_")):
        return True
    try:
        payload = key.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return False
    return isinstance(claims, dict) and claims.get("role", "anon") != "anon"


def read_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: one line that names each setting that is missing or wrong, never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(dict(problem)) for problem in error.errors())) from None


def _describe(problem: dict[str, object]) -> str:
    location = problem["loc"]
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    if problem["type"] == "missing":
        return f"{name} is missing"
    reason = REASONS.get(str(problem["type"])) or str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {reason}" if name else reason
