"""Errors, grouped by what the caller should do next.

The docstring of an error says what happened; its ``code`` never changes, so that clients, logs and
``last_error`` can be matched; its message is our own sentence. A vendor's text is never passed on: it may
carry secrets, and it changes.
"""


class KeyfundError(Exception):
    """Something that Keyfund understood and can name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TransientError(KeyfundError):
    """Nobody's fault for now: try again later.

    ``outcome_unknown`` says that the request may have had its effect, or may still have it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        outcome_unknown: bool = False,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.outcome_unknown = outcome_unknown
        self.retry_after_seconds = retry_after_seconds


class RefusedError(KeyfundError):
    """The other side understood and said no: the same request will be refused again. Record it and stop.

    ``status`` is what we answer over HTTP, ``vendor_status`` what LiteLLM or Paystack answered us.
    """

    def __init__(
        self, code: str, message: str, *, status: int = 400, vendor_status: int | None = None
    ) -> None:
        super().__init__(code, message)
        self.status = status
        self.vendor_status = vendor_status


class NotConfiguredError(KeyfundError):
    """The feature is switched off: its settings are absent."""


class SettingsError(KeyfundError):
    """A process cannot start with these settings."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_settings", message)
