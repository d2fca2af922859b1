"""The route of usage: who is asked, how long for, what is told when nobody answers, and the CSV."""

import asyncio
import csv
import io
import json
from typing import Any

import httpx
import pytest
import respx

from core.flows.usage import tomorrow
from tests.unit.service import LITELLM, REST, make_settings, running, supabase, token
from tests.unit.test_usage_answers import body
from webhook.routes import usage

ME = "0d4f4c7e-9a51-4b8e-8f0a-2c1d3e4f5a6b"
KEY_ID = "6b0f6f0e-3c57-4a3a-9d8b-5f6f8f0e1a2b"
FIGURES = {"requests": 3, "prompt_tokens": 24, "completion_tokens": 60, "spend_micros": 1440}
KEPT = {
    "account_id": ME,
    "start_date": "2026-11-01",
    "end_date": "2026-11-30",
    "as_of": "2026-11-20T10:00:00+00:00",
    "unread_since": "2026-10-19",
    "is_away": False,
    "days": [{"date": "2026-11-26", "model": "mock-small", **FIGURES}],
    "keys": [{"key_id": None, "name": "Other keys", **FIGURES}],
    "rows": None,
}
DAYS = f"{LITELLM}/user/daily/activity/aggregated"
Answers = dict[str, respx.Route]


async def look(
    kept: dict[str, Any], query: str = "", litellm: Any = None, recorded: Any = True
) -> tuple[httpx.Response, Answers]:
    """Ask with so much kept; LiteLLM answers as told, by default with a day."""
    with supabase() as mock:
        routes = {
            "read": mock.post(f"{REST}/rpc/read_usage").respond(json=kept),
            "litellm": mock.get(DAYS).mock(side_effect=litellm or [httpx.Response(200, json=body())]),
            "record": mock.post(f"{REST}/rpc/record_usage").respond(
                **(recorded if isinstance(recorded, dict) else {"json": recorded})
            ),
        }
        settings = make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master")
        async with running(settings) as service:
            return await service.get(f"/api/analytics/usage{query}", token(ME)), routes


async def test_what_litellm_tells_is_kept_and_then_shown() -> None:
    answer, routes = await look(KEPT)
    told = answer.json()
    assert (told["source"], told["time_zone"]) == ("litellm", "UTC")
    assert told["as_of"] > KEPT["as_of"]
    assert told["total"] == FIGURES | {"credits": 0.072}
    assert told["keys"][0]["key_id"] is None
    assert routes["read"].call_count == 2
    kept = json.loads(routes["record"].calls.last.request.content)
    assert (kept["p_account_id"], kept["p_booked_micros"]) == (ME, None)
    assert "sb_secret" in routes["record"].calls.last.request.headers["apikey"]
    assert "sb_secret" not in routes["read"].calls.last.request.headers["apikey"], "as the caller"


async def test_nothing_new_is_not_read_twice() -> None:
    answer, routes = await look(KEPT, recorded=False)
    assert answer.json()["source"] == "litellm"
    assert routes["read"].call_count == 1


@pytest.mark.parametrize(
    ("kept", "first"),
    [
        ({}, "2026-10-19"),  # up to today: no day since the last time is left out
        ({"end_date": "2026-11-10"}, "2026-11-01"),  # all of it was read since
        ({"as_of": None, "end_date": "2026-11-10"}, "2026-10-19"),
        ({"start_date": "2026-09-01"}, "2026-09-01"),
    ],
)
async def test_as_many_days_are_asked_for_as_are_needed(kept: dict[str, Any], first: str) -> None:
    _, routes = await look(KEPT | kept, litellm=[httpx.Response(200, json={"results": []})])
    asked = routes["litellm"].calls.last.request.url.params
    assert (asked["user_id"], asked["start_date"]) == (ME, first)
    assert asked["end_date"] == min(str((KEPT | kept)["end_date"]), tomorrow().isoformat()), (
        "none that is to come"
    )


