"""Drift and adoption with the real database and product, against a LiteLLM in memory to tamper with."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from psycopg.types.json import Jsonb
from supabase import AsyncClient

from core.domain.adoption import Adoption, Refusal, Request
from core.domain.drift import DriftReport, Kind
from core.domain.routes import PROOFLESS, paths_of
from core.flows.adopt import Adopter
from core.flows.drift import DriftFinder
from core.flows.push import Pusher
from core.gateways.litellm import LiteLLM
from core.store import ServiceStore
from tests.conformance.app import create_app
from tests.conformance.standin import StandIn, hash_of
from tests.conformance.subject import settings_for
from tests.model.rest import Rest
from tests.sql.acting import account, by_owner, by_service, key, keys, let_pass, sign_up, value
from tests.support import Connection, Database

OLD = "sk-from-before-0123456789"
OPEN = list(paths_of(PROOFLESS))


@dataclass
class Both:
    """Both sides, and the product between them. LiteLLM's pages are short, so that few keys take several."""

    db: Connection
    store: ServiceStore
    litellm: LiteLLM
    standin: StandIn

    async def push(self) -> None:
        """What the worker does, until nothing is due."""
        pusher = Pusher(self.store, self.litellm, 40, 2, 0, asyncio.Semaphore(4))
        while pushes := await self.store.claim_pushes(8, 40):
            for one in pushes:
                await pusher.run(one, time.monotonic())

    async def find(self, *, mend: bool = False) -> DriftReport:
        return await DriftFinder(self.store, self.litellm).find(mend=mend)

    async def consider(self, user_id: UUID, given: str = OLD) -> Adoption | Refusal:
        known = given if given.startswith("sk-") else None
        request = Request(2, known, hash_of(given) if known else given, str(user_id), "Old")
        return await Adopter(self.store, self.litellm).consider(request)

    async def people(self, count: int, keys_each: int = 2) -> list[UUID]:
        """People whose keys LiteLLM has confirmed."""
        made = [sign_up(self.db) for _ in range(count)]
        for user_id in made:
            for _ in range(keys_each):
                by_owner(self.db, user_id, "create_virtual_key")
        await self.push()
        return made

    def row(self, user_id: UUID, number: int = 0) -> Any:
        """LiteLLM's row of one of the person's keys."""
        return self.standin.rows[str(live(self.db, user_id)[number]["key_hash"])]


def marks(db: Connection, user_id: UUID, key_hash: str) -> dict[str, Any]:
    """Our part of a key's metadata."""
    (found,) = [one for one in live(db, user_id) if one["key_hash"] == key_hash]
    return {
        "keyfund": str(value(db, "select installation_id from keyfund.settings")),
        "keyfund_key_id": str(found["id"]),
        "keyfund_guard": {"in_flight": 20, "routes": {}},
    }


def live(db: Connection, user_id: UUID) -> list[dict[str, Any]]:
    return [one for one in keys(db, user_id) if one["state"] != "placeholder"]


@pytest.fixture
def both(db: Connection, database: Database) -> Iterator[Both]:
    standin = StandIn(longest_page=3)
    settings = settings_for("http://litellm.test", standin.master_key)
    transport = httpx.ASGITransport(create_app(standin))
    with database.connect("authenticator") as service:
        store = ServiceStore(cast(AsyncClient, Rest(service, "service_role")))
        yield Both(db, store, LiteLLM(settings, httpx.AsyncClient(transport=transport)), standin)


def named(report: DriftReport) -> dict[str, Kind]:
    return {one.subject: one.kind for one in report.named}


