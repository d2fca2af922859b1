"""What the provider takes and answers is what the vendors publish, and not only what our clients expect."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from .client import Client, chat, events, wav
from .description import Description, description

MESSAGES = [{"role": "user", "content": "hello"}]
WRONG: dict[str, Any] = {
    "integer": "made-up",
    "number": "made-up",
    "string": {"made": "up"},
    "boolean": "made-up",
    "array": "made-up",
    "object": "made-up",
}


@dataclass(frozen=True)
class Described:
    """A documented request: the vendor's path and ours, what is sent, and the files with it."""

    vendor: str
    path: str
    asked: str
    body: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    variant: str = "official"

    @property
    def kind(self) -> str:
        return "multipart/form-data" if self.files else "application/json"

    @property
    def description(self) -> Description:
        return description(self.vendor, self.variant)

    @property
    def request(self) -> str:
        return self.description.request(self.path, self.kind)

    async def send(self, client: Client, body: dict[str, Any]) -> httpx.Response:
        if self.files:
            return await client.ask(self.asked, data=body, files=self.files)
        return await client.ask(self.asked, body)

    def __str__(self) -> str:
        return f"{self.vendor}{self.path}"


PNG = ("a.png", b"x", "image/png")
CASES = [
    Described("openai", "/chat/completions", "/v1/chat/completions", chat(n=2)),
    Described(
        *("openai", "/deployments/{deployment-id}/chat/completions"),
        "/openai/deployments/live-azure/chat/completions",
        {"messages": MESSAGES, "max_tokens": 10},
        variant="azure",
    ),
    Described(
        *("openai", "/completions", "/v1/completions"),
        {"model": "live-complete", "prompt": ["one", "two"], "max_tokens": 5},
    ),
    Described("openai", "/embeddings", "/v1/embeddings", {"model": "live-embed", "input": ["one", "two"]}),
    Described(
        *("openai", "/images/generations", "/v1/images/generations"),
        {"model": "live-image", "prompt": "a house", "n": 2},
    ),
    Described(
        *("openai", "/images/edits", "/v1/images/edits"),
        {"model": "live-image", "prompt": "a house", "n": 2},
        {"image": PNG},
    ),
    Described(
        *("openai", "/audio/transcriptions", "/v1/audio/transcriptions"),
        {"model": "live-transcribe"},
        {"file": ("a.wav", wav(1), "audio/wav")},
    ),
    Described("openai", "/moderations", "/v1/moderations", {"model": "live-moderate", "input": "hello"}),
    Described("openai", "/responses", "/v1/responses", {"model": "live-small", "input": "hello"}),
    Described(
        *("openai", "/responses/input_tokens", "/v1/responses/input_tokens"),
        {"model": "live-small", "input": "hello"},
    ),
    Described(
        "openai", "/files", "/v1/files", {"purpose": "batch"}, {"file": ("a.jsonl", b"{}", "text/plain")}
    ),
    Described("openai", "/vector_stores", "/v1/vector_stores", {"name": "mine"}),
    Described("openai", "/realtime/client_secrets", "/v1/realtime/client_secrets", {}),
    Described(
        *("anthropic", "/v1/messages", "/v1/messages"),
        {"model": "live-claude", "messages": MESSAGES, "max_tokens": 10},
    ),
    Described(
        *("anthropic", "/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        {"model": "live-claude", "messages": MESSAGES},
    ),
    Described(
        *("cohere", "/v2/rerank", "/v2/rerank"),
        {"model": "live-rerank", "query": "a", "documents": ["a", "b"], "top_n": 1},
    ),
    Described(
        "cohere", "/v1/rerank", "/v1/rerank", {"model": "live-rerank", "query": "a", "documents": ["a"]}
    ),
]
STREAMS = [
    ("openai", "CreateChatCompletionStreamResponse", "/v1/chat/completions", chat(stream=True, n=2)),
    ("openai", "ResponseStreamEvent", "/v1/responses", {"model": "live-small", "input": "a", "stream": True}),
    (
        *("anthropic", "MessageStreamEvent", "/v1/messages"),
        {"model": "live-claude", "messages": MESSAGES, "max_tokens": 10, "stream": True},
    ),
]
"""OpenAI's description has no shape for the pieces of a stream of completions."""


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_documented_request_is_answered_as_documented(client: Client, case: Described) -> None:
    sent = case.body | dict.fromkeys(case.files, "a file")
    assert case.description.complaints(case.request, sent) == []
    answer = await case.send(client, case.body)
    assert answer.status_code == 200, answer.text
    assert case.description.complaints(case.description.answer(case.path), answer.json()) == []


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_the_description_requires_is_required(client: Client, case: Described) -> None:
    for name in case.description.required(case.request):
        lacking = {key: value for key, value in case.body.items() if key != name}
        files = {key: value for key, value in case.files.items() if key != name}
        sent = Described(
            case.vendor, case.path, case.asked, lacking, files or {"other": PNG} if case.files else {}
        )
        answer = await sent.send(client, lacking)
        assert 400 <= answer.status_code < 500, f"{name} may be left out"


@pytest.mark.parametrize("case", [case for case in CASES if not case.files], ids=str)
async def test_what_the_description_gives_a_type_is_refused_with_another(
    client: Client, case: Described
) -> None:
    accepted = [
        name
        for name, kind in case.description.typed(case.request)
        if (await case.send(client, case.body | {name: WRONG[kind]})).status_code != 400
    ]
    assert accepted == []


@pytest.mark.parametrize(("vendor", "schema", "path", "body"), STREAMS, ids=[row[1] for row in STREAMS])
async def test_every_piece_of_a_stream_is_as_documented(
    client: Client, vendor: str, schema: str, path: str, body: dict[str, Any]
) -> None:
    pieces = events(await client.ask(path, body))
    complaints = [
        complaint
        for piece in pieces
        for complaint in description(vendor).complaints(f"/components/schemas/{schema}", piece)
    ]
    assert (complaints, len(pieces) > 3) == ([], True)


async def test_what_is_kept_is_told_as_documented(client: Client) -> None:
    openai = description("openai")
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {}}'
    files = {"file": ("a.jsonl", line, "application/jsonl")}
    sent = (await client.ask("/v1/files", data={"purpose": "batch"}, files=files)).json()
    body = {"input_file_id": sent["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    batch = (await client.ask("/v1/batches", body)).json()
    response = (await client.ask("/v1/responses", {"model": "live-small", "input": "hello"})).json()
    assert openai.complaints(openai.answer("/batches"), batch) == []
    for path, name in (
        ("/files", ""),
        ("/files/{file_id}", sent["id"]),
        ("/batches", ""),
        ("/batches/{batch_id}", batch["id"]),
        ("/responses/{response_id}", response["id"]),
        ("/organization/costs", ""),
        ("/models", ""),
    ):
        told = await client.ask(f"/v1{path.split('/{')[0]}/{name}".rstrip("/"), method="GET")
        assert openai.complaints(openai.answer(path, "get"), told.json()) == [], path


def test_a_description_complains_of_what_it_does_not_describe() -> None:
    openai = description("openai")
    answer = openai.answer("/chat/completions")
    assert any("choices" in complaint for complaint in openai.complaints(answer, {"id": "a"}))
    assert dict(openai.typed(openai.request("/chat/completions")))["max_completion_tokens"] == "integer"