async def slow(_request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits for this")


@pytest.mark.parametrize(
    "litellm",
    [
        slow,
        httpx.ConnectError("no"),
        [httpx.Response(500)],
        [httpx.Response(401, json={"error": {"type": "auth_error"}})],
        [httpx.Response(200, text="<html>")],
        [httpx.Response(200, json={"results": [{"date": "2020-01-01"}]})],
    ],
)
async def test_what_was_kept_is_shown_when_litellm_does_not_answer_soon(
    monkeypatch: pytest.MonkeyPatch, litellm: Any
) -> None:
    monkeypatch.setattr(usage, "READ_SECONDS", 0.1)
    answer, routes = await look(KEPT, litellm=litellm)
    told = answer.json()
    assert (answer.status_code, told["source"]) == (200, "local")
    assert told["as_of"].replace("Z", "+00:00") == KEPT["as_of"]
    assert told["days"][0]["spend_micros"] == 1440
    assert not routes["record"].called


async def test_while_the_breaker_is_open_nobody_is_asked() -> None:
    answer, routes = await look(KEPT | {"is_away": True, "as_of": None})
    assert (answer.json()["source"], answer.json()["as_of"]) == ("local", None)
    assert not routes["litellm"].called


async def test_an_answer_about_somebody_else_is_not_shown() -> None:
    refusal = {"status_code": 409, "json": {"code": "PT409", "message": "x", "details": "usage_of_another"}}
    answer, _ = await look(KEPT, recorded=refusal)
    assert (answer.status_code, answer.json()["source"]) == (200, "local")


async def test_who_may_not_see_it_is_told_so_before_litellm_is_asked() -> None:
    with supabase() as mock:
        mock.post(f"{REST}/rpc/read_usage").respond(
            403,
            json={
                "code": "PT403",
                "message": "Only an administrator may.",
                "details": "not_an_administrator",
            },
        )
        asked = mock.get(DAYS)
        settings = make_settings(litellm_base_url=LITELLM, litellm_master_key="sk-master")
        async with running(settings) as service:
            answer = await service.get(f"/api/analytics/usage?account_id={KEY_ID}", token(ME))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_an_administrator")
    assert not asked.called


@pytest.mark.parametrize(
    "query",
    [
        "start_date=1.11.2026", "start_date=2026-02-30", "start_date=1764115200", "end_date=20261101",
        "end_date=", "start_date=2026-11-01T00:00:00", "account_id=me", "key_id=1", "format=xml",
        "model=", "model=a%00b",
        "model=" + "m" * 301,
    ],
)  # fmt: skip
async def test_questions_that_make_no_sense_are_refused(query: str) -> None:
    answer, routes = await look(KEPT, f"?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert not routes["read"].called


async def test_the_csv_has_no_formulas() -> None:
    names = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", 'fine, "quoted"', "a=b", "x;=1+1", "x\t =1", "\uff1d1"]
    row = {"date": "2026-11-26", "key_id": KEY_ID, **FIGURES}
    kept = KEPT | {"rows": [row | {"name": name, "model": f"={name}"} for name in names]}
    answer, routes = await look(kept, "?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == ('attachment; filename="usage-2026-11-01-2026-11-30.csv"')
    assert answer.headers["x-keyfund-source"] == "litellm"
    assert json.loads(routes["read"].calls.last.request.content)["by_key"] is True
    lines = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert lines[0] == list(usage.COLUMNS)
    told = [line[3] for line in lines[1:]]
    assert told == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "'\rx",
        *names[6:8],
        "x;'=1+1",
        "x\t' =1",
        "'\uff1d1",
    ]
    assert all(line[1].startswith("'=") for line in lines[1:])
    assert lines[1][4:] == ["3", "24", "60", "1440", "0.072"]


async def test_a_range_that_is_all_to_come_is_empty_and_litellm_is_not_asked() -> None:
    kept = KEPT | {"start_date": "2099-01-01", "end_date": "2099-01-31", "days": [], "keys": []}
    answer, routes = await look(kept, "?start_date=2099-01-01&end_date=2099-01-31")
    assert (answer.status_code, answer.json()["source"], answer.json()["days"]) == (200, "local", [])
    assert not routes["litellm"].called
