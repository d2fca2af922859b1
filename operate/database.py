"""What of Keyfund's own database an operator should know before people come."""

from collections.abc import Sequence

from core.errors import KeyfundError
from core.store import ServiceStore
from operate.finding import Finding, broken, ok, warning

SMALL_TPM = 20_000
"""Below that a single long prompt is more than a key may use in a minute."""


UNINSTALLED = ("schema_not_exposed", "function_missing")
"""How a database refuses that does not have, or does not show, Keyfund's functions."""


def describe_absence(error: KeyfundError) -> Finding:
    """Why the database tells nothing."""
    if error.code in UNINSTALLED:
        return broken(error.message)
    return warning(f"Versions are not recorded, and the default routes are examined: {error.message}")


async def examine_database(store: ServiceStore, schema: str) -> Sequence[Finding]:
    """Whether our functions are reached, users followed at once, and how much a new key may do."""
    limits = await store.read_limits()
    exposed = ok(f"The schema {schema} is exposed in the Data API, and has Keyfund's functions.")
    return (
        exposed,
        describe_triggers(await store.list_missing_triggers()),
        describe_tpm(limits["key_tpm_limit"]),
    )


def describe_triggers(missing: Sequence[str]) -> Finding:
    if not missing:
        return ok("All triggers on auth.users are there: what happens to users is followed at once.")
    return warning(
        f"Triggers on auth.users are missing: {', '.join(missing)}. The worker follows users a minute late. "
        "Put them back: select keyfund.follow_users();"
    )


def describe_tpm(key_tpm_limit: int) -> Finding:
    told = f"A new key may use {key_tpm_limit:,} tokens a minute"
    if key_tpm_limit > SMALL_TPM:
        return ok(f"{told}.")
    return warning(
        f"{told}: LiteLLM answers a prompt of about as many with 429, however often it is tried and however "
        "full the wallet is. keyfund.settings.key_tpm_limit is what new keys get: raise it, to 200000 say."
    )
