"""Keys as both sides list them: in pages, counted, while others come and go."""

import json
from collections.abc import Callable
from typing import Any, cast

import httpx
import pytest
import respx

from core.errors import RefusedError, TransientError
from core.gateways.litellm import PAGE_SIZE, LiteLLM
from core.store.drift import DriftStore, OpenDrift
from tests.unit.test_decisions import WANTED
from tests.unit.test_drift import NOW, digest
from tests.unit.test_litellm import BASE, litellm

__all__ = ["litellm"]


class Cut(DriftStore):
    """A database of so many keys, of which no more than a limit's worth ever comes."""

    def __init__(self, keys: int, limit: int) -> None:
        super().__init__(cast(Any, None))
        self.keys, self.limit = keys, limit

    async def _call(self, function: str, **arguments: Any) -> Any:
        after = int(arguments["after"] or "0", 16)
        numbers = range(after + 1, min(self.keys, self.limit) + 1)[: arguments["limit"]]
        told = {"user_id": "u", "state": "active", "budget_cents": 1, "budget_duration": None}
        told |= {"rpm_limit": 1, "tpm_limit": 1, "revision": 1, "confirmed": True, "settled": True}
        told |= {"parked": False, "account_revision": 1, "resting": True, "seen_micros": 0}
        told |= {"installation_id": "i1", "leads": True, "budget_micros": 0, "models": [], "expires_at": None}
        told |= {"account_rpm_limit": None, "account_tpm_limit": None, "suspended": False}
        told["fences"] = {
            "open_routes": [],
            "proved": {},
            "key_max_parallel": 1,
            "account_max_parallel": 1,
        }
        return [told | {"id": str(one), "of_key": str(one), "key_hash": digest(one)} for one in numbers]


async def test_keys_are_read_page_by_page_and_counted() -> None:
    walked = [one async for one in Cut(1_200, 10**9).walk_drift(OpenDrift(NOW, "i1", 1_200))]
    assert [one.wanted.key_hash for one in walked] == [digest(one) for one in range(1, 1_201)]
    with pytest.raises(RefusedError, match="Read 700 keys, but there are 1200"):
        [one async for one in Cut(1_200, 700).walk_drift(OpenDrift(NOW, "i1", 1_200))]


class Shelf:
    """LiteLLM's list over a set of keys that changes while it is read."""

    def __init__(self, keys: int, *changes: tuple[int, Callable[[list[int]], None]]) -> None:
        self.keys = list(range(1, keys + 1))
        self.changes = dict(changes)
        self.asked = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if (change := self.changes.pop(self.asked, None)) is not None:
            change(self.keys)
        page = int(request.url.params["page"])
        assert request.url.params["sort_by"] == "token"
        some = sorted(self.keys)[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        total = len(self.keys)
        rows = [{"token": digest(one), "metadata": {"keyfund": "i1"}, "user": None} for one in some]
        pages = -(-total // PAGE_SIZE)
        return httpx.Response(200, json={"keys": rows, "total_count": total, "total_pages": pages})


async def walked(gateway: LiteLLM, shelf: Shelf) -> list[int]:
    with respx.mock:
        respx.get(f"{BASE}/key/list").mock(side_effect=shelf.answer)
        return [int(key.key_hash, 16) async for page in gateway.list_keys() for key in page.keys]


async def test_all_keys_are_listed_with_their_mark(litellm: LiteLLM) -> None:
    shelf = Shelf(250)
    assert await walked(litellm, shelf) == list(range(1, 251))
    assert shelf.asked == 3
    assert await walked(litellm, Shelf(0)) == []


async def test_keys_made_during_the_walk_come_twice_and_none_is_left_out(litellm: LiteLLM) -> None:
    got = await walked(litellm, Shelf(250, (2, lambda keys: keys.extend([-1, 0]))))
    assert set(range(1, 251)) <= set(got)
    assert len(got) > len(set(got))


async def test_keys_deleted_during_the_walk_hide_no_others(litellm: LiteLLM) -> None:
    def delete(keys: list[int]) -> None:
        del keys[:150]

    got = await walked(litellm, Shelf(450, (3, delete)))
    assert set(range(201, 451)) <= set(got)


async def test_a_walk_ends_however_many_keys_come_and_go(litellm: LiteLLM) -> None:
    class Busy(Shelf):
        def answer(self, request: httpx.Request) -> httpx.Response:
            if self.asked % 2:
                self.keys.pop(0)
            else:
                self.keys.insert(0, 0)
            return super().answer(request)

    assert set(await walked(litellm, Busy(450))) <= set(range(451))


async def test_a_page_that_comes_short_is_read_again_and_then_no_answer(litellm: LiteLLM) -> None:
    class Short(Shelf):
        def answer(self, request: httpx.Request) -> httpx.Response:
            told = super().answer(request).json()
            if request.url.params["page"] == "2" and self.asked < self.until:
                told["keys"] = told["keys"][:40]
            return httpx.Response(200, json=told)

        until = 3

    assert await walked(litellm, Short(350)) == list(range(1, 351))
    Short.until = 99
    with pytest.raises(TransientError):
        await walked(litellm, Short(350))


@pytest.mark.parametrize("body", [{}, {"keys": [{}], "total_pages": 1, "total_count": 1}, {"keys": None}])
async def test_rubbish_in_place_of_a_page_is_no_empty_list(litellm: LiteLLM, body: dict[str, Any]) -> None:
    with respx.mock:
        respx.get(f"{BASE}/key/list").respond(json=body)
        with pytest.raises(TransientError):
            [page async for page in litellm.list_keys()]


async def test_what_a_key_may_call_is_read_as_it_is_told_and_what_is_not_told_is_everything(
    litellm: LiteLLM,
) -> None:
    with respx.mock:
        route = respx.get(f"{BASE}/key/info")
        for routes, can in [
            ([], True),
            (None, True),
            (["llm_api_routes"], False),
            (["/key/generate"], True),
            (list(WANTED.fences.paths), False),
        ]:
            route.respond(json={"key": "h", "info": {"user_id": "u1", "allowed_routes": routes}})
            observed = await litellm.read_key("h")
            assert observed is not None
            assert (observed.routes, observed.can_manage) == (tuple(routes or ()), can)


async def test_metadata_is_written_only_where_it_differs_and_then_with_all_that_was_found(
    litellm: LiteLLM,
) -> None:
    with respx.mock:
        written = respx.post(f"{BASE}/key/update").respond(json={})
        await litellm.update_key(WANTED)
        sent = json.loads(written.calls.last.request.content)
        assert sent["allowed_routes"] == list(WANTED.fences.paths)
        assert sent["max_parallel_requests"] == 10
        assert "metadata" not in sent
        await litellm.update_key(WANTED, found={"team": "blue", "keyfund": "another"})
        sent = json.loads(written.calls.last.request.content)
        assert sent["metadata"] == {"team": "blue"} | WANTED.marks
