"""How the service answers: one shape for errors, nothing cached, nothing of a stack trace."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import KeyfundError, NotConfiguredError, RefusedError, TransientError
from core.logs import get_logger
from core.refusals import REFUSALS

log = get_logger()
LARGEST_BODY = 1024 * 1024  # no event of Paystack's ever gets there
HEADERS = {
    "cache-control": "no-store",  # answers hold keys and balances: no cache on the way may keep one
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class ErrorBody(BaseModel):
    code: str
    message: str


class ErrorAnswer(BaseModel):
    """The shape of every error."""

    error: ErrorBody


def error_answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = ErrorAnswer(error=ErrorBody(code=code, message=message))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def refusal_answer(code: str, *values: object, headers: dict[str, str] | None = None) -> JSONResponse:
    refusal = REFUSALS[code]
    return error_answer(refusal.status, code, refusal.say(*values), headers)


def install(app: FastAPI) -> None:
    """Give every kind of error its answer, and every answer its headers."""
    app.add_exception_handler(KeyfundError, _answer_own)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    app.add_middleware(LimitedBodies)
    app.add_middleware(AddedHeaders)


class LimitedBodies:
    """Stops reading a body that is larger than any request, whether or not its length was told."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY:
                raise HTTPException(413, REFUSALS["too_large"].say())
            return message

        await self.app(scope, limited, send)


class AddedHeaders:
    """Headers that every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_more)


async def _answer_own(request: Request, error: Exception) -> Response:
    match error:
        case NotConfiguredError():
            return error_answer(503, error.code, error.message)
        case TransientError():
            log.warning("http.unavailable", path=request.url.path, error=str(error))
            return error_answer(503, error.code, error.message, {"retry-after": "5"})
        case RefusedError() if error.status < 500:
            headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
            return error_answer(error.status, error.code, error.message, headers)
    return await _answer_bug(request, error)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    places = (".".join(str(part) for part in one["loc"][1:]) + ": " + one["msg"] for one in problems)
    return refusal_answer("invalid_request", "; ".join(places) or "The request is not valid.")


async def _answer_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400:  # FastAPI's own, of a body that is no text: it calls other bad JSON 422
        return refusal_answer("invalid_request", REFUSALS["invalid_body"].say())
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    code = codes.get(error.status_code, "invalid_request")
    return error_answer(error.status_code, code, str(error.detail), dict(error.headers or {}))


async def _answer_bug(request: Request, error: Exception) -> Response:
    log.error("http.bug", path=request.url.path, exc_info=error)
    # The headers, because nothing that was added to the application is around this answer.
    return refusal_answer("internal_error", headers=dict(HEADERS))
