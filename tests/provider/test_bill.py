"""Each thing that a provider charges for is on the bill, at its price."""

from typing import Any

import pytest

from dev.provider.price import MODELS

from .client import Client, chat, coded, wav

LIMITS = (
    *({name: 30} for name in ("max_completion_tokens", "max_output_tokens", "max_new_tokens", "min_tokens")),
    {"generationConfig": {"maxOutputTokens": 30}},
    {"inferenceConfig": {"maxTokens": 30}},
)
PICTURE = {"type": "image_url", "image_url": {"url": coded(b"x", "image/png")}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": coded(bytes(4_000))}}


async def test_input_and_output_are_billed_by_the_token(client: Client) -> None:
    await client.chat()
    assert await client.billed() == 8 * 10 + 10 * 20


async def test_the_answer_and_the_bill_name_the_same_usage(client: Client) -> None:
    usage = (await client.chat()).json()["usage"]
    (call,) = (await client.bill())["calls"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (8, 10)
    assert call["asked"]["usage"] == {"input_tokens": 8, "output_tokens": 10}


async def test_without_a_limit_the_ceiling_of_the_model_is_generated(client: Client) -> None:
    await client.chat(max_tokens=None)
    assert await client.billed() == 8 * 10 + MODELS["live-small"].output_tokens * 20


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_the_largest_of_several_limits_is_generated(client: Client, limit: dict[str, Any]) -> None:
    answer = await client.chat(**limit)
    assert answer.json()["usage"]["completion_tokens"] == 30
    assert await client.billed() == 8 * 10 + 30 * 20


@pytest.mark.parametrize("name", ["n", "best_of", "num_return_sequences"])
async def test_every_choice_is_billed(client: Client, name: str) -> None:
    answer = await client.chat(**{name: 3})
    assert len(answer.json()["choices"]) == 3
    assert await client.billed() == 8 * 10 + 3 * 10 * 20


async def test_every_prompt_of_a_list_is_answered_and_billed(client: Client) -> None:
    body = {"model": "live-complete", "prompt": ["one", "two words"], "max_tokens": 5, "n": 2}
    answer = await client.ask("/v1/completions", body)
    assert len(answer.json()["choices"]) == 4
    assert await client.billed() == 3 * 10 + 4 * 5 * 20


async def test_every_token_of_every_input_is_embedded_and_billed(client: Client) -> None:
    body = {"model": "live-embed", "input": [[1, 2, 3], [4, 5]]}
    answer = await client.ask("/v1/embeddings", body)
    assert len(answer.json()["data"]) == 2
    assert await client.billed() == 5 * 10


async def test_a_file_is_billed_by_its_bytes(client: Client) -> None:
    await client.chat(text=[{"type": "text", "text": "hello"}, FILE])
    assert await client.billed() == (8 + 1_000) * 10 + 10 * 20


@pytest.mark.parametrize(("detail", "tokens"), [("low", 85), ("high", 765)])
async def test_a_picture_is_billed_by_its_detail(client: Client, detail: str, tokens: int) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": detail}}
    await client.chat(text=[{"type": "text", "text": "hello"}, picture])
    assert await client.billed() == (8 + tokens) * 10 + 10 * 20


async def test_sound_in_a_prompt_has_a_price_of_its_own(client: Client) -> None:
    sound = {
        "type": "input_audio",
        "input_audio": {"data": coded(bytes(3_200), "audio/wav"), "format": "wav"},
    }
    await client.chat(model="live-audio", text=[{"type": "text", "text": "hello"}, sound])
    assert await client.billed() == 8 * 10 + 2 * 500 + 10 * 20


async def test_a_long_prompt_is_billed_at_the_step_that_it_reaches(client: Client) -> None:
    await client.chat(model="live-long", text="word " * 199_993)
    assert await client.billed() == 200_000 * 10 + 10 * 20
    await client.ask("/sandbox/bill", method="DELETE")
    await client.chat(model="live-long", text="word " * 199_994)
    assert await client.billed() == 200_001 * 1_000 + 10 * 2_000


async def test_a_prompt_is_written_to_the_cache_and_then_read_from_it(client: Client) -> None:
    text = "word " * 1_993
    await client.chat(model="live-cached", text=text)
    assert await client.billed() == 2_000 * 100 + 10 * 20
    await client.ask("/sandbox/bill", method="DELETE")
    await client.chat(model="live-cached", text=text)
    assert await client.billed() == 2_000 * 1 + 10 * 20


async def test_reasoning_is_billed_within_the_limit_at_a_price_of_its_own(client: Client) -> None:
    await client.chat(model="live-reason", reasoning_effort="low", max_tokens=100)
    assert await client.billed() == 8 * 10 + 25 * 60 + 75 * 20


@pytest.mark.parametrize(("tier", "micros"), [("default", 280), ("flex", 140), ("priority", 560)])
async def test_a_service_tier_multiplies_the_price(client: Client, tier: str, micros: int) -> None:
    assert (await client.chat(service_tier=tier)).json()["service_tier"] == tier
    assert await client.billed() == micros


async def test_a_prediction_is_billed_as_output(client: Client) -> None:
    await client.chat(prediction={"type": "content", "content": "one two three"})
    assert await client.billed() == 8 * 10 + (10 + 3) * 20


@pytest.mark.parametrize("more", [{"web_search_options": {}}, {"tools": [{"type": "web_search"}]}], ids=str)
async def test_each_use_of_a_hosted_tool_is_billed(client: Client, more: dict[str, Any]) -> None:
    await client.chat(**more)
    (call,) = (await client.bill())["calls"]
    assert call["asked"]["usage"]["searches"] == 1
    assert call["cost_micros"] >= 25_000 + 280


async def test_every_picture_is_billed(client: Client) -> None:
    body = {"model": "live-image", "prompt": "a house", "n": 2}
    assert len((await client.ask("/v1/images/generations", body)).json()["data"]) == 2
    files = {"image": ("a.png", b"x", "image/png")}
    await client.ask("/v1/images/edits", data={**body, "n": "3"}, files=files)
    assert await client.billed() == 5 * 3_000_000


async def test_speech_is_billed_by_the_character(client: Client) -> None:
    await client.ask("/v1/audio/speech", {"model": "tts-1-hd", "input": "hello you", "voice": "alloy"})
    assert await client.billed() == 9 * 30


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "text", "srt", "vtt"])
async def test_a_transcription_is_billed_by_the_second_that_the_file_plays(
    client: Client, wanted: str
) -> None:
    fields = {"model": "live-transcribe", "response_format": wanted}
    await client.ask(
        "/v1/audio/transcriptions", data=fields, files={"file": ("a.wav", wav(1.5), "audio/wav")}
    )
    assert await client.billed() == 1_500_000