async def test_each_kind_of_difference_is_named_and_mended_by_the_ordinary_push(both: Both) -> None:
    people = await both.people(9)
    assert ((await both.find()).total, (await both.find()).compared) == (0, 18)
    limits, team, routes, wallet, less, revived, loose, stopped, userless = people
    both.row(limits).rpm_limit = 7
    both.row(team).team_id = "a-team"
    both.row(routes).allowed_routes = []
    both.standin.users[str(wallet)].max_budget = 1000.0
    by_service(both.db, "settle_usage", **spender(both.db, less, 3_000_000))
    both.standin.users[str(less)].spend = 0.5
    dead = live(both.db, revived)[0]
    by_owner(both.db, revived, "revoke_virtual_key", key_id=dead["id"])
    idle = live(both.db, loose)[0]
    by_owner(both.db, loose, "block_virtual_key", key_id=idle["id"])
    await both.push()
    both.db.execute(
        "update public.virtual_keys set deleted_at = now() where id = %s", [dead["id"]]
    )  # deleted there, and back with a restore
    both.standin.rows[dead["key_hash"]].blocked = False
    both.standin.rows[idle["key_hash"]].blocked = False
    both.row(stopped).blocked = True
    both.standin.lose_user(str(userless))
    first = {user_id: live(both.db, user_id)[0]["id"] for user_id in people}
    expected = {
        f"key {first[limits]}": Kind.DIFFERENT,
        f"key {first[team]}": Kind.ESCAPED,
        f"key {first[routes]}": Kind.ESCAPED,
        f"account {wallet}": Kind.DIFFERENT,
        f"account {less}": Kind.BACKWARDS,
        f"key {dead['id']}": Kind.ALIVE,
        f"key {idle['id']}": Kind.ALIVE,
        f"key {first[stopped]}": Kind.DIFFERENT,
        f"account {userless}": Kind.MISSING,
    }
    assert named(await both.find()) == expected
    assert named(await both.find(mend=True)) == expected
    assert both.standin.rows[dead["key_hash"]].blocked  # on sight
    await both.push()
    report = await both.find()
    assert (report.total, report.waiting, report.compared) == (0, 0, 18)
    assert both.row(limits).rpm_limit == 100
    assert both.row(routes).allowed_routes == OPEN
    assert both.standin.users[str(less)].max_budget == pytest.approx(7.5)  # 3 of 10 dollars stay spent
    assert key(both.db, dead["id"])["deleted_at"] is None


def spender(db: Connection, user_id: UUID, micros: int) -> dict[str, object]:
    asked_at = value(db, "select clock_timestamp()")
    return {"p_spenders": Jsonb([{"user_id": str(user_id), "spend_micros": micros}]), "p_asked_at": asked_at}


async def test_a_key_that_vanished_is_named_once_and_then_waits_for_a_person(both: Both) -> None:
    (user_id,) = await both.people(1)
    gone = live(both.db, user_id)[1]
    del both.standin.rows[gone["key_hash"]]
    assert named(await both.find(mend=True)) == {f"key {gone['id']}": Kind.MISSING}
    for _ in range(5):
        await both.push()
        let_pass(both.db, 120)
    assert key(both.db, gone["id"])["last_error"].startswith("litellm_key_vanished")
    assert gone["key_hash"] not in both.standin.rows  # never created again
    report = await both.find()
    assert (report.total, report.waiting, report.compared) == (0, 1, 1)


async def test_extras_are_blocked_and_others_never_touched(both: Both) -> None:
    await both.people(2)
    mark = str(value(both.db, "select installation_id from keyfund.settings"))
    both.standin.generate_key({"key": "sk-nobody-knows-this-1", "metadata": {"keyfund": mark}})
    both.standin.generate_key({"key": "sk-of-another-installation", "metadata": {"keyfund": "i2"}})
    both.standin.generate_key({"key": "sk-of-somebody-without-one", "user_id": "bob"})
    others = [vars(row).copy() for row in both.standin.rows.values() if row.metadata.get("keyfund") != mark]
    report = await both.find(mend=True)
    digest = hash_of("sk-nobody-knows-this-1")
    assert named(report) == {f"key hash {digest}": Kind.EXTRA}
    assert (report.others, both.standin.rows[digest].blocked) == (2, True)
    report = await both.find(mend=True)
    assert (report.total, report.stopped, report.compared) == (0, 1, 4)
    now = [vars(row).copy() for row in both.standin.rows.values() if row.metadata.get("keyfund") != mark]
    assert now == others


