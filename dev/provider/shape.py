"""The types of a body's fields, as the vendors' descriptions have them; a test compares with those."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dev.provider import field as fields
from dev.provider.refusal import JsonObject, missing

WIDE: Final = 2**63


@dataclass(frozen=True)
class Shape:
    """The fields of a body that have one type; numbers with their bounds."""

    required: tuple[str, ...] = ()
    integers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()

    def check(self, body: JsonObject) -> None:
        """Refuse a body that lacks something, or has something of another type or out of bounds."""
        for name in self.required:
            if body.get(name) is None:
                raise missing(name)
        for name, (low, high) in self.integers.items():
            fields.integer(body, name, low, high)
        for name, (least, most) in self.numbers.items():
            fields.number(body, name, least, most)
        self._check_others(body)

    def _check_others(self, body: JsonObject) -> None:
        for name in self.texts:
            fields.text(body, name)
        for name in self.flags:
            fields.flag(body, name)
        for name in self.lists:
            fields.items(body, name)
        for name in self.objects:
            fields.mapping(body, name)


_SAMPLING: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
_USER: Final = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
_DRAWING: Final = ("quality", "response_format", "output_format", "size", "background", "user", "moderation")
_PICTURES: Final = {"output_compression": (0, 100), "partial_images": (0, 3)}

CHAT: Final = Shape(
    required=("messages",),
    integers={"top_logprobs": (0, 20), "seed": (-WIDE, WIDE)},
    numbers=_SAMPLING,
    texts=(*_USER, "verbosity"),
    flags=("store", "stream", "logprobs", "parallel_tool_calls"),
    lists=("messages", "modalities", "tools", "functions", "data_sources"),
    objects=(
        *("metadata", "web_search_options", "response_format", "audio"),
        *("logit_bias", "prediction", "stream_options"),
    ),
)
COMPLETIONS: Final = Shape(
    required=("prompt",),
    integers={"logprobs": (0, 5), "seed": (-WIDE, WIDE)},
    numbers=_SAMPLING,
    texts=("suffix", "user"),
    flags=("echo", "stream"),
    objects=("logit_bias", "stream_options"),
)
EMBEDDINGS: Final = Shape(required=("input",), integers={"dimensions": (1, 4_096)}, texts=("user",))
IMAGES: Final = Shape(
    required=("prompt",),
    integers=_PICTURES,
    texts=("prompt", "style", *_DRAWING),
    flags=("stream",),
)
EDITS: Final = Shape(
    required=("prompt",), integers=_PICTURES, texts=("prompt", "input_fidelity", *_DRAWING), flags=("stream",)
)
SPEECH: Final = Shape(
    required=("input", "voice"),
    numbers={"speed": (0.25, 4)},
    texts=("input", "instructions", "response_format", "stream_format"),
)
TRANSCRIPTION: Final = Shape(numbers={"temperature": (0, 1)}, texts=("language", "prompt"), flags=("stream",))
MODERATIONS: Final = Shape(required=("input",))
RESPONSES: Final = Shape(
    integers={"top_logprobs": (0, 20), "max_tool_calls": (1, 1_000)},
    numbers={"temperature": (0, 2), "top_p": (0, 1)},
    texts=(*_USER, "previous_response_id", "truncation", "instructions"),
    flags=("background", "parallel_tool_calls", "store", "stream"),
    lists=("tools", "include", "context_management"),
    objects=("metadata", "reasoning", "text", "prompt", "stream_options"),
)
MESSAGES: Final = Shape(
    required=("messages", "max_tokens"),
    integers={"top_k": (0, WIDE)},
    numbers={"temperature": (0, 1), "top_p": (0, 1)},
    texts=("container", "inference_geo"),
    flags=("stream",),
    lists=("messages", "stop_sequences", "tools"),
    objects=("cache_control", "metadata", "output_config", "thinking", "tool_choice"),
)
COUNTING: Final = Shape(
    required=("messages",),
    lists=("messages", "tools"),
    objects=("cache_control", "output_config", "thinking", "tool_choice"),
)
RERANK: Final = Shape(
    required=("query", "documents"),
    integers={
        "top_n": (1, WIDE),
        "max_tokens_per_doc": (1, WIDE),
        "max_chunks_per_doc": (1, WIDE),
        "priority": (0, 999),
    },
    texts=("query",),
    flags=("return_documents",),
    lists=("documents", "rank_fields"),
)
BATCH: Final = Shape(
    required=("input_file_id", "endpoint", "completion_window"),
    texts=("input_file_id", "endpoint", "completion_window"),
    objects=("metadata", "output_expires_after"),
)
SECRET: Final = Shape(objects=("expires_after", "session"))
STORE: Final = Shape(
    texts=("name", "description"),
    lists=("file_ids",),
    objects=("expires_after", "chunking_strategy", "metadata"),
)
