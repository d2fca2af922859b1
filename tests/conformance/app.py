"""The stand-in's routes, on one screen."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.conformance.standin import COSTS, LONGEST_PAGE, RefusalError, StandIn

Answer = Callable[[StandIn, Request], Awaitable[Any]]


def create_app(standin: StandIn) -> Starlette:
    routes = [
        Route("/user/update", _managed(_update_user), methods=["POST"]),
        Route("/v2/user/info", _managed(_user_info)),
        Route("/key/generate", _managed(_generate), methods=["POST"]),
        Route("/key/info", _managed(_key_info)),
        Route("/key/update", _managed(_update_key), methods=["POST"]),
        Route("/key/block", _managed(_block), methods=["POST"]),
        Route("/key/unblock", _managed(_block), methods=["POST"]),
        Route("/key/delete", _managed(_delete), methods=["POST"]),
        Route("/key/list", _managed(_list)),
        Route("/model/info", _managed(_models_in_full)),
        Route("/models", _answered(_models)),
        Route("/v1/models", _answered(_models)),
        Route("/utils/token_counter", _answered(_count), methods=["POST"]),
        Route("/v1/chat/completions", _answered(_complete), methods=["POST"]),
        Route("/chat/completions", _answered(_complete), methods=["POST"]),
        Route("/health/readiness", _answered(_readiness)),
    ]
    app = Starlette(routes=routes, exception_handlers={RefusalError: _refused})
    app.state.standin = standin
    return app


def _answered(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    @wraps(answer)
    async def endpoint(request: Request) -> Response:
        told = await answer(request.app.state.standin, request)
        return told if isinstance(told, Response) else JSONResponse(told)

    return endpoint


def _managed(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """For the master key alone."""

    @wraps(answer)
    async def checked(standin: StandIn, request: Request) -> Any:
        if _bearer(request) != standin.master_key:
            raise RefusalError(401, "Authentication Error, Invalid token.", "token_not_found_in_db", "key")
        return await answer(standin, request)

    return _answered(checked)


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


async def _refused(_request: Request, error: Exception) -> Response:
    refusal = cast(RefusalError, error)
    return JSONResponse(refusal.body, refusal.status)


# ------------------------------------------------------------------------ users


async def _update_user(standin: StandIn, request: Request) -> Any:
    row = standin.update_user(await request.json())
    return {"user_id": row.user_id, "data": vars(row)}


async def _user_info(standin: StandIn, request: Request) -> Any:
    return vars(standin.find_user(request.query_params["user_id"]))


# ------------------------------------------------------------------------- keys


async def _generate(standin: StandIn, request: Request) -> Any:
    body = await request.json()
    row = standin.generate_key(body)
    # It echoes what was asked for, whether or not that was done.
    return row.told() | body | {"token": row.token, "token_id": row.token}


async def _key_info(standin: StandIn, request: Request) -> Any:
    try:
        row = standin.find_key(request.query_params["key"], deleted_too=True)
    except RefusalError:
        raise RefusalError(404, "Key not found in database", "not_found_error", "key") from None
    return {"key": row.token, "info": row.told() | {"status": "deleted" if row.deleted else "active"}}


async def _update_key(standin: StandIn, request: Request) -> Any:
    row = standin.update_key(await request.json())
    return row.told() | {"key": row.token}


async def _block(standin: StandIn, request: Request) -> Any:
    body = await request.json()
    return standin.block_key(str(body["key"]), blocked=request.url.path == "/key/block").told()


async def _delete(standin: StandIn, request: Request) -> Any:
    given = list((await request.json())["keys"])
    standin.delete_keys(given)
    return {"deleted_keys": given}


async def _list(standin: StandIn, request: Request) -> Any:
    asked = request.query_params
    size = int(asked.get("size", "10"))
    if not 1 <= size <= LONGEST_PAGE:
        return JSONResponse({"detail": [{"type": "less_than_equal", "loc": ["query", "size"]}]}, 422)
    return standin.list_keys(
        int(asked.get("page", "1")), size, asked["sort_by"], descending=asked.get("sort_order") == "desc"
    )


# ----------------------------------------------------------------------- models


async def _models(standin: StandIn, request: Request) -> Any:
    names = list(COSTS)
    if _bearer(request) != standin.master_key:
        row = standin.admit(_bearer(request), path=request.url.path)
        names = [name for name in names if not row.models or name in row.models]
    return {"data": [{"id": name, "object": "model"} for name in names], "object": "list"}


async def _models_in_full(_standin: StandIn, _request: Request) -> Any:
    info = {"input_cost_per_token": 1e-5, "max_output_tokens": 20}
    return {"data": [{"model_name": name, "model_info": info, "litellm_params": {}} for name in COSTS]}


async def _count(standin: StandIn, request: Request) -> Any:
    standin.admit(_bearer(request), path=request.url.path)
    return {"total_tokens": 1, "model_used": (await request.json())["model"]}


async def _complete(standin: StandIn, request: Request) -> Any:
    model = (await request.json())["model"]
    standin.admit(_bearer(request), path=request.url.path)
    standin.check_model(_bearer(request), model)
    if model not in COSTS:
        raise RefusalError(400, "Invalid model name passed in.", "invalid_request_error", "model")
    standin.spend(_bearer(request), COSTS[model], request.url.path)
    return {"model": model, "object": "chat.completion", "usage": {"completion_tokens": 20}}


async def _readiness(_standin: StandIn, _request: Request) -> Any:
    return {"status": "healthy", "db": "connected"}
