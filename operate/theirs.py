"""Who and what is in the tables of before, and what becomes of each when it is taken over."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from core.domain.adoption import Adoptee, Adoption, Refusal, Request, judge
from core.domain.drift import ListedKey
from core.domain.keys import ObservedUser
from core.domain.routes import PROOFLESS, Fences
from operate.adopt import make_request
from operate.installation import Connection

FENCES = Fences(PROOFLESS, {}, key_max_parallel=10, account_max_parallel=20)
"""What a new installation holds keys to."""

REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,99}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CURRENCY = re.compile(r"[A-Z]{3}")
NO_CURRENCY = "XXX"
LARGEST = 2**53
STATUSES: Mapping[str, str] = {
    **dict.fromkeys(("success", "successful", "succeeded", "completed", "complete", "paid"), "success"),
    **dict.fromkeys(("failed", "failure", "declined", "error"), "failed"),
    **dict.fromkeys(("abandoned", "cancelled", "canceled", "expired"), "abandoned"),
    **dict.fromkeys(("reversed", "refunded"), "reversed"),
}
"""Every other word means that nobody knows how it ended, so it is asked about."""

PROFILES = """
    select to_jsonb(p), case when u.id is null then 'gone' when u.deleted_at is not null then 'deleted'
      when u.banned_until > now() then 'suspended' else 'active' end
    from {}.profiles p left join auth.users u on u.id = p.id order by p.id
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account of before. ``status`` is what their account will be, or why there is none."""

    id: str
    credits: int | None
    created_at: datetime | None
    status: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment of before as it will stand in the history. ``id`` is None where it cannot be kept."""

    id: str | None
    user_id: str
    reference: str
    amount: int
    currency: str
    status: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Theirs:
    """The rows of before: as they are in their tables, but for the people."""

    people: tuple[Person, ...]
    keys: tuple[Mapping[str, Any], ...] = field(repr=False)
    payments: tuple[Mapping[str, Any], ...]

    @property
    def requests(self) -> Iterator[Request]:
        """Their keys that LiteLLM should know."""
        held = [row for row in self.keys if (row.get("litellm_key_id") or "").strip()]
        for number, row in enumerate(held, start=1):
            name = (row.get("name") or "").strip()[:100]
            yield make_request(number, row["litellm_key_id"].strip(), str(row.get("user_id") or ""), name)


