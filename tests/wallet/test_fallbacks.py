"""A key that may use one model is not served by another, to which LiteLLM's router falls back."""

from collections.abc import Iterator

import pytest

from dev.litellm import Proxy
from dev.stack import Stack
from tests.wallet.attacks import chat
from tests.wallet.beside import beside
from tests.wallet.by_hand import by_hand
from tests.wallet.site import Site

FALLBACK = {"fallbacks": [{"live-small": ["live-large"]}], "num_retries": 0}
"""What an operator may set up, so that a provider's failure is nobody's."""

FAILS = "[fail 500]"
"""What has the provider fail, whichever model is asked: the bill tells whom LiteLLM asked."""


def asked_models(site: Site, *allowed: str) -> list[str]:
    """Which models LiteLLM asked the provider for when a call of `live-small` failed there."""
    site.forget_bill()
    key = next(by_hand(site, models=list(allowed))).key
    site.ask(key, "POST", "/v1/chat/completions", json=chat(FAILS, model="live-small"))
    return [call["model"] or call["asked"].get("model") for call in site.ended_bill().calls]


@pytest.fixture(scope="module")
def checked(stack: Stack) -> Iterator[Site]:
    """As the documents ask for: `enforce_fallback_model_access` is in the stack's configuration."""
    with beside(stack, Proxy(settings={"router_settings": FALLBACK})) as site:
        yield site


@pytest.fixture(scope="module")
def unchecked(stack: Stack) -> Iterator[Site]:
    off = {"enforce_fallback_model_access": False}
    with beside(stack, Proxy(settings={"router_settings": FALLBACK, "general_settings": off})) as site:
        yield site


def test_a_key_that_may_use_both_models_is_served_by_the_other(checked: Site) -> None:
    assert len(asked_models(checked, "live-small", "live-large")) == 2


def test_a_key_that_may_use_the_first_alone_is_refused_the_other(checked: Site) -> None:
    assert len(asked_models(checked, "live-small")) == 1


def test_without_the_setting_it_is_served_by_the_other(unchecked: Site) -> None:
    """So the setting is the fence, and the doctor is right to ask for it."""
    assert len(asked_models(unchecked, "live-small")) == 2
