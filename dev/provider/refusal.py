"""The provider's ways of saying no."""

from typing import Any

JsonObject = dict[str, Any]


class RefusedError(Exception):
    """A call that the provider does not carry out, and does not bill."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    @property
    def kind(self) -> str:
        """The `type` of the refusal, in the words that all three vendors share."""
        kinds = {401: "authentication_error", 404: "not_found_error", 500: "server_error"}
        return kinds.get(self.status, "server_error" if self.status > 500 else "invalid_request_error")

    def body(self, path: str) -> JsonObject:
        """The envelope of the vendor whose path was asked."""
        if "/messages" in path:
            return {
                "type": "error",
                "error": {"type": self.kind, "message": self.message},
                "request_id": None,
            }
        if path.endswith("/rerank"):
            return {"message": self.message}
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": told}


def unknown_key() -> RefusedError:
    """The key is wrong or missing."""
    return RefusedError(401, "Incorrect API key provided.", code="invalid_api_key")


def unknown_model(name: object) -> RefusedError:
    """No such model, or not for this kind of call."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return RefusedError(404, message, param="model", code="model_not_found")


def unknown(thing: str, name: str) -> RefusedError:
    """No such file, batch, answer or the like."""
    return RefusedError(404, f"No such {thing}: {name}", param="id", code="not_found")


def unknown_path(method: str, path: str) -> RefusedError:
    """Nothing is served there."""
    return RefusedError(404, f"Invalid URL ({method} {path})", code="unknown_url")


def missing(name: str) -> RefusedError:
    """A required field is not there."""
    return RefusedError(
        400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )


def wrong_type(name: str, wanted: str) -> RefusedError:
    """A field is of another type than it must be."""
    return RefusedError(
        400, f"Invalid type for '{name}': expected {wanted}.", param=name, code="invalid_type"
    )


def invalid(name: str, why: str) -> RefusedError:
    """A field's value is out of bounds or makes no sense."""
    return RefusedError(400, f"Invalid value for '{name}': {why}.", param=name, code="invalid_value")
