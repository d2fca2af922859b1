"""/files: upload, list, fetch, read, delete. Every caller with the key reaches every file, as at OpenAI."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dev.provider.asking import desk_of, keyed
from dev.provider.desk import Desk, StoredFile
from dev.provider.form import form_of
from dev.provider.page import page
from dev.provider.refusal import JsonObject, missing, unknown


@keyed
async def create(request: Request) -> Response:
    """Take a file in."""
    form = await form_of(request)
    upload, purpose = form.file("file"), form.fields.get("purpose")
    if not purpose:
        raise missing("purpose")
    return JSONResponse(keep(desk_of(request), upload.name, str(purpose), upload.content))


def keep(desk: Desk, name: str, purpose: str, content: bytes) -> JsonObject:
    """Put a file on the shelf, and tell of it."""
    told = {
        "id": desk.name("file"),
        "object": "file",
        "bytes": len(content),
        "created_at": int(time.time()),
        "expires_at": int(time.time()) + 30 * 86_400,
        "filename": name,
        "purpose": purpose,
        "status": "processed",
    }
    desk.files[str(told["id"])] = StoredFile(told, content)
    return told


@keyed
async def list_all(request: Request) -> Response:
    """GET /files: everybody's."""
    return JSONResponse(page([file.told for file in desk_of(request).files.values()]))


@keyed
async def fetch(request: Request) -> Response:
    """GET /files/{id}."""
    return JSONResponse(file_in(request).told)


@keyed
async def read(request: Request) -> Response:
    """GET /files/{id}/content."""
    return Response(file_in(request).content, media_type="application/octet-stream")


@keyed
async def delete(request: Request) -> Response:
    """DELETE /files/{id}."""
    name = file_in(request).told["id"]
    del desk_of(request).files[name]
    return JSONResponse({"id": name, "object": "file", "deleted": True})


def file_in(request: Request) -> StoredFile:
    """The file that the path names."""
    return file_named(desk_of(request), request.path_params["id"])


def file_named(desk: Desk, name: str) -> StoredFile:
    """The file of that id."""
    if name not in desk.files:
        raise unknown("file", name)
    return desk.files[name]
