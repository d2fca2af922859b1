"""The name of the schema that holds the API's tables and functions."""

import re

PUBLIC = "public"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
TAKEN = re.compile(
    r"keyfund|keyfund_before|auth|storage|realtime|extensions|vault|graphql|graphql_public|net|cron|pgbouncer"
    r"|pgsodium|pgsodium_masks|pgtle|pgmq|tiger|topology|information_schema|supabase_.*|pg_.*"
    r"|_(analytics|realtime|supavisor)"
)


def objection(name: str) -> str | None:
    """Why the schema cannot have this name; None: it can."""
    if not NAME.fullmatch(name):
        return "it has to be of letters, digits, _ and -, at most 63, and no digit first"
    return "it is a schema of Supabase's or of Keyfund's own" if TAKEN.fullmatch(name) else None