@pytest.mark.parametrize(("documents", "queries"), [(["a"] * 100, 1), (["a"] * 101, 2), (["a " * 501], 1)])
async def test_reranking_is_billed_by_the_query(client: Client, documents: list[str], queries: int) -> None:
    await client.ask("/v2/rerank", {"model": "live-rerank", "query": "a", "documents": documents})
    assert await client.billed() == queries * 500_000


async def test_moderation_is_free_and_on_the_bill(client: Client) -> None:
    await client.ask("/v1/moderations", {"model": "live-moderate", "input": "hello"})
    (call,) = (await client.bill())["calls"]
    assert (call["cost_micros"], call["outcome"]) == (0, "answered")


async def test_a_response_in_the_background_is_billed_once_however_often_it_is_fetched(
    client: Client,
) -> None:
    body = {"model": "live-small", "input": "hello", "max_output_tokens": 20, "background": True}
    queued = (await client.ask("/v1/responses", body)).json()
    fetched = [(await client.ask(f"/v1/responses/{queued['id']}", method="GET")).json() for _ in range(2)]
    assert (queued["status"], fetched[0]["status"], fetched[0]["usage"]["output_tokens"]) == (
        *("queued", "completed", 20),
    )
    assert await client.billed() == 8 * 10 + 20 * 20


