"""Every route of the provider, on one screen."""

from collections.abc import Iterator
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.provider import (
    audio,
    batches,
    chat,
    completions,
    embeddings,
    files,
    images,
    messages,
    moderations,
    organization,
    realtime,
    rerank,
    responses,
    stores,
)
from dev.provider.asking import Endpoint, desk_of
from dev.provider.desk import Desk
from dev.provider.journal import Journal
from dev.provider.refusal import RefusedError, unknown_path

GET, POST, DELETE = "GET", "POST", "DELETE"
METHODS: Final = [GET, POST, "PUT", "PATCH", DELETE]

MODELS: list[tuple[str, str, Endpoint]] = [
    (POST, "/chat/completions", chat.create),
    (POST, "/completions", completions.create),
    (POST, "/embeddings", embeddings.create),
    (POST, "/images/generations", images.create),
    (POST, "/images/edits", images.edit),
    (POST, "/images/variations", images.vary),
    (POST, "/audio/speech", audio.speak),
    (POST, "/audio/transcriptions", audio.transcribe),
    (POST, "/audio/translations", audio.transcribe),
]
"""What OpenAI has below `/v1`, and Azure below each deployment."""

OPENAI: list[tuple[str, str, Endpoint]] = [
    *MODELS,
    (GET, "/models", stores.list_models),
    (POST, "/moderations", moderations.create),
    (POST, "/responses", responses.create),
    (POST, "/responses/input_tokens", responses.count_input),
    (GET, "/responses/{id}", responses.fetch),
    (DELETE, "/responses/{id}", responses.delete),
    (POST, "/responses/{id}/cancel", responses.cancel),
    (GET, "/responses/{id}/input_items", responses.input_items),
    (POST, "/files", files.create),
    (GET, "/files", files.list_all),
    (GET, "/files/{id}", files.fetch),
    (DELETE, "/files/{id}", files.delete),
    (GET, "/files/{id}/content", files.read),
    (POST, "/batches", batches.create),
    (GET, "/batches", batches.list_all),
    (GET, "/batches/{id}", batches.fetch),
    (POST, "/batches/{id}/cancel", batches.cancel),
    (POST, "/vector_stores/{id}/search", stores.search),
    (POST, "/threads/runs", stores.run),
    (POST, "/threads/{id}/runs", stores.run),
    (POST, "/fine_tuning/jobs", stores.tune),
    (GET, "/fine_tuning/jobs", stores.list_jobs),
    (POST, "/realtime/client_secrets", realtime.create_secret),
    (POST, "/realtime/sessions", realtime.create_session),
    (POST, "/realtime/calls", realtime.call),
    (GET, "/organization/costs", organization.costs),
]

OTHERS: list[tuple[str, str, Endpoint]] = [
    # As Anthropic's
    (POST, "/v1/messages", messages.create),
    (POST, "/v1/messages/count_tokens", messages.count_input),
    # As Cohere's
    (POST, "/v1/rerank", rerank.create),
    (POST, "/v2/rerank", rerank.create),
]


async def bill(request: Request) -> Response:
    """GET tells the bill, DELETE starts it anew."""
    desk = desk_of(request)
    if request.method == DELETE:
        desk.bill.clear()
    return JSONResponse(desk.bill.told())


async def refused(request: Request, error: Exception) -> Response:
    """A refusal, as the vendor would answer it."""
    assert isinstance(error, RefusedError)
    return JSONResponse(error.body(request.url.path), error.status)


async def elsewhere(request: Request) -> Response:
    """Where nothing is served."""
    raise unknown_path(request.method, request.url.path)


def routes() -> Iterator[Route]:
    """OpenAI's with `/v1` before them or without, as clients are configured; with `/openai`, as at Azure."""
    yield Route("/sandbox/bill", bill, methods=[GET, DELETE])
    for base in ("/v1", "/openai/v1", "/openai", ""):
        for method, path, does in OPENAI:
            yield Route(base + path, does, methods=[method])
        for shelf in stores.SHELVES:
            yield from shelf.routes(base)
    for method, path, does in MODELS:
        yield Route("/openai/deployments/{deployment}" + path, does, methods=[method])
    for method, path, does in OTHERS:
        yield Route(path, does, methods=[method])
    yield Route("/{path:path}", elsewhere, methods=METHODS)


def create_app(desk: Desk) -> Starlette:
    """The provider as an ASGI app."""
    app = Starlette(
        routes=list(routes()),
        exception_handlers={RefusedError: refused},
        middleware=[Middleware(Journal, desk=desk)],
    )
    app.router.redirect_slashes = False
    app.state.desk = desk
    return app
