"""Settings: what is absent switches off, what is wrong stops the process and is named."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import Settings, read_settings

REQUIRED = {
    "SUPABASE_URL": "https://project.supabase.co/",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_0123456789",
    "SUPABASE_ANON_KEY": "sb_publishable_0123456789",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_the_required_ones_suffice_and_features_are_off() -> None:
    settings = read_settings()
    assert settings.supabase_url == "https://project.supabase.co"
    assert settings.litellm_base_url is None
    assert settings.paystack_secrets == ()
    assert settings.paystack_base_url == "https://api.paystack.co"


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\nPAYSTACK_SECRET_KEY=sk_test_a1, sk_test_b2\n")
    settings = read_settings()
    assert settings.log_level == "debug"
    assert settings.paystack_secrets == ("sk_test_a1", "sk_test_b2")
    assert settings.paystack_mode == "test"


def test_a_key_that_is_secret_here_is_not_handed_to_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET"):
        monkeypatch.setenv(secret, "a-key-of-a-project-that-is-hosted-elsewhere")
        monkeypatch.setenv("SUPABASE_ANON_KEY", "a-key-of-a-project-that-is-hosted-elsewhere")
        with pytest.raises(SettingsError, match="SUPABASE_ANON_KEY is a secret key"):
            read_settings()
        monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", REQUIRED["SUPABASE_SERVICE_ROLE_KEY"])


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_one_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=f"{name} is missing"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUPABASE_SCHEMA", ""),
        ("SUPABASE_SCHEMA", "public, other"),
        ("SUPABASE_SCHEMA", "keyfund"),
        ("SUPABASE_SCHEMA", "auth"),
        *((name, "") for name in REQUIRED),
        ("SUPABASE_URL", "project.supabase.co"),
        ("SUPABASE_JWT_SECRET", ""),
        ("SUPABASE_JWT_SECRET", "little"),
        ("SUPABASE_REALTIME", "perhaps"),
        ("SUPABASE_ANON_KEY", "sb_secret_for_no_browser"),
        ("SUPABASE_ANON_KEY", "e30.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2ln"),
        ("SUPABASE_ANON_KEY", "e30.eyJyb2xlIjoic3VwYWJhc2VfYWRtaW4ifQ.c2ln"),
        ("SUPABASE_ANON_KEY", "sk_live_0123456789"),
        ("SUPABASE_ANON_KEY", REQUIRED["SUPABASE_SERVICE_ROLE_KEY"]),
        ("SUPABASE_URL", "https://name:password@project.supabase.co"),
        ("SUPABASE_URL", "https://project.supabase.co;script-src *"),
        ("SUPABASE_URL", "https://project.supabase.co;script-src"),
        ("LITELLM_BASE_URL", ""),
        ("LITELLM_BASE_URL", "https://llm.example"),
        ("LITELLM_MASTER_KEY", ""),
        ("LITELLM_CACHE_SECONDS", "-1"),
        ("API_RATE_PER_MINUTE", "-1"),
        ("API_RATE_PER_MINUTE", ""),
        ("PAYSTACK_SECRET_KEY", ""),
        ("PAYSTACK_SECRET_KEY", "sk_test_a1,"),
        ("PAYSTACK_SECRET_KEY", "sk_test_a1,sk_live_b2"),
        ("PAYSTACK_SECRET_KEY", "pk_test_a1"),
        ("PAYSTACK_BASE_URL", ""),
        ("PAYSTACK_FEES_BORNE_BY", ""),
        ("PAYSTACK_FEES_BORNE_BY", "us"),
        ("WEBHOOK_HOST", ""),
        ("ALLOWED_ORIGINS", ""),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("LITELLM_KEY_UPDATE_URL", "https://llm.example/key/update"),
        ("LOG_LEVEL", "loud"),
        ("WEBHOOK_PORT", "http"),
        ("CREDIT_VALUE_CENTS", "0"),
        ("LEASE_SECONDS", "12"),
    ],
)
def test_a_malformed_or_empty_one_stops_the_process_in_one_line_without_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert name in caught.value.message
    assert "\n" not in caught.value.message
    if len(value) > 4:
        assert value not in caught.value.message
