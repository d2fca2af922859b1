"""What a provider refuses is refused, costs nothing and is on the log all the same."""

from typing import Any

import pytest

from .client import Client, chat

CHATS: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 4_501}, "max_tokens"),
    ({"max_tokens": 1, "max_completion_tokens": 4_501}, "max_completion_tokens"),
    ({"max_tokens": "40"}, "max_tokens"),
    ({"max_tokens": 4.5}, "max_tokens"),
    ({"max_tokens": [40]}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": "2"}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"stream": 1}, "stream"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.content"),
    ({"messages": [{"role": "user", "content": [{"text": 5}]}]}, "text"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file_data": "é"}]}]}, "file_data"),
    ({"service_tier": "made-up"}, "service_tier"),
    ({"reasoning_effort": "made-up"}, "reasoning_effort"),
]


@pytest.mark.parametrize(("more", "param"), CHATS, ids=str)
async def test_a_body_that_makes_no_sense_is_refused_by_the_name_of_its_field(
    client: Client, more: dict[str, Any], param: str
) -> None:
    answer = await client.chat(**more)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    bill = await client.bill()
    assert (bill["total_micros"], bill["calls"][0]["outcome"], bill["calls"][0]["status"]) == (
        0,
        "refused",
        400,
    )


@pytest.mark.parametrize("content", [b"{", b"[]", b'"hello"'])
async def test_a_body_that_is_no_object_is_refused(client: Client, content: bytes) -> None:
    answer = await client.ask("/v1/chat/completions", content=content)
    assert answer.status_code == 400


@pytest.mark.parametrize("headers", [{"authorization": "Bearer sk-other"}, {"authorization": ""}])
async def test_another_key_is_refused(client: Client, headers: dict[str, str]) -> None:
    answer = await client.ask("/v1/chat/completions", chat(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert await client.billed() == 0


@pytest.mark.parametrize("model", ["made-up", "live-embed", "live-small,live-small"])
async def test_a_model_that_is_not_there_for_this_is_refused(client: Client, model: str) -> None:
    answer = await client.chat(model=model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_path_where_nothing_is_is_on_the_log(client: Client, method: str) -> None:
    answer = await client.ask("/v1/made/up", method=method)
    (call,) = (await client.bill())["calls"]
    assert (answer.status_code, call["route"], call["status"]) == (404, f"{method} /v1/made/up", 404)


async def test_a_prompt_beyond_the_window_is_refused(client: Client) -> None:
    answer = await client.chat(text="word " * 1_000_000)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


async def test_a_file_that_is_no_sound_is_refused(client: Client) -> None:
    files = {"file": ("a.wav", b"no sound", "audio/wav")}
    answer = await client.ask("/v1/audio/transcriptions", data={"model": "live-transcribe"}, files=files)
    assert (answer.status_code, await client.billed()) == (400, 0)


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        (
            "/v1/messages",
            {"model": "made-up", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1},
            "error",
        ),
        ("/v2/rerank", {"model": "made-up", "query": "a", "documents": ["a"]}, "message"),
    ],
)
async def test_a_refusal_has_the_envelope_of_the_vendor_asked(
    client: Client, path: str, body: dict[str, Any], where: str
) -> None:
    answer = await client.ask(path, body)
    assert answer.status_code == 404
    assert where in answer.json()


@pytest.mark.parametrize("kind", ["files", "batches", "responses", "vector_stores"])
async def test_what_is_not_kept_is_not_found(client: Client, kind: str) -> None:
    assert (await client.ask(f"/v1/{kind}/made-up", method="GET")).status_code == 404


async def test_what_fails_on_demand_is_not_billed(client: Client) -> None:
    answer = await client.chat(text="hello [fail 503]")
    (call,) = (await client.bill())["calls"]
    assert (answer.status_code, call["outcome"], call["cost_micros"]) == (503, "failed", 0)
