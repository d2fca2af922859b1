"""Accounts made in LiteLLM alone, marked as Keyfund's are: for routes that an operator has to open first."""

from collections.abc import Iterator, Mapping
from secrets import token_hex, token_urlsafe
from typing import Any
from uuid import uuid4

from core.domain.routes import PROOFLESS, paths_of
from tests.support import User
from tests.wallet.customers import Customer
from tests.wallet.site import Site

Routes = Mapping[str, list[str]]
OPENED: Routes = {
    "responses": ["live-small", "live-large"],
    "images": ["live-image"],
    "speech": ["live-speech"],
    "transcriptions": ["live-transcribe"],
    "rerank": ["live-rerank"],
    "moderations": ["live-moderate"],
}
"""What an operator could open with the doctor's proof, and for which models of the stack."""


def by_hand(site: Site, opens: Routes | None = None, **limits: Any) -> Iterator[Customer]:
    """Customers with $10 each, whose keys reach the three open routes and ``opens``: routes with models."""
    while True:
        yield made(site, opens or {}, limits)


def made(site: Site, opens: Routes, limits: Mapping[str, Any]) -> Customer:
    user = User(str(uuid4()), "", "", "")
    key = f"sk-{token_urlsafe(24)}"
    wallet = {"user_id": user.id, "max_budget": 10.0, "budget_duration": None}
    assert site.manage("POST", "/user/update", json=wallet).status_code == 200
    answer = site.manage("POST", "/key/generate", json={**key_of(user.id, key, opens), **limits})
    assert answer.status_code == 200, answer.text
    return Customer(user, key, token_hex(8))


def key_of(user_id: str, key: str, opens: Routes) -> dict[str, Any]:
    guard = {"in_flight": 20, "routes": opens}
    return {
        "user_id": user_id,
        "key": key,
        "max_budget": 1_000.0,
        "max_parallel_requests": 1_000,
        "allowed_routes": list(paths_of((*PROOFLESS, *opens))),
        "metadata": {"keyfund": "by hand", "keyfund_guard": guard},
    }
