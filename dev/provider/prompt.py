"""What a prompt weighs: its words, and the files, pictures and sounds in it."""

import base64
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from dev.provider import field
from dev.provider.refusal import JsonObject, invalid, missing, wrong_type
from dev.provider.tokens import MESSAGE_TOKENS, count

FILE_BYTES_PER_TOKEN: Final = 4
PICTURE_TOKENS: Final = {"low": 85, "auto": 765, "high": 765, "original": 765}
"""What a picture counts for, by the detail asked for: OpenAI's figures for a square of 1024 pixels."""

AUDIO_BYTES_PER_TOKEN: Final = 1_600
"""A tenth of a second of the 16-bit sound of 8 kHz."""


@dataclass(frozen=True)
class Prompt:
    """The input of a call, in tokens by kind; `text` is all that was written in it."""

    text: str = ""
    text_tokens: int = 0
    audio_tokens: int = 0
    picture_tokens: int = 0
    file_tokens: int = 0
    counted: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.text_tokens + self.audio_tokens + self.picture_tokens + self.file_tokens

    @classmethod
    def of(cls, messages: list[Any]) -> Self:
        """The prompt that a list of messages is, as chat has it."""
        if not messages:
            raise invalid("messages", "expected at least one message")
        parts = [part for message in messages for part in _parts(message)]
        return cls.weighed(parts, MESSAGE_TOKENS * (len(messages) + 1))

    @classmethod
    def weighed(cls, parts: list[JsonObject], more_tokens: int = 0) -> Self:
        """The prompt made of such parts; `more_tokens` stand for what holds them together."""
        texts = [field.text(part, "text") or "" for part in parts]
        sizes = [_size(part) for part in parts]
        kinds = [kind for kind, _ in sizes]
        return cls(
            text="\n".join(texts),
            text_tokens=more_tokens + sum(count(text) for text in texts),
            audio_tokens=sum(size for kind, size in sizes if kind == "audio"),
            picture_tokens=sum(size for kind, size in sizes if kind == "pictures"),
            file_tokens=sum(size for kind, size in sizes if kind == "files"),
            counted={kind: kinds.count(kind) for kind in ("audio", "pictures", "files") if kind in kinds},
        )


def _parts(message: Any) -> Iterator[JsonObject]:
    if not isinstance(message, dict):
        raise wrong_type("messages", "an array of objects")
    if not isinstance(message.get("role"), str):
        raise missing("messages.role")
    yield {"text": message["role"]}
    yield from parts_of(message.get("content"))
    for name in ("tool_calls", "function_call", "name"):
        if message.get(name):
            yield {"text": json.dumps(message[name])}


def parts_of(content: Any) -> Iterator[JsonObject]:
    """The parts of a message's content, which may be a text."""
    if content is None:
        return
    if isinstance(content, str):
        yield {"text": content}
    elif isinstance(content, list) and all(isinstance(part, dict) for part in content):
        yield from content
    else:
        raise wrong_type("messages.content", "a string or an array of parts")


def _size(part: JsonObject) -> tuple[str, int]:
    kind = part.get("type", "text")
    if kind in ("image_url", "input_image", "image"):
        source = part.get("image_url")
        detail = str((source if isinstance(source, dict) else part).get("detail", "auto"))
        return "pictures", PICTURE_TOKENS.get(detail, PICTURE_TOKENS["high"])
    if kind in ("input_audio", "audio"):
        return "audio", -(-len(_bytes(part, "data")) // AUDIO_BYTES_PER_TOKEN)
    if kind in ("file", "input_file", "document", "container_upload"):
        return "files", -(-len(_bytes(part, "file_data", "data")) // FILE_BYTES_PER_TOKEN)
    return "text", 0


def _bytes(part: JsonObject, *names: str) -> bytes:
    """What a part carries in base64, as itself or in an object below it."""
    for holder in (part, *(value for value in part.values() if isinstance(value, dict))):
        for name in names:
            if isinstance(holder.get(name), str):
                return _decoded(holder[name].rpartition(",")[2], name)
    return b""


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text + "==")
    except ValueError:
        raise invalid(name, "expected base64") from None
