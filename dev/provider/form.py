"""Bodies of `multipart/form-data`: what is sent with a file."""

from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser

from starlette.requests import Request

from dev.provider.asking import call_of
from dev.provider.refusal import JsonObject, RefusedError, missing


@dataclass(frozen=True)
class Upload:
    """A file as it was sent."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """The fields of a form as texts, and its files."""

    fields: JsonObject = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

    def file(self, *names: str) -> Upload:
        """The file sent under one of these names."""
        for name in names:
            if name in self.files:
                return self.files[name]
        raise missing(names[0])


async def form_of(request: Request) -> Form:
    """The form in the body; the names of its fields and the sizes of its files go on the bill."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise RefusedError(400, "The body of your request must be multipart/form-data.")
    head = f"content-type: {kind}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + await request.body()).get_payload()
    form = _form([part for part in parts if isinstance(part, Message)] if isinstance(parts, list) else [])
    sizes = {name: len(upload.content) for name, upload in form.files.items()}
    call_of(request).asked |= {"fields": sorted({*form.fields, *form.files}), "file_bytes": sizes}
    return form


def _form(parts: list[Message]) -> Form:
    form = Form()
    for part in parts:
        name = str(part.get_param("name", "", "content-disposition")).removesuffix("[]")
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        if (filename := part.get_filename()) is not None:
            form.files.setdefault(name, Upload(filename, content))
        else:
            form.fields[name] = _value(content.decode(errors="replace"))
    return form


def _value(text: str) -> str | int | float | bool:
    """A form has texts alone: one that looks like a number or a boolean is meant as such."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
