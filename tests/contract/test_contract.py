"""The running API against its own description: what schemathesis makes up of each route is answered as told.

Signed in as a person and as an administrator, with values that the description allows and with others.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from core.settings import Settings
from tests.integration.world import World
from tests.support import User
from webhook.app import build_app

EXAMPLES = 200 if os.environ.get("LONG") else 30
SECONDS = 30
OTHERS = ("/webhooks/paystack", "/payment-webhook")
"""Routes that are not for people: their bodies are signed, and have attackers of their own."""

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


def described(spoil: Callable[[Any], object] = lambda _: None) -> dict[str, Any]:
    """By method and path, each operation that the service describes."""
    settings = Settings.model_validate(
        {
            "supabase_url": "http://supabase.test",
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
        }
    )
    document = build_app(settings).openapi()
    spoil(document)
    schema: Any = schemathesis.openapi.from_dict(document)
    found = [one.ok() for one in schema.get_all_operations()]
    return {operation.label: operation for operation in found if operation.path not in OTHERS}


OPERATIONS = described()
CASES = [
    (label, mode)
    for label, operation in sorted(OPERATIONS.items())
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # Of a route that takes nothing, nothing can be wrong.
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
]


@pytest.fixture(params=["person", "administrator"])
def caller(request: pytest.FixtureRequest, world: World) -> Iterator[User]:
    user = world.sign_up()
    if request.param == "administrator":
        world.db.execute("insert into keyfund.administrators (user_id) values (%s)", [user.id])
    yield user
    world.db.execute("delete from keyfund.administrators where user_id = %s", [user.id])


def test_every_route_for_people_is_looked_at() -> None:
    assert {"GET /api/analytics/usage", "POST /api/usage/estimate", "GET /checkout/return"} <= set(OPERATIONS)
    assert len(OPERATIONS) >= 23
    assert len(CASES) >= 35


@pytest.mark.parametrize(("label", "mode"), CASES, ids=lambda one: getattr(one, "value", one))
def test_a_route_answers_as_it_is_described(
    world: World, caller: User, label: str, mode: GenerationMode
) -> None:
    ask(world, caller, OPERATIONS[label], mode)


@pytest.mark.parametrize(
    ("label", "spoil"),
    [
        (
            "GET /api/credits/balance",
            lambda told: told["components"]["schemas"]["Balance"]["properties"].update(
                credits={"type": "string"}
            ),
        ),
        (
            "DELETE /api/keys/manage/{key_id}",
            lambda told: told["paths"]["/api/keys/manage/{key_id}"]["delete"]["responses"].pop("404"),
        ),
        (
            "GET /api/credits/transactions/{reference}/receipt",
            lambda told: told["paths"]["/api/credits/transactions/{reference}/receipt"]["get"]["responses"][
                "404"
            ].update(content={"text/html": {"schema": {"type": "string"}}}),
        ),
    ],
    ids=["a type", "a status", "a content type"],
)
def test_the_control_a_description_that_is_wrong_is_found_out(
    world: World, label: str, spoil: Callable[[Any], object]
) -> None:
    with pytest.raises(FailureGroup):
        ask(world, world.sign_up(), described(spoil)[label], GenerationMode.POSITIVE)


def ask(world: World, caller: User, operation: Any, mode: GenerationMode) -> None:
    """Call it with whatever schemathesis makes up, half of the time about a key of the caller's."""
    own = {"key_id": world.create_key(caller)["id"]} if "{key_id}" in operation.path else {}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), of_the_caller=st.booleans())
    def call(case: Any, of_the_caller: bool) -> None:
        if of_the_caller and own:
            case.path_parameters = own
        answer = case.call(
            base_url=world.env["WEBHOOK_BASE_URL"],
            headers={"authorization": f"Bearer {caller.token}"},
            timeout=SECONDS,
        )
        case.validate_response(answer, checks=CHECKED)

    call()
