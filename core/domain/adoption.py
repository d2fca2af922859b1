"""Keys from before Keyfund: what becomes of each when an account takes it over, or why it may not."""

from dataclasses import dataclass
from datetime import datetime

from core.domain.drift import ListedKey
from core.domain.keys import ObservedKey, opens_all
from core.domain.money import CENTS_PER_DOLLAR, MICROS_PER_DOLLAR, dollars_from_micros
from core.domain.routes import Fences

LARGEST = 2**31 - 1
MICROS_PER_CENT = MICROS_PER_DOLLAR // CENTS_PER_DOLLAR


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the operator's file. ``key`` is None where only the hash is known."""

    line: int
    key: str | None
    key_hash: str
    account: str
    name: str

    @property
    def shown(self) -> str:
        """How the key is called on the screen: never by its string."""
        return f"sk-...{self.key[-4:]}" if self.key else f"{self.key_hash[:12]}…"


@dataclass(frozen=True, slots=True)
class Adoptee:
    """What the database knows: accounts of that name by id, who has the key, whose LiteLLM says it is.

    ``accounts`` maps ids to their status; ``owner_is_ours``: LiteLLM's owner of the key is an account here;
    ``fences``: what every key is held to.
    """

    accounts: dict[str, str]
    holder: str | None
    owner_is_ours: bool
    fences: Fences


@dataclass(frozen=True, slots=True)
class Adoption:
    """A key that may be taken over, as it will stand in the database; ``effects`` tells what changes."""

    request: Request
    user_id: str
    preview: str | None
    budget_cents: int | None
    budget_duration: str | None
    rpm_limit: int | None
    tpm_limit: int | None
    blocked: bool
    models: tuple[str, ...] | None
    expires_at: datetime | None
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key that stays as it is, and why. ``done``: it is the account's own already."""

    request: Request
    reason: str
    done: bool = False


def judge(request: Request, listed: ListedKey | None, adoptee: Adoptee, now: datetime) -> Adoption | Refusal:
    """Whether this account may take over this key, and what that changes."""
    reason = _refuse_account(adoptee)
    if reason is not None:
        return Refusal(request, reason)
    (user_id,) = adoptee.accounts
    if adoptee.holder == user_id:
        return Refusal(request, "it is a key of this account already", done=True)
    reason = _refuse_holder(adoptee, listed, user_id) or _refuse_key(listed, now)
    if reason is not None or listed is None:
        return Refusal(request, reason or "LiteLLM does not know it")
    shown = listed.shown
    return Adoption(
        request=request,
        user_id=user_id,
        preview=listed.preview,
        budget_cents=shown.budget_cents,
        budget_duration=shown.budget_duration,
        rpm_limit=shown.rpm_limit,
        tpm_limit=shown.tpm_limit,
        blocked=shown.blocked,
        models=None if opens_all(shown.models) else shown.models,
        expires_at=shown.expires_at,
        effects=tuple(_effects(listed, user_id, adoptee.fences)),
    )


def _refuse_account(adoptee: Adoptee) -> str | None:
    if not adoptee.accounts:
        return "no account has this id or e-mail address"
    if len(adoptee.accounts) > 1:
        return "several accounts have this e-mail address: name one by its id"
    (status,) = adoptee.accounts.values()
    return None if status == "active" else f"the account is {status}"


def _refuse_holder(adoptee: Adoptee, listed: ListedKey | None, user_id: str) -> str | None:
    if adoptee.holder is not None:
        return f"it belongs to account {adoptee.holder}"
    owner = listed.shown.user_id if listed is not None else None
    if adoptee.owner_is_ours and owner != user_id:
        return f"in LiteLLM it belongs to account {owner}"
    return None


def _refuse_key(listed: ListedKey | None, now: datetime) -> str | None:
    if listed is None:
        return "LiteLLM does not know it"
    shown = listed.shown
    if listed.installation_id is not None:
        return "it was made by a Keyfund: this one has lost it, or it is another's"
    if shown.team_id is not None:
        return f"it belongs to team {shown.team_id}, and a team's key ignores the wallet"
    if listed.kind not in (None, "default", "llm_api"):
        return f"its key_type is {listed.kind}: it is made for something else than model calls"
    if shown.routes and (shown.can_manage or "info_routes" in shown.routes):
        return f"its allowed_routes are more than model calls: {', '.join(shown.routes)}"
    if shown.expires_at is not None and shown.expires_at <= now:
        return f"it expired on {shown.expires_at:%Y-%m-%d}"
    for name, limit in (("rpm_limit", shown.rpm_limit), ("tpm_limit", shown.tpm_limit)):
        if limit is not None and not 1 <= limit <= LARGEST:
            return f"its {name} of {limit} is not between 1 and {LARGEST}"
    if shown.budget_cents is not None and not 0 <= shown.budget_cents <= LARGEST:
        return f"its cap of {_dollars(listed.budget_micros)} is too large"
    if listed.budget_micros and not shown.budget_cents:
        return f"its cap of {_dollars(listed.budget_micros)} is less than a cent"
    return None


def _effects(listed: ListedKey, user_id: str, fences: Fences) -> list[str]:
    shown = listed.shown
    owner = shown.user_id
    effects = ["owner kept" if owner == user_id else f"owner set (was {owner or 'none'})"]
    if shown.budget_cents is None:
        effects.append("no cap: it becomes the wallet")
    else:
        exact = listed.budget_micros == shown.budget_cents * MICROS_PER_CENT
        cap = f"cap ${shown.budget_cents / CENTS_PER_DOLLAR:.2f}"
        effects.append(
            f"{cap} kept, fixed" if exact else f"{cap}, fixed (was {_dollars(listed.budget_micros)})"
        )
    effects.append(
        f"reset every {shown.budget_duration} kept as the cap's period"
        if shown.budget_duration
        else "no reset, as before"
    )
    effects.append(f"{shown.rpm_limit or 'any'} requests and {shown.tpm_limit or 'any'} tokens a minute kept")
    effects += _fenced(shown, fences)
    if shown.blocked:
        effects.append("stays blocked, as by an administrator")
    if not opens_all(shown.models):
        effects.append(f"may still use {', '.join(shown.models)} alone")
    if shown.expires_at is not None:
        effects.append(f"still expires on {shown.expires_at:%Y-%m-%d}")
    if listed.spend_micros:
        spent = f"{_dollars(listed.spend_micros)} spent before"
        effects.append(f"{spent} stays off the wallet, but counts against the cap")
    return effects


def _fenced(shown: ObservedKey, fences: Fences) -> list[str]:
    effects = []
    if set(shown.routes) != set(fences.paths):
        could = " (it could make keys)" if shown.can_manage else ""
        effects.append(f"its routes become {', '.join(fences.open_routes)}{could}")
    if shown.max_parallel != fences.key_max_parallel:
        effects.append(f"{fences.key_max_parallel} calls at once (was {shown.max_parallel or 'any'})")
    return effects


def _dollars(micros: int | None) -> str:
    return "unlimited" if micros is None else f"${dollars_from_micros(micros):g}"
