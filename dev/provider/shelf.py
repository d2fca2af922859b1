"""Things that a customer can only keep here: vector stores, assistants, threads and their like."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.provider.asking import Endpoint, body_of, desk_of, keyed
from dev.provider.page import page
from dev.provider.refusal import JsonObject, unknown

Make = Callable[[JsonObject], JsonObject]
"""What a new thing is told as, from the body that asked for it, beside its id, kind and time."""


class Shelf:
    """The routes of one kind of thing; everybody with the key reaches everybody's."""

    def __init__(self, path: str, kind: str, make: Make) -> None:
        self._path = path
        self._kind = kind
        self._make = make

    def routes(self, base: str) -> list[Route]:
        """Create, list, fetch, change, delete."""
        one = f"{base}{self._path}/{{id}}"
        does: list[tuple[str, str, Endpoint]] = [
            (base + self._path, "POST", self._create),
            (base + self._path, "GET", self._list),
            (one, "GET", self._fetch),
            (one, "POST", self._change),
            (one, "DELETE", self._delete),
        ]
        return [Route(path, keyed(endpoint), methods=[method]) for path, method, endpoint in does]

    async def _create(self, request: Request) -> Response:
        body, desk = await body_of(request), desk_of(request)
        told = {"id": desk.name(self._kind), "object": self._kind, "created_at": int(time.time())}
        desk.kept(self._kind)[str(told["id"])] = told = told | self._make(body)
        return JSONResponse(told)

    async def _list(self, request: Request) -> Response:
        return JSONResponse(page(list(desk_of(request).kept(self._kind).values())))

    async def _fetch(self, request: Request) -> Response:
        return JSONResponse(self._named(request))

    async def _change(self, request: Request) -> Response:
        told = self._named(request)
        told |= {name: value for name, value in (await body_of(request)).items() if name in told}
        return JSONResponse(told)

    async def _delete(self, request: Request) -> Response:
        name = self._named(request)["id"]
        del desk_of(request).kept(self._kind)[name]
        return JSONResponse({"id": name, "object": f"{self._kind}.deleted", "deleted": True})

    def _named(self, request: Request) -> JsonObject:
        name, kept = request.path_params["id"], desk_of(request).kept(self._kind)
        if name not in kept:
            raise unknown(self._kind, name)
        return kept[name]
