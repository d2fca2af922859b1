"""A request for any route, filled in as its description wants it: parameters, query, body, files."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.wallet.routes import Route

Json = dict[str, Any]

HINTS: Json = {
    "messages": [{"role": "user", "content": "Hello"}],
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    "prompt": "Hello",
    "input": "Hello",
    "query": "Hello",
    "documents": ["Hello"],
    "max_tokens": 1,
}
"""What the bodies of model calls have in common; what a route does not know it ignores or refuses."""

MODELS = {"bespoke": "nimble", "laya": "english"}
"""Models that LiteLLM knows a vendor's routes by; elsewhere it is one of the stand-in's."""

WITH_BODY = ("/config/yaml",)
"""What LiteLLM reads from the body of a GET."""

UPLOADS = re.compile(r"/files|/audio/trans|/images/(edits|variations)|/skills|/ocr|/documents")
ENDPOINTS = {
    "gemini": "v1beta/models/live-small:generateContent",
    "anthropic": "v1/messages",
    "bedrock": "model/live-small/converse",
    "cohere": "v2/rerank",
}
"""What to ask for behind a pass-through prefix; elsewhere it is OpenAI's chat."""


@dataclass(frozen=True)
class Filled:
    """What goes over the wire for a route."""

    method: str
    path: str
    more: Json = field(default_factory=dict)


def silence(seconds: int) -> bytes:
    """A WAV of so many seconds, with 8000 samples of one byte in each."""
    sound = b"\x80" * (8000 * seconds)
    head = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    size = struct.pack("<I", 36 + len(sound))
    return b"RIFF" + size + b"WAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", len(sound)) + sound


class Filler:
    """Fills routes in from a description, with names and ids that exist."""

    def __init__(self, document: Json, known: Mapping[str, str]) -> None:
        """``known`` are values for parameters by their names: ids that another customer owns."""
        self.document = document
        self.known = {"model": "live-small", "provider": "openai", **known}
        self.described = {
            (method.upper(), path): told
            for path, methods in document["paths"].items()
            for method, told in methods.items()
        }

    def fill(self, route: Route) -> Filled:
        told = self.described.get((route.method, route.path), {})
        method = "GET" if route.method in ("WEBSOCKET", "MOUNT") else route.method
        more: Json = {"params": self.query(told)}
        if method in ("POST", "PUT", "PATCH", "DELETE") or route.path in WITH_BODY:
            more |= self.body(route, told)
        return Filled(method, self.path(route.path), more)

    def path(self, path: str) -> str:
        first = path.split("/")[1]
        endpoint = ENDPOINTS.get(first, "v1/chat/completions")
        known = {**self.known, "endpoint": endpoint}
        return re.sub(r"{(\w+)}", lambda found: self.value(found[1], known), path)

    def value(self, name: str, known: Mapping[str, str]) -> str:
        """By its whole name, else by what it ends on: `{model_name}` is a model, too."""
        return known.get(name) or next((known[part] for part in name.split("_") if part in known), "x")

    def query(self, told: Json) -> Json:
        wanted = (one for one in told.get("parameters", []) if one["in"] == "query" and one.get("required"))
        return {one["name"]: self.sample(one.get("schema", {}), one["name"]) for one in wanted}

    def body(self, route: Route, told: Json) -> Json:
        content = told.get("requestBody", {}).get("content", {})
        if "multipart/form-data" in content or (UPLOADS.search(route.path) and route.method == "POST"):
            form = {"model": self.known["model"], "purpose": "batch", "custom_llm_provider": "openai"}
            return {"data": form, "files": {"file": ("hello.wav", silence(1))}}
        schema = content.get("application/json", {}).get("schema", {})
        sample = self.sample(schema)
        own = sample if isinstance(sample, dict) else {}
        model = MODELS.get(route.path.split("/")[1], self.known["model"])
        return {"json": {**HINTS, **own, "model": model}}

    def sample(self, schema: Json, name: str = "", depth: int = 0) -> Any:
        """A value that fits a schema: what is required and no more."""
        if "$ref" in schema:
            schema = self.resolved(schema["$ref"])
        for choice in ("anyOf", "oneOf", "allOf"):
            if choice in schema:
                return self.sample(schema[choice][0], name, depth)
        if "enum" in schema or "const" in schema:
            return schema.get("const") or schema["enum"][0]
        if name in HINTS or self.value(name, self.known) != "x":
            return HINTS.get(name) or self.value(name, self.known)
        return self.plain(schema, depth)

    def plain(self, schema: Json, depth: int) -> Any:
        kind = schema.get("type", "object")
        if kind == "object":
            properties = schema.get("properties", {}) if depth < 4 else {}
            wanted = (name for name in schema.get("required", []) if name in properties)
            return {name: self.sample(properties[name], name, depth + 1) for name in wanted}
        if kind == "array":
            return [self.sample(schema.get("items", {}), "", depth + 1)]
        return {"integer": 1, "number": 1, "boolean": False}.get(kind, "x")

    def resolved(self, reference: str) -> Json:
        found: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part, {})
        return dict(found)
