"""What holds after every step, whatever went wrong."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from core.domain.books import Check, Report
from core.domain.keys import KeyState, ObservedKey
from core.domain.routes import PATHS, paths_of
from tests.model.money import granted
from tests.model.world import FENCED, KEYS, Person, World

UNEXPLAINED = """
    select p.id, p.credits, e.total, e.last from public.profiles p
    left join (
      select user_id, sum(delta) as total, (array_agg(balance_after order by id desc))[1] as last
      from public.credit_ledger group by user_id) e on e.user_id = p.id
    where (p.credits, p.credits) is distinct from (coalesce(e.total, 0), coalesce(e.last, 0))"""

REPEATED = "select cause from public.credit_ledger group by cause having count(*) > 1"

PURCHASES = """
    select l.user_id, l.delta, l.cause, t.reference, t.credits, t.amount, t.status, t.user_id as buyer
    from public.credit_ledger l left join public.transactions t on l.cause = 'purchase:' || t.reference
    where l.kind = 'purchase'"""

MISBOOKED = """
    select w.account_id, w.booked_micros, coalesce(l.used, 0) as used from keyfund.wallets w
    left join (
      select account_id, -sum(delta) as used from public.credit_ledger where kind = 'usage'
      group by account_id
    ) l on l.account_id = w.account_id
    where w.booked_micros / 20000 <> coalesce(l.used, 0)"""

GRANTS = "select user_id, delta from public.credit_ledger where kind = 'signup_grant'"

WANTED = f"""
    select k.user_id, k.key_hash, k.state, keyfund.cap_cents(k) as cap_cents, k.budget_duration,
      k.rpm_limit, k.tpm_limit, k.models, k.expires_at, k.sync_status, {FENCED},
      keyfund.budget_micros(w) as wallet_micros, c.revision = c.confirmed_revision as confirmed
    from {KEYS} join keyfund.pushes c on c.account_id = k.account_id
    join keyfund.wallets w on w.account_id = k.account_id
    where k.state <> 'placeholder'"""

PATHS_OF_ALL = set(paths_of(PATHS))


def check(world: World) -> None:
    credits_are_explained(world)
    each_payment_counts_once(world)
    each_identity_is_granted_once(world)
    nobody_acts_who_may_not(world)
    nothing_personal_is_left_of_who_is_gone(world)
    status_follows_its_reasons(world)
    nobody_spends_beyond_their_wallet(world)
    no_key_spends_beyond_its_cap(world)
    nobody_is_charged_for_more_than_they_spent(world)
    each_key_belongs_to_its_owner(world)
    no_key_is_ever_open(world)
    what_is_synced_is_so(world)


def credits_are_explained(world: World) -> None:
    assert world.rows(UNEXPLAINED) == []
    assert world.rows(REPEATED) == []
    assert world.rows(MISBOOKED) == []


def each_payment_counts_once(world: World) -> None:
    purchases = world.rows(PURCHASES)
    references = [one["reference"] for one in purchases]
    assert len(set(references)) == len(references), purchases
    for one in purchases:
        assert one["reference"] in world.right | world.accepted, one
        assert (one["delta"], one["user_id"]) == (granted(world, one), one["buyer"]), one
        assert one["status"] in ("success", "reversed"), one


def each_identity_is_granted_once(world: World) -> None:
    granted = [str(one["user_id"]) for one in world.rows(GRANTS)]
    identities = [person.identity for person in world.people if person.id in granted]
    assert len(set(identities)) == len(identities) == len(granted)


def nobody_acts_who_may_not(world: World) -> None:
    """Who is gone makes nothing more and has no key that we want alive; nor does who is banned order."""
    assert world.trespasses == []
    for person in world.people:
        states = {row["state"] for row in world.key_rows(person)}
        buried = world.rows("select from public.profiles where id = %s and status = 'deleted'", person.id)
        assert not buried or states <= {"revoked"}, (person, states)


def nothing_personal_is_left_of_who_is_gone(world: World) -> None:
    assert world.rows("select id from public.profiles where status = 'deleted' and email is not null") == []


def status_follows_its_reasons(world: World) -> None:
    """Suspended exactly while there is a reason; deleted for good."""
    for row in world.rows("select id, status, suspended_at, banned_until from public.profiles"):
        reasons = row["suspended_at"] is not None or row["banned_until"] is not None
        assert row["status"] in ("deleted", "suspended" if reasons else "active"), row


def nobody_spends_beyond_their_wallet(world: World) -> None:
    assert world.overdrafts == []


def no_key_spends_beyond_its_cap(world: World) -> None:
    """Over all of its strings, in a period longer than any of these stories."""
    for key_id, spent in world.spent_by_key.items():
        assert spent <= world.caps[key_id], (key_id, spent, world.caps[key_id])


def nobody_is_charged_for_more_than_they_spent(world: World) -> None:
    for row in world.rows("select account_id as user_id, booked_micros from keyfund.wallets"):
        person = world.person(str(row["user_id"]))
        assert person is not None
        assert row["booked_micros"] <= person.bill.spent, (row, person.bill)


def each_key_belongs_to_its_owner(world: World) -> None:
    owners = {row["key_hash"]: str(row["user_id"]) for row in world.rows(WANTED)}
    for person in world.people:
        for token in world.sight.keys_of(person.id):
            assert owners.get(token) == person.id, (token, person)


def no_key_is_ever_open(world: World) -> None:
    """Not even when it was just made: it has a list, a bound and a mark for the guard.

    Where somebody took them away while it was blocked, it has them again before it opens.
    """
    for person in world.people:
        for token in world.sight.keys_of(person.id) - world.tampered:
            seen = world.sight.key(token)
            assert seen is not None
            assert seen.blocked or is_fenced(world, seen), seen


def is_fenced(world: World, seen: ObservedKey) -> bool:
    return (
        bool(seen.routes)
        and PATHS_OF_ALL.issuperset(seen.routes)
        and seen.max_parallel in world.bounds
        and seen.metadata["keyfund_guard"]["in_flight"] in world.bounds
    )


def what_is_synced_is_so(world: World) -> None:
    """A key that is shown as synced is in LiteLLM as wanted, and so is the wallet of a confirmed account."""
    for row in world.rows(WANTED):
        person = world.person(str(row["user_id"]))
        assert person is not None
        tampered = person.bill.tampered or row["key_hash"] in world.tampered
        if row["sync_status"] == "synced" and not tampered:
            assert holds(world, row), (row, world.sight.key(row["key_hash"]))
            seen = world.sight.user(person.id)
            assert not row["confirmed"] or has_wallet(world, person, row["wallet_micros"]), (row, seen)


def has_wallet(world: World, person: Person, wallet_micros: int) -> bool:
    """The wallet as it is wanted; none at all is fine where there is no key either."""
    user = world.sight.user(person.id)
    if user is None:
        return not world.sight.keys_of(person.id)
    return user.budget_micros == wallet_micros


def holds(world: World, row: dict[str, Any]) -> bool:
    observed = world.sight.key(row["key_hash"])
    if row["state"] != KeyState.ACTIVE or row["suspended"]:
        return observed is None or observed.blocked
    if observed is None or not end_alike(row["expires_at"], observed.expires_at):
        return False
    alike = replace(without_others(observed), expires_at=row["expires_at"])
    return alike == as_wanted(row, row["user_id"])


def end_alike(wanted: datetime | None, shown: datetime | None) -> bool:
    """A request that came late makes a key live longer by as much; nobody needs two ends that are over."""
    if wanted is None or shown is None:
        return wanted is shown
    return abs((wanted - shown).total_seconds()) <= 60 or max(wanted, shown) < datetime.now(UTC)


def without_others(observed: ObservedKey) -> ObservedKey:
    """What somebody else keeps in a key's metadata is theirs."""
    ours = {name: told for name, told in observed.metadata.items() if name.startswith("keyfund")}
    return replace(observed, metadata=ours)


def as_wanted(row: dict[str, Any], owner: UUID) -> ObservedKey:
    guard = {"in_flight": row["account_max_parallel"], "routes": {}}
    marks = {
        "keyfund": str(row["installation_id"]),
        "keyfund_key_id": str(row["of_key"]),
        "keyfund_guard": guard,
    }
    return ObservedKey(
        user_id=str(owner),
        team_id=None,
        blocked=False,
        budget_cents=row["cap_cents"],
        budget_duration=row["budget_duration"],
        rpm_limit=row["rpm_limit"],
        tpm_limit=row["tpm_limit"],
        routes=paths_of(row["open_routes"]),
        max_parallel=row["key_max_parallel"],
        metadata=marks,
        models=tuple(row["models"] or ()),
        expires_at=row["expires_at"],
    )


def books_agree_within(report: Report) -> None:
    """What nothing outside can be late with."""
    within = [one for one in report.differences if one.check in (Check.LEDGER, Check.CREDITS)]
    assert within == [], within


def books_agree(report: Report | None) -> None:
    """Nothing is on its way any more: all of it agrees, to the last unit."""
    assert report is not None
    assert report.is_complete, report.tallies
    assert report.differences == [], report.differences