async def test_a_change_between_the_reads_leaves_the_account_alone(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    both.row(user_id).rpm_limit = 7
    find_key = both.litellm.find_key

    async def meanwhile(key_hash: str) -> Any:
        shown = await find_key(key_hash)
        by_owner(both.db, user_id, "update_virtual_key", key_id=live(both.db, user_id)[0]["id"], rpm_limit=7)
        return shown

    both.litellm.find_key = meanwhile  # type: ignore[method-assign]
    report = await both.find(mend=True)
    assert (report.total, report.waiting) == (0, 1)
    revision = account(both.db, user_id)["revision"]
    await both.push()
    assert account(both.db, user_id)["confirmed_revision"] == revision
    assert both.row(user_id).rpm_limit == 7


@pytest.mark.parametrize("by_string", [True, False])
async def test_an_old_key_becomes_an_account_s_and_works_on(both: Both, by_string: bool) -> None:
    user_id, other = await both.people(2, keys_each=1)
    fields = {"max_budget": 5.0, "budget_duration": "1d", "rpm_limit": 60, "metadata": {"team": "blue"}}
    old = both.standin.generate_key({"key": OLD} | fields)
    old.spend = 1.23
    given = OLD if by_string else hash_of(OLD)
    made = await both.consider(user_id, given)
    assert isinstance(made, Adoption)
    assert await Adopter(both.store, both.litellm).adopt(made) is None
    assert old.user_id is None  # nothing is written there but by the push
    await both.push()
    now = both.standin.rows[hash_of(OLD)]
    assert (now.user_id, now.max_budget, now.budget_duration) == (str(user_id), 5.0, "1d")
    assert (old.rpm_limit, old.tpm_limit, old.spend, old.blocked) == (60, None, 1.23, False)
    assert (old.allowed_routes, old.max_parallel_requests) == (OPEN, 10)
    assert old.metadata == {"team": "blue", **marks(both.db, user_id, hash_of(OLD))}
    assert both.standin.spend(OLD, 0.01)  # on the account's bill
    report = await both.find()
    assert (report.total, report.compared, report.others) == (0, 3, 0)
    again = await both.consider(user_id, given)
    assert isinstance(again, Refusal)
    assert again.done
    taken = await both.consider(other, given)
    assert isinstance(taken, Refusal)
    assert taken.reason == f"it belongs to account {user_id}"
    (row,) = [one for one in live(both.db, user_id) if one["key_hash"] == hash_of(OLD)]
    by_owner(both.db, user_id, "revoke_virtual_key", key_id=row["id"])
    await both.push()
    assert old.blocked


async def test_what_another_account_a_team_or_management_has_is_never_adopted(both: Both) -> None:
    user_id, other = await both.people(2, keys_each=1)
    for fields, reason in (
        ({"user_id": str(other)}, f"in LiteLLM it belongs to account {other}"),
        ({"team_id": "t1"}, "it belongs to team t1"),
        ({"key_type": "management"}, "its key_type is management"),
    ):
        both.standin.rows.pop(hash_of(OLD), None)
        both.standin.generate_key({"key": OLD, **fields})
        refused = await both.consider(user_id)
        assert isinstance(refused, Refusal)
        assert reason in refused.reason


async def test_a_changed_cap_leaves_a_reset_that_is_due(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    due = both.row(user_id).budget_reset_at = datetime.now(UTC) - timedelta(minutes=5)
    by_owner(both.db, user_id, "update_virtual_key", key_id=key_of(both, user_id), max_budget=77)
    await both.push()
    assert (both.row(user_id).max_budget, both.row(user_id).budget_reset_at) == (0.77, due)


async def test_another_period_behind_our_back_is_put_right(both: Both) -> None:
    (user_id,) = await both.people(1, keys_each=1)
    both.row(user_id).budget_duration = "1d"
    by_owner(both.db, user_id, "resync_virtual_key", key_id=key_of(both, user_id))
    await both.push()
    assert both.row(user_id).budget_duration == "30d"


def key_of(both: Both, user_id: UUID) -> UUID:
    found: UUID = value(
        both.db, "select id from public.virtual_keys where user_id = %s and state = 'active'", user_id
    )
    return found
