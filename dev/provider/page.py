"""A list as the vendors answer it; here all of it is one page."""

from dev.provider.refusal import JsonObject


def page(rows: list[JsonObject]) -> JsonObject:
    """The rows, the newest first."""
    newest = list(reversed(rows))
    first, last = (newest[0]["id"], newest[-1]["id"]) if newest else ("", "")
    return {"object": "list", "data": newest, "first_id": first, "last_id": last, "has_more": False}
