"""/openapi.json is complete: every route says what it is for, shows an example, and names its refusals."""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from core.settings import Settings
from webhook.app import build_app, routes
from webhook.documents import DOCUMENTS

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
METHODS = {"get", "post", "put", "patch", "delete"}
OPEN = {"/checkout/return", "/webhooks/paystack", "/payment-webhook", "/healthz", "/readyz"}
"""Routes without a token; Paystack's are signed."""
UNLIMITED = {"/webhooks/paystack", "/payment-webhook", "/healthz", "/readyz"}
SHOWS_KEYS = {
    ("get", "/api/keys/manage"), ("post", "/api/keys/manage"), ("patch", "/api/keys/manage/{key_id}"),
    ("delete", "/api/keys/manage/{key_id}"), ("post", "/api/keys/manage/{key_id}/rotate"),
    ("post", "/api/keys/sync"),
}  # fmt: skip
"""Where people are shown their own keys. Nothing else may show one."""


@pytest.fixture(scope="module")
def document() -> Json:
    settings = Settings.model_validate(
        {
            "supabase_url": "http://supabase.test",
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
        }
    )
    return build_app(settings).openapi()


def problems(document: Json) -> list[str]:
    """All that is missing, a line each."""
    return [
        f"{method.upper()} {path}: {problem}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for problem in problems_of(document, method, path, operation)
    ]


def problems_of(document: Json, method: str, path: str, operation: Json) -> Iterator[str]:
    if not operation.get("summary") or not operation.get("description"):
        yield "no summary or no description"
    tags = set(operation.get("tags", []))
    if not tags or tags - {tag["name"] for tag in document["tags"]}:
        yield "no tag, or one that is not explained"
    responses = operation["responses"]
    missing = required(method, path, operation) - set(responses)
    if missing:
        yield f"answers that are not told: {sorted(missing)}"
    for status, response in responses.items():
        for kind, content in response.get("content", {"": {}}).items():
            if status.startswith("2"):
                if not content.get("schema") or "example" not in content:
                    yield f"{status} without a schema or an example"
            elif kind != "application/json" or content.get("schema") != ref("ErrorAnswer"):
                yield f"{status} is not in the shape of errors"
            elif not content.get("examples"):
                yield f"{status} without an example"
    if "429" in responses and "Retry-After" not in responses["429"].get("headers", {}):
        yield "429 without Retry-After"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if "example" not in content:
            yield f"a request of {kind} without an example"
    if (path not in OPEN) != (operation.get("security") == [{"bearer": []}]):
        yield "the token is not asked for, or asked for in vain"


def required(method: str, path: str, operation: Json) -> set[str]:
    """Which answers a route can give by what it is."""
    own = {"503"} if path != "/healthz" else set()
    if path not in UNLIMITED:
        own |= {"429"}
    if path not in OPEN:
        own |= {"401"}
    if "requestBody" in operation:
        own |= {"413"}
    takes = [one for one in operation.get("parameters", []) if one["in"] in ("path", "query")]
    if takes or (operation.get("security") and "requestBody" in operation):
        own |= {"422"}
    if any(one["in"] == "path" for one in takes):
        own |= {"404"}
    if "administrators" in operation.get("tags", []):
        own |= {"403"}
    return own


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


# --- completeness -------------------------------------------------------------------------------------------


def test_nothing_is_missing(document: Json) -> None:
    assert problems(document) == []
    assert len(document["paths"]) >= 15


@pytest.mark.parametrize(
    "spoil",
    [
        lambda operation: operation.pop("summary"),
        lambda operation: operation.pop("tags"),
        lambda operation: operation.pop("security"),
        lambda operation: operation["responses"].pop("429"),
        lambda operation: operation["responses"].pop("422"),
        lambda operation: operation["responses"]["201"]["content"]["application/json"].pop("example"),
        lambda operation: operation["responses"]["401"]["content"]["application/json"].pop("schema"),
        lambda operation: operation["responses"]["503"]["content"]["application/json"].pop("examples"),
        lambda operation: operation["requestBody"]["content"]["application/json"].pop("example"),
    ],
)
def test_the_control_what_is_missing_is_found(document: Json, spoil: Any) -> None:
    spoilt = deepcopy(document)
    spoil(spoilt["paths"]["/api/keys/manage"]["post"])
    assert problems(spoilt)


def test_every_document_belongs_to_a_route(document: Json) -> None:
    told = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert told == set(DOCUMENTS)


def test_the_bearer_scheme_is_a_supabase_token(document: Json) -> None:
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")


def test_nothing_of_the_framework_s_own_errors_is_left(document: Json) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])


# --- truth --------------------------------------------------------------------------------------------------


def test_every_example_is_one_that_the_route_takes_and_gives() -> None:
    looked_at = 0
    for route in routes().routes:
        assert isinstance(route, APIRoute)
        if not route.include_in_schema:
            continue
        assert route.methods
        (method,) = route.methods
        described = DOCUMENTS[f"{method} {route.path}"]
        if route.response_model is not None:
            TypeAdapter(route.response_model).validate_python(described.answer)
            looked_at += 1
        if described.request is not None and route.body_field is not None:
            model: Any = route.body_field.field_info.annotation
            TypeAdapter(model).validate_python(described.request)
            looked_at += 1
    assert looked_at >= 20


# --- key strings --------------------------------------------------------------------------------------------


def reached(document: Json, schema: Any) -> set[str]:
    """The names of all properties of a schema, and of those that it is made of."""
    found: set[str] = set()
    waiting, seen = [schema], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            found |= set(one.get("properties", {}))
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name and name not in seen:
                seen.add(name)
                waiting.append(document["components"]["schemas"][name])
            waiting += one.values()
    return found


def answers(document: Json) -> Iterator[tuple[tuple[str, str], str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    yield (method, path), status, content


def test_no_schema_shows_a_key_where_it_must_not_be_shown(document: Json) -> None:
    shown = {
        route
        for route, _, content in answers(document)
        if reached(document, content["schema"]) & {"litellm_key_id", "key_hash"}
    }
    assert shown == SHOWS_KEYS


def test_no_example_holds_a_key_but_those_of_one_s_own_keys(document: Json) -> None:
    holding = {route for route, _, content in answers(document) if re.search(r"sk[-_]", str(content))}
    assert holding <= SHOWS_KEYS


def test_an_administrator_s_view_of_others_has_no_key(document: Json) -> None:
    schemas = document["components"]["schemas"]
    holders = {name for name, schema in schemas.items() if "litellm_key_id" in schema.get("properties", {})}
    assert holders == {"Key", "ListedKey"}
    assert schemas["OthersKey"]["properties"]["user_id"]
    assert schemas["OthersKey"].get("additionalProperties") is not True
    requests = [
        content["schema"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "schema" in content
    ]
    assert not [one for one in requests if "litellm_key_id" in reached(document, one)]
