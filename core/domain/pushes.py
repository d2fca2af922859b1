"""A leased account on its way to LiteLLM, and how it went."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.domain.keys import ObservedUser, WantedKey
from core.domain.usage import KeySpend


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key that LiteLLM has and that works, to ask with; ``models`` empty: it may use all."""

    key: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """What the database wants pushed, and the token that proves that it is ours to push."""

    user_id: str
    token: str
    revision: int
    budget_micros: int
    seen_micros: int
    confirmed: bool
    keys: tuple[WantedKey, ...]
    live_keys: tuple[LiveKey, ...]
    waits_for_effect: bool
    rpm_limit: int | None = None
    tpm_limit: int | None = None


class Outcome(StrEnum):
    SYNCED = "synced"
    WAITS = "waits"
    REFUSED = "refused"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KeyResult:
    """How the push of one key went; ``revision`` is the one that was pushed.

    It is about the string that was pushed, by its hash: the key may have been rotated meanwhile.
    """

    id: str
    key_hash: str
    revision: int
    outcome: Outcome
    error: str | None = None
    retry_after_seconds: int | None = None


class Verdict(StrEnum):
    """What the database makes of a user's spend."""

    AS_EXPECTED = "as_expected"
    READ_AGAIN = "read_again"
    NEW_EPOCH = "new_epoch"
    LEASE_LOST = "lease_lost"


class Effect(StrEnum):
    """Whether a key of the account can spend the wallet now."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Spender:
    """Somebody with keys in LiteLLM; ``user`` None: the keys are there, but no user row."""

    user_id: str
    user: ObservedUser | None

    @property
    def spend_micros(self) -> int | None:
        return None if self.user is None else self.user.spend_micros


@dataclass(frozen=True, slots=True)
class SpendPage:
    """Users behind one page of keys, and when its first and last key changed, in LiteLLM's time."""

    spenders: tuple[Spender, ...]
    oldest: datetime | None
    newest: datetime | None
    is_last: bool
    keys: tuple[KeySpend, ...] = ()


def lost_keys(before: SpendPage, now: SpendPage) -> list[str]:
    """Hashes of keys that LiteLLM listed among those that changed last, and lists no more.

    Use only moves a key to the front of that list: one that is missing although older ones are there is gone.
    """
    shown = {key.key_hash for key in now.keys}
    return [
        key.key_hash
        for key in before.keys
        if key.key_hash not in shown
        and (now.is_last or (key.changed_at and now.oldest and key.changed_at > now.oldest))
    ]


class Probe(StrEnum):
    """What LiteLLM says to a key when asked for free."""

    USABLE = "usable"
    WALLET_EXCEEDED = "wallet_exceeded"
    CAP_EXCEEDED = "cap_exceeded"
    KEY_REFUSED = "key_refused"
