"""The kinds of things on the shelf, and what of them costs something."""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider import field
from dev.provider.asking import body_of, call_of, desk_of, keyed, model_of
from dev.provider.files import file_named
from dev.provider.price import MODELS, SEARCH_MICROS
from dev.provider.refusal import JsonObject, unknown
from dev.provider.shape import STORE
from dev.provider.shelf import Shelf
from dev.provider.tokens import count
from dev.provider.usage import Usage, cost_micros

TRAINING_MICROS: Final = 25
"""What a token of a file that a model is tuned with costs."""


def _store(body: JsonObject) -> JsonObject:
    STORE.check(body)
    counts = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
    return {
        "name": body.get("name") or "",
        "usage_bytes": 0,
        "status": "completed",
        "last_active_at": int(time.time()),
        "file_counts": counts | {"completed": len(body.get("file_ids") or [])},
        "metadata": body.get("metadata"),
    }


def _assistant(body: JsonObject) -> JsonObject:
    told = {name: body.get(name) for name in ("name", "description", "instructions")}
    model = field.required(field.text(body, "model"), "model")
    return told | {"model": model, "tools": body.get("tools") or [], "metadata": body.get("metadata") or {}}


def _thread(body: JsonObject) -> JsonObject:
    words = count(str(body.get("messages") or ""))
    return {"tool_resources": None, "metadata": body.get("metadata") or {}, "tokens": words}


SHELVES: Final = (
    Shelf("/vector_stores", "vector_store", _store),
    Shelf("/assistants", "assistant", _assistant),
    Shelf("/threads", "thread", _thread),
)


@keyed
async def search(request: Request) -> Response:
    """POST /vector_stores/{id}/search: billed as any use of a hosted tool is."""
    body, name = await body_of(request), request.path_params["id"]
    if name not in desk_of(request).kept("vector_store"):
        raise unknown("vector_store", name)
    call_of(request).charge("", SEARCH_MICROS, searches=1)
    query = field.required(body.get("query"), "query")
    told = {
        "object": "vector_store.search_results.page",
        "search_query": query if isinstance(query, list) else [query],
    }
    return JSONResponse(told | {"data": [], "has_more": False, "next_page": None})


@keyed
async def run(request: Request) -> Response:
    """POST /threads/{id}/runs and /threads/runs: a model answers a thread, as long as it can."""
    body, desk, call = await body_of(request), desk_of(request), call_of(request)
    assistant = desk.kept("assistant").get(str(body.get("assistant_id")), {})
    model = model_of(request, {"model": body.get("model") or assistant.get("model")}, "chat")
    thread = desk.kept("thread").get(request.path_params.get("id", ""), {"tokens": 0})
    limit = field.integer(body, "max_completion_tokens", 1, model.output_tokens) or model.output_tokens
    usage = Usage(input_tokens=thread["tokens"] + count(str(body)), output_tokens=limit)
    call.charge(model.name, cost_micros(model, usage), max_tokens=limit, usage=usage.told())
    told = {"id": desk.name("run"), "object": "thread.run", "created_at": int(time.time())}
    return JSONResponse(told | {"status": "completed", "model": model.name, "usage": usage.chat()})


@keyed
async def tune(request: Request) -> Response:
    """POST /fine_tuning/jobs: billed by the training file's tokens."""
    body, desk = await body_of(request), desk_of(request)
    model = field.required(field.text(body, "model"), "model")
    content = file_named(desk, field.required(field.text(body, "training_file"), "training_file")).content
    tokens = count(content.decode(errors="replace"))
    call_of(request).charge(model, tokens * TRAINING_MICROS, training_tokens=tokens)
    told = {
        "id": desk.name("ftjob"),
        "object": "fine_tuning.job",
        "created_at": int(time.time()),
        "error": None,
        "finished_at": None,
        "fine_tuned_model": None,
        "hyperparameters": {},
        "model": model,
        "organization_id": "org-standin",
        "result_files": [],
        "status": "queued",
        "trained_tokens": tokens,
        "training_file": body["training_file"],
        "validation_file": None,
        "seed": 0,
    }
    desk.kept("fine_tuning.job")[str(told["id"])] = told
    return JSONResponse(told)


@keyed
async def list_models(_request: Request) -> Response:
    """GET /models."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "standin"} for name in MODELS]
    return JSONResponse({"object": "list", "data": rows})


@keyed
async def list_jobs(request: Request) -> Response:
    """GET /fine_tuning/jobs: everybody's."""
    rows = list(desk_of(request).kept("fine_tuning.job").values())
    return JSONResponse({"object": "list", "data": rows, "has_more": False})