@dataclass(frozen=True, slots=True)
class Seen:
    """What LiteLLM showed before: keys by hash and users by id; None: it has no such one."""

    keys: Mapping[str, ListedKey | None]
    users: Mapping[str, ObservedUser | None]

    def spent(self, user_id: str) -> int:
        """What LiteLLM shows of the user as spent, in micro-dollars."""
        user = self.users.get(user_id)
        return user.spend_micros if user is not None else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of everything. ``refused`` are sentences; what they name stays as it is."""

    people: tuple[Person, ...]
    adoptions: tuple[Adoption, ...]
    payments: tuple[Payment, ...]
    placeholders: int
    refused: tuple[str, ...]

    def spent(self, seen: Seen) -> dict[str, int]:
        """What each is known to have spent, by id, in micro-dollars.

        LiteLLM books what a key spends at its user, too, if it has one. A key's own spend begins anew with
        its cap, so this is the least.
        """
        by_keys: dict[str, int] = {}
        for one in self.adoptions:
            listed = seen.keys[one.request.key_hash]
            by_keys[one.user_id] = by_keys.get(one.user_id, 0) + (listed.spend_micros if listed else 0)
        return {one.id: max(seen.spent(one.id), by_keys.get(one.id, 0)) for one in self.people}


def read_theirs(connection: Connection, schema: str, tables: Sequence[str]) -> Theirs:
    query = sql.SQL(PROFILES).format(sql.Identifier(schema))
    people = tuple(_person(row, status) for row, status in connection.execute(query))
    rows = {table: tuple(_rows(connection, schema, table)) for table in tables if table != "profiles"}
    return Theirs(people, rows["virtual_keys"], rows.get("transactions", ()))


def _rows(connection: Connection, schema: str, table: str) -> Iterator[Mapping[str, Any]]:
    query = sql.SQL("select to_jsonb(t) from {} t order by to_jsonb(t) ->> 'created_at', t::text")
    return (row for (row,) in connection.execute(query.format(sql.Identifier(schema, table))))


def _person(row: Mapping[str, Any], status: str) -> Person:
    given = row["credits"] or 0
    whole = given == int(given) and abs(given) < LARGEST
    return Person(row["id"], int(given) if whole else None, _time(row.get("created_at")), status)


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    time = datetime.fromisoformat(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# --- what becomes of it -------------------------------------------------------------------------------------


def decide(theirs: Theirs, seen: Seen, credit_cents: int, now: datetime) -> Plan:
    """What is taken over, and what is refused and why."""
    people = {one.id: one for one in theirs.people if _refuse_person(one) is None}
    requests = tuple(theirs.requests)
    alike: dict[str, list[Request]] = {}
    for one in requests:
        alike.setdefault(one.key_hash, []).append(one)
    keys = [
        (one, _refuse_alike(one, alike[one.key_hash]) or _decide_key(one, people, seen, credit_cents, now))
        for one in requests
    ]
    payments, lost = _decide_payments(theirs.payments, people)
    refused = [f"person {one.id}: {reason}" for one in theirs.people if (reason := _refuse_person(one))]
    refused += [
        f"key {request.shown} of {request.account or 'nobody'}: {outcome.reason}"
        for request, outcome in keys
        if isinstance(outcome, Refusal)
    ]
    return Plan(
        tuple(people.values()),
        tuple(outcome for _, outcome in keys if isinstance(outcome, Adoption)),
        payments,
        len(theirs.keys) - len(requests),
        (*refused, *lost),
    )


def _refuse_person(person: Person) -> str | None:
    if person.status in ("gone", "deleted"):
        return f"{person.credits} credits, but the user is {person.status}"
    return "the credits are no whole number" if person.credits is None else None


def _refuse_alike(request: Request, alike: Sequence[Request]) -> Refusal | None:
    """A string that is there more than once: of several people nobody knows whose it is."""
    if any(other.account != request.account for other in alike):
        return Refusal(request, "several people have it")
    return None if alike[0] is request else Refusal(request, "it is there twice; it is taken over once")


def _decide_key(
    request: Request, people: Mapping[str, Person], seen: Seen, credit_cents: int, now: datetime
) -> Adoption | Refusal:
    listed = seen.keys.get(request.key_hash)
    person = people.get(request.account)
    adoptee = Adoptee(
        accounts={person.id: person.status} if person else {},
        holder=None,
        owner_is_ours=listed is not None and listed.shown.user_id in people,
        fences=FENCES,
    )
    outcome = judge(request, listed, adoptee, now)
    if isinstance(outcome, Adoption) and person and outcome.budget_cents == worth(person, credit_cents):
        return replace(outcome, budget_cents=None)
    return outcome


def worth(person: Person, credit_cents: int) -> int:
    """The cap of a key that follows its person's credits, as the document has it; in US cents."""
    return max(0, person.credits or 0) * credit_cents


def _decide_payments(
    rows: Sequence[Mapping[str, Any]], people: Mapping[str, Person]
) -> tuple[tuple[Payment, ...], list[str]]:
    payments, lost = [], []
    taken: set[str] = set()
    # Where a reference is there twice, the row that says paid has it: it must not be credited once more.
    for row in sorted(rows, key=lambda row: _status(row) != "success"):
        if (reason := _refuse_payment(row, people)) is not None:
            lost.append(f"transaction {row.get('reference') or row.get('id')}: {reason}")
            continue
        payment = _payment(row, taken)
        taken.add(payment.reference)
        payments.append(payment)
    return tuple(payments), lost


def _refuse_payment(row: Mapping[str, Any], people: Mapping[str, Person]) -> str | None:
    if str(row.get("user_id")) not in people:
        return "nobody who is taken over has it"
    amount = row.get("amount")
    if not isinstance(amount, int | float) or amount != int(amount) or not 1 <= amount <= LARGEST:
        return f"its amount of {amount} is no whole number from 1"
    return None


def _payment(row: Mapping[str, Any], taken: set[str]) -> Payment:
    reference, currency = str(row.get("reference") or ""), str(row.get("currency") or "").strip().upper()
    if not REFERENCE.fullmatch(reference) or reference in taken:
        reference = f"before-{row['id']}"
    return Payment(
        row["id"] if UUID.fullmatch(str(row["id"])) else None,
        row["user_id"],
        reference,
        int(row["amount"]),
        currency if CURRENCY.fullmatch(currency) else NO_CURRENCY,
        _status(row),
        _time(row.get("created_at")) or datetime.now(UTC),
    )


def _status(row: Mapping[str, Any]) -> str:
    return STATUSES.get(str(row.get("status") or "").strip().lower(), "pending")
