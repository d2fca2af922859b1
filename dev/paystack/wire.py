"""How Paystack writes things down: JSON text and times."""

import json
from datetime import UTC, datetime
from typing import Any

JsonObject = dict[str, Any]


def encode(event: JsonObject) -> bytes:
    """The exact bytes of a webhook body.

    Slashes and everything beyond ASCII are escaped, as in captured deliveries: a receiver that verifies
    a re-serialised body instead of the raw one fails here as it would in production.
    """
    return json.dumps(event, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def stamp(moment: datetime) -> str:
    """A time as Paystack prints it: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def stamp_or_null(moment: datetime | None) -> str | None:
    """The same, for a time that may not have come yet."""
    return None if moment is None else stamp(moment)


def moment_of(text: str) -> datetime:
    """The UTC time that an ISO 8601 text names (a bare date is its midnight); ValueError if it names none."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
