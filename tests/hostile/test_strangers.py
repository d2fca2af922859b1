"""Two strangers: every route and every function, asked with the other's ids and with ids that nobody has.

The answers are the same to the letter, tell nothing of the other, and change nothing of theirs. A route or
a function without its line here fails the first test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.hostile.api import OPEN, Scene, meet
from tests.integration.world import World
from tests.sql.allowed import FUNCTIONS, SIGNED_IN

Body = dict[str, Any] | None

ROUTES: dict[str, list[tuple[str, Body]]] = {
    "GET /api/keys/manage": [("?user_id={account}&id={key}", None)],
    "POST /api/keys/manage": [("", {"name": "x", "user_id": "{account}", "id": "{key}"})],
    "PATCH /api/keys/manage/{key_id}": [
        ("", {"name": "mine"}),
        ("", {}),
        ("", {"blocked": True}),
        ("", {"blocked": False}),
        ("", {"max_budget": 1, "rpm_limit": 1, "tpm_limit": 1}),
        ("", {"cap": "wallet"}),
    ],
    "DELETE /api/keys/manage/{key_id}": [("", None)],
    "POST /api/keys/manage/{key_id}/rotate": [("", {}), ("", {"overlap_seconds": 0})],
    "GET /api/keys/sync": [("?user_id={account}&keyId={key}", None)],
    "POST /api/keys/sync": [
        ("", {"keyId": "{key}", "action": "create"}),
        ("", {"keyId": "{key}", "action": "update"}),
    ],
    "GET /api/credits/balance": [("?user_id={account}&account_id={account}", None)],
    "GET /api/analytics/usage": [
        ("?user_id={account}", None),
        ("?account_id={account}", None),
        ("?account_id={account}&format=csv", None),
        ("?key_id={key}", None),
        ("?account_id={account}&key_id={key}&start_date=x", None),
    ],
    "POST /api/usage/estimate": [("", {"model": "mock-small", "prompt": "{account}"})],
    "GET /api/usage/models": [("?account_id={account}", None)],
    "GET /api/credits/packages": [("?user_id={account}", None)],
    "POST /api/credits/checkout": [("", {"package_id": "{reference}", "user_id": "{account}"})],
    "GET /api/credits/transactions": [("?user_id={account}&reference={reference}", None)],
    "GET /api/credits/transactions/{reference}/receipt": [("", None)],
    "POST /api/admin/payments/{reference}/retry": [("", None)],
    "POST /api/admin/payments/{reference}/refund": [("", {"reason": "it is mine", "amount": 100})],
    "POST /api/admin/resync": [("", {})],
    "GET /api/admin/resync": [("?account_id={account}", None)],
    "GET /api/status": [("?account_id={account}", None)],
}
"""By route: what is asked, as a query and a body; `{key}` and the other fields of `Ids` are filled in."""

REASON = {"reason": "it is mine"}
RPCS: dict[str, list[dict[str, Any]]] = {
    "own_accounts": [{}, {"least_role": "owner"}],
    "list_account_keys": [{"account_id": "{team}"}, {"account_id": "{account}"}, {"after_key": "{key}"}],
    "create_team": [{"name": "{team}"}],
    "invite_member": [
        {"account_id": "{team}", "email": "stranger@example.com"},
        {"account_id": "{account}", "email": "stranger@example.com", "role": "owner"},
    ],
    "cancel_invitation": [{"invitation_id": "{invitation}"}],
    "accept_invitation": [{"token": "{invitation}"}],
    "change_role": [{"account_id": "{team}", "user_id": "{account}", "role": "member"}],
    "remove_member": [{"account_id": "{team}", "user_id": "{account}"}],
    "leave_team": [{"account_id": "{team}"}, {"account_id": "{account}"}],
    "create_virtual_key": [{"name": "x", "user_id": "{account}"}, {"name": "x", "account_id": "{team}"}],
    "update_virtual_key": [{"key_id": "{key}"}, {"key_id": "{key}", "max_budget": 1}],
    "block_virtual_key": [{"key_id": "{key}"}],
    "unblock_virtual_key": [{"key_id": "{key}"}],
    "revoke_virtual_key": [{"key_id": "{key}"}],
    "resync_virtual_key": [{"key_id": "{key}"}],
    "rotate_virtual_key": [{"key_id": "{key}"}, {"key_id": "{key}", "overlap_seconds": 0}],
    "is_administrator": [{}],
    "read_balance": [{}, {"account_id": "{account}"}, {"account_id": "{team}"}],
    "read_daily_balances": [
        {"start_date": "2026-11-01", "end_date": "2026-11-20"},
        {"account_id": "{account}"},
        {"account_id": "{team}"},
    ],
    "read_key_periods": [{}, {"account_id": "{account}"}, {"account_id": "{team}"}],
    "read_own_backlog": [{}, {"account_id": "{account}"}],
    "read_receipt": [{"reference": "{reference}"}],
    "read_usage": [
        {},
        {"account_id": "{account}"},
        {"account_id": "{team}"},
        {"account_id": "{account}", "start_date": "2026-12-01", "end_date": "2026-11-01"},
        {"key_id": "{key}"},
    ],
    "find_accounts": [{"search": "{account}"}, {}],
    "decide_review": [{"reference": "{reference}", "accept": True, **REASON}],
    "adjust_credits": [{"account_id": "{account}", "credits": -5, "adjustment_id": "x", **REASON}],
    "save_package": [{"id": "x", "name": "x", "credits": 1, "amount": 1, "currency": "NGN"}],
    "list_packages": [{}],
    "set_rate": [{"currency": "NGN", "subunits_per_dollar": 1, **REASON}],
    "list_rates": [{}, {"currency": "NGN"}],
    "find_payments": [{"search": "{reference}"}, {"search": "{account}"}],
    "read_payment": [{"reference": "{reference}"}],
    "list_events": [{"reference": "{reference}"}],
    "replay_events": [{"reference": "{reference}"}],
    "hold_virtual_key": [{"key_id": "{key}", **REASON}],
    "release_virtual_key": [{"key_id": "{key}", **REASON}],
    "limit_virtual_key": [{"key_id": "{key}", "max_budget": 1, **REASON}],
    "suspend_account": [{"account_id": "{account}", **REASON}],
    "reinstate_account": [{"account_id": "{account}", **REASON}],
    "note_refund": [{"reference": "{reference}", **REASON}],
    "resync_account": [{"account_id": "{account}"}],
    "read_key": [{"key_id": "{key}"}],
    "resync_any_key": [{"key_id": "{key}"}],
    "list_failing_keys": [{"after_key": "{key}"}],
    "resync_failed": [{}],
    "read_resync": [{}],
    "read_concerns": [{}],
    "list_paid_after_deletion": [{}],
    "read_reconciliation": [{}],
    "read_drift_report": [{}],
}
"""By function that signed-in people may call: its arguments."""


@dataclass(frozen=True)
class Ids:
    """Somebody's ids, or nobody's."""

    key: str
    account: str
    reference: str
    team: str
    invitation: str

    def fill(self, text: str) -> str:
        return text.format(**vars(self), key_id=self.key)

    def fill_all(self, body: Body) -> Body:
        if body is None:
            return None
        return {name: self.fill(one) if isinstance(one, str) else one for name, one in body.items()}

    def forget(self, text: str) -> str:
        """An answer without what the question told it."""
        for one in vars(self).values():
            text = text.replace(one, "…")
        return text


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    return meet(world)


@pytest.fixture(scope="module")
def theirs(scene: Scene, world: World) -> Ids:
    cursor = world.db.execute(
        "select reference from public.transactions where user_id = %s and status = 'success'",
        [scene.victim.id],
    )
    (reference,) = cursor.fetchall()[0]

    def made(function: str, **arguments: str) -> str:
        return str(world.rest(scene.victim, "POST", f"/rpc/{function}", json=arguments).json()["id"])

    team = made("create_team", name="Theirs")
    invitation = made("invite_member", account_id=team, email="third@example.com")
    return Ids(scene.victim_key, scene.victim.id, reference, team, invitation)


@pytest.fixture
def nobody_s(theirs: Ids) -> Ids:
    made_up = uuid4().hex
    reference = theirs.reference[: -len(made_up)] + made_up
    return Ids(str(uuid4()), str(uuid4()), reference, str(uuid4()), str(uuid4()))


def test_every_route_and_every_function_of_signed_in_people_has_its_line(scene: Scene) -> None:
    routes = {f"{route.method} {route.path}" for route in scene.routes if route.path not in OPEN}
    assert routes == set(ROUTES)
    assert {name for name, callers in FUNCTIONS.items() if callers == SIGNED_IN} == set(RPCS)


def test_the_control_the_owner_of_these_things_is_answered(scene: Scene, theirs: Ids) -> None:
    world = scene.world
    shown = world.api(scene.victim, "GET", f"/api/credits/transactions/{theirs.reference}/receipt")
    named = world.rest(scene.victim, "POST", "/rpc/update_virtual_key", json={"key_id": theirs.key})
    assert (shown.status_code, named.status_code) == (200, 200)
    assert scene.words & set(shown.text.replace("<", " ").replace(">", " ").split())


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_a_route_knows_a_stranger_s_things_as_little_as_nobody_s(
    scene: Scene, theirs: Ids, nobody_s: Ids, route: str
) -> None:
    method, path = route.split(" ")

    def ask(query: str, body: Body, ids: Ids) -> httpx.Response:
        return scene.as_attacker(method, ids.fill(path + query), json=ids.fill_all(body))

    for query, body in ROUTES[route]:
        compare(scene, theirs, nobody_s, partial(ask, query, body))


@pytest.mark.parametrize("function", sorted(RPCS))
def test_a_function_knows_a_stranger_s_things_as_little_as_nobody_s(
    scene: Scene, theirs: Ids, nobody_s: Ids, function: str
) -> None:
    def ask(body: Body, ids: Ids) -> httpx.Response:
        return scene.world.rest(scene.attacker, "POST", f"/rpc/{function}", json=ids.fill_all(body))

    for body in RPCS[function]:
        compare(scene, theirs, nobody_s, partial(ask, body))


def compare(scene: Scene, theirs: Ids, nobody_s: Ids, ask: Callable[[Ids], httpx.Response]) -> None:
    """Ask for both; the answers differ in nothing, and nothing is changed."""
    before = scene.state()
    about_theirs, about_nobody_s = ask(theirs), ask(nobody_s)
    assert scene.state() == before
    assert about_theirs.status_code == about_nobody_s.status_code
    told = theirs.forget(about_theirs.text)
    assert not [word for word in scene.words if word in told]
    if about_theirs.status_code >= 400:
        assert told == nobody_s.forget(about_nobody_s.text)
