"""What of Keyfund's own database an operator should know before people come."""

from collections.abc import Iterable, Sequence

from core.domain.payments import Offer, Provider
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
    """Whether our functions are reached, users followed at once, how much a new key may do, and what sales
    leave."""
    limits = await store.read_limits()
    exposed = ok(f"The schema {schema} is exposed in the Data API, and has Keyfund's functions.")
    return (
        exposed,
        describe_triggers(await store.list_missing_triggers()),
        describe_tpm(limits["key_tpm_limit"]),
        *describe_offers(await store.read_offers(Provider.PAYSTACK)),
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


def describe_offers(offers: Sequence[Offer]) -> Sequence[Finding]:
    """What is on sale at a loss, and of what nobody can tell."""
    on_sale = [one for one in offers if one.active]
    lossy = [one for one in on_sale if _is_lossy(one)]
    unrated = {one.currency for one in on_sale if one.cost_subunits is None}
    feeless = {one.currency for one in on_sale if one.fee_subunits is None} - unrated
    findings = []
    if lossy:
        findings.append(
            warning(
                f"On sale for less than cost and fee: {_names(one.id for one in lossy)}. select "
                "public.list_packages() tells by how much."
            )
        )
    if unrated:
        findings.append(
            warning(
                f"Nobody said what a dollar is worth in {_names(unrated)}, so nobody can tell what is earned "
                "there. Say it with set_rate or public.record_rate."
            )
        )
    if feeless:
        findings.append(
            warning(
                f"Paystack's fee is not known for {_names(feeless)}: what is earned there is less than it "
                "seems. Say it with set_rate or public.record_rate."
            )
        )
    return findings or [ok(f"Packages on sale: {len(on_sale)}. Each covers its cost and Paystack's fee.")]


def _is_lossy(offer: Offer) -> bool:
    """A fee that is not known counts as none: what is a loss without it is one with it."""
    cost = offer.cost_subunits
    return cost is not None and offer.amount_subunits < cost + (offer.fee_subunits or 0)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
