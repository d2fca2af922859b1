"""What no route asks for is refused: a misspelt field must not pass as one that was left out."""

import json
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

READS = {"GET", "HEAD"}


async def refuse_unknown(request: Request) -> None:
    """Refuse query parameters that the route has not, one given twice, and a body where there is none.

    Raises:
        RequestValidationError: naming each.
    """
    route = request.scope["route"]
    known = query_names(route.dependant)
    given = [name for name, _ in request.query_params.multi_items()]
    problems = [_problem("query", name, "There is no such parameter") for name in given if name not in known]
    problems += [_problem("query", name, "Given twice") for name in known if given.count(name) > 1]
    if route.body_field is None and request.method not in READS:
        problems += _unasked(await request.body())
    if problems:
        raise RequestValidationError(problems)


def query_names(dependant: Any) -> set[str]:
    """The parameters of a route and of all that it depends on."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*(query_names(one) for one in dependant.dependencies))


def _unasked(body: bytes) -> list[dict[str, Any]]:
    try:
        fields = json.loads(body) if body.strip() else {}
    except ValueError:
        return [_problem("body", "body", "This takes no body")]
    if not isinstance(fields, dict):
        return [_problem("body", "body", "This takes no body")]
    return [_problem("body", name, "There is no such field") for name in fields]


def _problem(place: str, name: str, message: str) -> dict[str, Any]:
    return {"loc": (place, name), "msg": message, "type": "extra_forbidden"}
