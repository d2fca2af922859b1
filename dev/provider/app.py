"""Every route of the provider, on one screen."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.provider import chat, completions, embeddings, images
from dev.provider.asking import Endpoint, desk_of
from dev.provider.desk import Desk
from dev.provider.journal import Journal
from dev.provider.refusal import RefusedError, unknown_path

POST = ["POST"]

OPENAI: list[tuple[str, Endpoint]] = [
    ("/chat/completions", chat.create),
    ("/completions", completions.create),
    ("/embeddings", embeddings.create),
    ("/images/generations", images.create),
]


async def bill(request: Request) -> Response:
    """GET tells the bill, DELETE starts it anew."""
    desk = desk_of(request)
    if request.method == "DELETE":
        desk.bill.clear()
    return JSONResponse(desk.bill.told())


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse(error.body(request.url.path), error.status)


async def elsewhere(request: Request) -> Response:
    """Where nothing is served."""
    raise unknown_path(request.method, request.url.path)


ROUTES = [
    Route("/sandbox/bill", bill, methods=["GET", "DELETE"]),
    # As OpenAI's, with the version in the path or without it, and as Azure's deployments
    *(Route(base + path, does, methods=POST) for path, does in OPENAI for base in ("/v1", "")),
    *(Route("/openai/deployments/{deployment}" + path, does, methods=POST) for path, does in OPENAI),
    Route("/{path:path}", elsewhere, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
]


def create_app(desk: Desk) -> Starlette:
    """The provider as an ASGI app."""
    app = Starlette(
        routes=ROUTES,
        exception_handlers={RefusedError: refused},
        middleware=[Middleware(Journal, desk=desk)],
    )
    app.state.desk = desk
    return app
