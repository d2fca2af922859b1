"""/batches: the lines of a file are really asked, one after the other, at half the price."""

import json
import time
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.provider.asking import body_of, call_of, desk_of, keyed
from dev.provider.files import file_named, keep
from dev.provider.page import page
from dev.provider.refusal import JsonObject, RefusedError, invalid, unknown
from dev.provider.shape import BATCH


@keyed
async def create(request: Request) -> Response:
    """Run a file of requests. All is done when this answers, though it says that it has only begun."""
    body, desk = await body_of(request), desk_of(request)
    BATCH.check(body)
    lines = _lines(file_named(desk, body["input_file_id"]).content)
    name = desk.name("batch")
    call_of(request).asked |= {"batch": name, "lines": len(lines)}
    answers = await _run(request, lines, name)
    output = "\n".join(json.dumps(each) for each in answers).encode()
    output_file = keep(desk, f"{name}.jsonl", "batch_output", output)
    told = _batch(body, name, output_file["id"], len(lines))
    desk.kept("batch")[name] = told
    begun = {key: told[key] for key in told if key not in ("output_file_id", "completed_at")}
    return JSONResponse(begun | {"status": "validating"})


def _lines(content: bytes) -> list[JsonObject]:
    try:
        lines = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:
        raise invalid("input_file_id", "the file is not JSON lines") from None
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise invalid("input_file_id", "the file has no requests")
    return lines


async def _run(request: Request, lines: list[JsonObject], name: str) -> list[JsonObject]:
    transport = httpx.ASGITransport(_InBatch(request.app, name))
    headers = {"authorization": f"Bearer {desk_of(request).key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://provider", headers=headers) as client:
        return [await _answer(client, line, name) for line in lines]


async def _answer(client: httpx.AsyncClient, line: JsonObject, name: str) -> JsonObject:
    seen = await client.request(str(line.get("method")), str(line.get("url")), json=line.get("body"))
    told: JsonObject = {"status_code": seen.status_code, "request_id": name, "body": seen.json()}
    return {"id": f"batch_req_{name}", "custom_id": line.get("custom_id"), "response": told, "error": None}


class _InBatch:
    """The app as a batch asks it: what is billed bears the batch's name."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "batch": self._name}, receive, send)


def _batch(body: JsonObject, name: str, output_file: str, lines: int) -> JsonObject:
    now = int(time.time())
    return {
        "id": name,
        "object": "batch",
        "endpoint": body["endpoint"],
        "input_file_id": body["input_file_id"],
        "completion_window": body["completion_window"],
        "status": "completed",
        "output_file_id": output_file,
        "created_at": now,
        "completed_at": now,
        "request_counts": {"total": lines, "completed": lines, "failed": 0},
        "metadata": body.get("metadata") or {},
    }


@keyed
async def list_all(request: Request) -> Response:
    """GET /batches: everybody's."""
    return JSONResponse(page(list(desk_of(request).kept("batch").values())))


@keyed
async def fetch(request: Request) -> Response:
    """GET /batches/{id}."""
    return JSONResponse(_named(request))


@keyed
async def cancel(request: Request) -> Response:
    """POST /batches/{id}/cancel: only what was not done yet can be cancelled."""
    told = _named(request)
    raise RefusedError(409, f"Cannot cancel a batch with status '{told['status']}'.", code="invalid_state")


def _named(request: Request) -> dict[str, Any]:
    name = request.path_params["id"]
    batches = desk_of(request).kept("batch")
    if name not in batches:
        raise unknown("batch", name)
    return batches[name]
