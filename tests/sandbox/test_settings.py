"""The sandbox is told everything by its environment, and refuses what would make it unsafe."""

from pathlib import Path

import pytest

from dev.paystack import Settings, part

WEBHOOK_URL = "http://127.0.0.1:1/webhooks/paystack"


def test_what_the_supervisor_sets_the_process_reads() -> None:
    settings = Settings("sk_test_a", WEBHOOK_URL, 8080, 60, "Shop & Co", Path("state"))

    assert Settings.from_environment(settings.to_environment()) == settings


def test_only_key_address_and_port_are_required() -> None:
    environment = part(port=8080, secret_key="sk_test_a", webhook_url=WEBHOOK_URL).env
    required = {
        name: environment[f"PAYSTACK_SANDBOX_{name}"] for name in ("PORT", "SECRET_KEY", "WEBHOOK_URL")
    }

    settings = Settings.from_environment(
        {f"PAYSTACK_SANDBOX_{name}": value for name, value in required.items()}
    )

    assert settings == Settings("sk_test_a", WEBHOOK_URL, 8080)


@pytest.mark.parametrize(("key", "scale"), [("", 1.0), ("sk_test_a", 0.0), ("sk_test_a", -1.0)])
def test_an_empty_key_or_a_clock_that_stands_still_is_refused(key: str, scale: float) -> None:
    with pytest.raises(ValueError):
        Settings(key, WEBHOOK_URL, clock_scale=scale)


def test_the_part_serves_this_machine_alone() -> None:
    made = part(port=8080, secret_key="sk_test_a", webhook_url=WEBHOOK_URL)

    assert made.name == "paystack"
    assert made.url == "http://127.0.0.1:8080"
    assert "sk_test_a" not in " ".join(made.argv)