async def test_going_on_from_a_response_is_billed_with_all_that_led_to_it(client: Client) -> None:
    body = {"model": "live-small", "input": "hello", "max_output_tokens": 20}
    first = (await client.ask("/v1/responses", body)).json()
    await client.ask("/sandbox/bill", method="DELETE")
    await client.ask("/v1/responses", body | {"previous_response_id": first["id"]})
    assert await client.billed() == (8 + 28) * 10 + 20 * 20


async def test_messages_are_billed_and_counting_them_is_free(client: Client) -> None:
    body = {"model": "live-claude", "messages": [{"role": "user", "content": "hello"}]}
    counted = await client.ask("/v1/messages/count_tokens", body)
    assert counted.json()["input_tokens"] == 8
    await client.ask("/v1/messages", body | {"max_tokens": 10})
    assert await client.billed() == 8 * 10 + 10 * 20


async def test_the_lines_of_a_batch_are_run_and_cost_half(client: Client) -> None:
    line = '{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": %s}'
    content = "\n".join(
        [line % '{"model": "live-small", "messages": [{"role": "user", "content": "hello"}]}'] * 3
    )
    files = {"file": ("a.jsonl", content.encode(), "application/jsonl")}
    sent = (await client.ask("/v1/files", data={"purpose": "batch"}, files=files)).json()
    body = {"input_file_id": sent["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = (await client.ask("/v1/batches", body)).json()
    done = (await client.ask(f"/v1/batches/{batch['id']}", method="GET")).json()
    output = await client.ask(f"/v1/files/{done['output_file_id']}/content", method="GET")
    assert (done["status"], len(output.text.splitlines())) == ("completed", 3)
    assert await client.billed() == 3 * (8 * 10 + 4_500 * 20) // 2


async def test_a_run_of_a_thread_is_billed_up_to_the_ceiling(client: Client) -> None:
    assistant = (await client.ask("/v1/assistants", {"model": "live-small"})).json()
    thread = (await client.ask("/v1/threads", {})).json()
    await client.ask(f"/v1/threads/{thread['id']}/runs", {"assistant_id": assistant["id"]})
    assert await client.billed() > 4_500 * 20


async def test_a_call_made_with_a_realtime_secret_is_billed(client: Client) -> None:
    secret = (await client.ask("/v1/realtime/client_secrets", {})).json()["value"]
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/sdp"}
    answer = await client.ask("/v1/realtime/calls", headers=headers, content=b"v=0")
    assert (answer.status_code, await client.billed()) == (201, 1_000_000)


async def test_a_deployment_of_azures_is_billed_as_the_model_that_it_is(client: Client) -> None:
    path = "/openai/deployments/live-azure/chat/completions?api-version=2024-10-21"
    await client.ask(path, chat(model="live-large"), headers={"api-key": "sk-provider-test"})
    (call,) = (await client.bill())["calls"]
    assert (call["model"], call["cost_micros"]) == ("live-azure", 280)
    assert call["asked"]["query"] == "api-version=2024-10-21"


async def test_the_bill_starts_anew_when_it_is_deleted(client: Client) -> None:
    await client.chat()
    assert (await client.ask("/sandbox/bill", method="DELETE")).json()["calls"] == []
    assert await client.billed() == 0


async def test_the_bill_names_what_arrived(client: Client) -> None:
    await client.chat(text=[{"type": "text", "text": "hello"}, FILE, PICTURE], n=2, made_up=1)
    (call,) = (await client.bill())["calls"]
    wanted = {"max_tokens": 10, "n": 2, "files": 1, "pictures": 1, "stream": False, "service_tier": "default"}
    assert call["asked"].items() >= wanted.items()
    assert call["asked"]["fields"] == ["made_up", "max_tokens", "messages", "model", "n"]
