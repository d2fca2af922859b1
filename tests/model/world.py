"""Everything at once: the real database and product, LiteLLM, Paystack, people, time, and what goes wrong."""

import asyncio
import math
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from unittest import mock
from uuid import uuid4

import httpx
from psycopg.rows import dict_row
from supabase import AsyncClient

import core.flows.push
import worker.jobs.sync
from core.domain.books import Report
from core.domain.payments import Provider
from core.errors import RefusedError, TransientError
from core.flows.checkout import open_checkout
from core.flows.push import Pusher
from core.flows.reconcile import Reconciler
from core.flows.settle import Settler
from core.gateways.litellm import LiteLLM
from core.payments.paystack import Paystack, is_signed, parse_event
from core.store import ServiceStore
from core.store.calls import execute
from core.store.payments import Delivery, Wish
from dev.paystack import Sandbox
from dev.paystack import Settings as PaystackSettings
from dev.paystack import create_app as create_paystack
from dev.paystack.dispute import Dispute
from dev.paystack.outbox import Sending, Signed
from dev.paystack.transaction import Transaction
from dev.postgres import SUPERUSER
from dev.stack import UNHURRIED
from tests.conformance.standin import COSTS, StandIn
from tests.model.bill import Bill
from tests.model.clock import Clock
from tests.model.engine import Engine
from tests.model.process import SMOOTH, Letter, Plan
from tests.model.rest import Rest
from tests.model.sight import Charge, Sight
from tests.model.wire import Wire
from tests.support import Database, as_role
from worker.jobs.payments import HandleEvents, SweepPaystack, VerifyOrders
from worker.jobs.runner import Job
from worker.jobs.sync import CountShares, DeleteKeys, ProbeLiteLLM, PushAccounts, SettleUsage
from worker.jobs.upkeep import HealAccounts, RetireKeys

Row = dict[str, Any]

CREDIT_MICROS = 20_000

SIGNUP_CREDITS = 150
"""Few, so that a wallet is soon used up: three dollars."""

KEYS = "public.virtual_keys k join public.profiles p on p.id = k.user_id cross join keyfund.settings s"
FENCED = """coalesce(k.successor_id, k.id) as of_key, p.status <> 'active' as suspended, s.installation_id,
    s.open_routes, s.key_max_parallel, s.account_max_parallel"""
"""What LiteLLM must hold of a key besides its limits, worked out apart from the product."""

KEPT = Sending(deliver=False)

ADMINISTRATOR = str(uuid4())
MAKES = ("create_virtual_key", "rotate_virtual_key")


@dataclass(frozen=True)
class Change:
    """One of our SQL functions made wrong: some of its text is replaced."""

    function: str
    text: str
    wrong: str


@dataclass
class Person:
    """``identity``: people with the same one have the same mailbox.

    ``gone``: deleted, softly or not. ``held``: an administrator suspends them. ``banned_until``: by the
    world's clock.
    """

    id: str
    identity: int
    bill: Bill = field(default_factory=Bill)
    gone: bool = False
    held: bool = False
    banned_until: float = 0


class World:
    """One database, one LiteLLM, one Paystack. Whatever calls out may be given a plan to go wrong."""

    def __init__(self, database: Database, sight: Sight) -> None:
        self.sight, self.engine = sight, Engine()
        self.database = database.connect(SUPERUSER)
        self.clock = Clock(self.database)
        self.patches = [
            mock.patch.object(module, "time", self.clock.as_module())
            for module in (core.flows.push, worker.jobs.sync)
        ]
        for patch in self.patches:
            patch.start()
        self.ticks = 0
        self.claims: dict[str, int] = {}
        self.people: list[Person] = []
        self.strings: dict[str, str] = {}
        self.mail: list[Signed] = []
        self.overdrafts: list[str] = []
        self.trespasses: list[str] = []
        self.tampered: set[str] = set()
        self.bounds = {10, 20}
        self.caps: dict[str, float] = {}
        self.spent_by_key: dict[str, int] = {}
        self.right: set[str] = set()
        self.wrong: set[str] = set()
        self.accepted: set[str] = set()
        self.in_part: set[str] = set()
        self.refused: set[str] = set()
        self.adjustments: dict[str, tuple[str, int]] = {}
        self._connect(database)
        self._assemble()
        self.database.execute("update keyfund.settings set signup_credits = %s", [SIGNUP_CREDITS])
        self.database.execute(UNHURRIED)
        self.database.execute("insert into keyfund.administrators (user_id) values (%s)", [ADMINISTRATOR])

    def _connect(self, database: Database) -> None:
        self.service = database.connect("authenticator")
        self.browser = database.connect("authenticator")
        self.rest = Rest(self.browser, "authenticated")
        self.store = ServiceStore(cast(AsyncClient, Rest(self.service, "service_role", self._heard)))

    def _assemble(self) -> None:
        """As ``core.assembly`` does."""
        settings = self.sight.settings
        secret = settings.paystack_secrets[0]
        self.sandbox = Sandbox(PaystackSettings(secret_key=secret, webhook_url="http://webhook.test"))
        self.paystack_wire = Wire(httpx.ASGITransport(create_paystack(self.sandbox)))
        self.litellm_wire = Wire(self.sight.transport)
        self.litellm = LiteLLM(settings, httpx.AsyncClient(transport=self.litellm_wire))
        self.paystack = Paystack(settings, httpx.AsyncClient(transport=self.paystack_wire))
        self.pusher = Pusher(
            store=self.store,
            litellm=self.litellm,
            lease_seconds=settings.lease_seconds,
            call_seconds=settings.litellm_timeout_seconds,
            cache_seconds=settings.litellm_cache_seconds,
            keys_at_once=asyncio.Semaphore(settings.push_concurrency),
        )
        self.settler = Settler(self.store, self.paystack, settings.paystack_mode, self.pusher)
        self.reconciler = Reconciler(self.store, self.litellm, self.paystack)
        at_once, lease_seconds = settings.push_concurrency, settings.lease_seconds
        self.jobs: dict[str, Job] = {
            "probe": ProbeLiteLLM(self.store, self.litellm),
            "push": PushAccounts(self.store, self.pusher, at_once),
            "handle": HandleEvents(self.store, self.settler, at_once, lease_seconds),
            "verify": VerifyOrders(self.store, self.settler, at_once),
            "sweep": SweepPaystack(self.store, self.settler, self.paystack, every_seconds=900),
            "count": CountShares(self.store, self.litellm, at_once=100),
            "delete": DeleteKeys(self.store, self.litellm, at_once=100),
            "settle": SettleUsage(self.store, self.litellm, every_seconds=20),
            "heal": HealAccounts(self.store, at_once=500),
            "retire": RetireKeys(self.store, at_once=500),
        }

    def close(self) -> None:
        self.engine.run(self.sandbox.aclose())
        self.engine.close()
        for patch in self.patches:
            patch.stop()
        for connection in (self.database, self.service, self.browser):
            connection.close()

    def make_wrong(self, change: Change) -> None:
        query = "select pg_get_functiondef(oid) as text from pg_proc where proname = %s"
        text = self.rows(query, change.function)[0]["text"]
        assert change.text in text, f"{change.function} reads otherwise now"
        self.database.execute(text.replace(change.text, change.wrong))

    # -------------------------------------------------------------- looking

    def rows(self, query: str, *values: object) -> list[Row]:
        return self.database.cursor(row_factory=dict_row).execute(query.encode(), values).fetchall()

    def key_rows(self, person: Person) -> list[Row]:
        """The person's keys, the oldest first; not the placeholder."""
        query = f"""select k.*, keyfund.cap_cents(k) as cap_cents, {FENCED} from {KEYS}
            where user_id = %s and state <> 'placeholder'
            order by k.created_at, successor_id is not null, retires_at, k.id"""
        return self.rows(query, person.id)

    def person(self, user_id: str) -> Person | None:
        return next((one for one in self.people if one.id == user_id), None)

    @property
    def standin(self) -> StandIn:
        standin = self.sight.standin
        assert standin is not None, "the real LiteLLM is not tampered with"
        return standin

    def _heard(self, function: str, params: Mapping[str, Any], data: Any) -> None:
        """Note when a push began, and when one that began after LiteLLM lost something has gone well."""
        self.ticks += 1
        if function in ("claim_push", "claim_pushes"):
            for push in data if isinstance(data, list) else [data] if data else []:
                self.claims[push["token"]] = self.ticks
        if function == "credit_payment" and data.get("push"):
            self.claims[data["push"]["token"]] = self.ticks
        person = self.person(str(params.get("p_account_id")))
        if function == "finish_push" and data and person is not None:
            person.bill.notice(self.claims[params["p_token"]])
        if function == "record_reversals" and data["withheld"] > 0:
            buyer = self.person(data["user_id"])
            assert buyer is not None
            buyer.bill.drop(data["withheld"] * CREDIT_MICROS, self.ticks)

    # --------------------------------------------------------------- people

    def sign_up(self, identity: int) -> Person:
        """As GoTrue does; the address is new, and may normalise to somebody else's."""
        number = len(self.people)
        person = Person(str(uuid4()), identity)
        email = f"Per.son{identity}+{number}@gmail.com"
        with as_role(self.database, "supabase_auth_admin"):
            self.database.execute(
                "insert into auth.users (id, aud, role, email, email_confirmed_at)"
                " values (%s, 'authenticated', 'authenticated', %s, now())",
                [person.id, email],
            )
        self.people.append(person)
        return person

    def delete_user(self, person: Person) -> None:
        person.gone = True
        with as_role(self.database, "supabase_auth_admin"):
            self.database.execute("delete from auth.users where id = %s", [person.id])

    def soft_delete_user(self, person: Person, *, noticed: bool) -> None:
        """As GoTrue does; unnoticed, where our triggers are lost."""
        person.gone = True
        self._write_user("email = id || 'gone', deleted_at = now()", person, noticed)

    def take_deletion_back(self, person: Person) -> None:
        """By hand, as no API of Supabase's does."""
        self._write_user("deleted_at = null, email = id || '@example.com'", person, True)
        buried = "select from public.profiles where id = %s and status = 'deleted'"
        person.gone = bool(self.rows(buried, person.id))  # or else nobody had noticed it

    def ban(self, person: Person, seconds: int, *, noticed: bool) -> None:
        """For no seconds: the ban is lifted."""
        person.banned_until = self.clock.now() + seconds
        until = f"now() + interval '{seconds} seconds'" if seconds else "null"
        self._write_user(f"banned_until = {until}", person, noticed)

    def _write_user(self, change: str, person: Person, noticed: bool) -> None:
        with as_role(self.database, "supabase_auth_admin"):
            if not noticed:
                self.database.execute("reset role")
                self.database.execute("set local session_replication_role = replica")
            self.database.execute(f"update auth.users set {change} where id = %s".encode(), [person.id])

    def is_banned(self, person: Person) -> bool:
        return self.clock.now() < person.banned_until - 1  # the database has a clock of its own

    def is_stopped(self, person: Person) -> bool:
        return person.gone or person.held or self.is_banned(person)

    def set_status(self, person: Person, status: str) -> None:
        person.held = status == "suspended"
        query = "update public.profiles set status = %s where id = %s and status <> 'deleted'"
        self.database.execute(query, [status, person.id])

    def owner_calls(self, person: Person, function: str, **arguments: Any) -> Row | None:
        """A function as its owner calls it; None: refused, as some calls have to be."""

        async def ask() -> Row | None:
            try:
                return dict(await execute(self.rest.rpc(function, arguments)))
            except RefusedError as refusal:
                if refusal.status not in (403, 404, 409) and refusal.code != "beyond_ceiling":
                    raise
                return None

        self.rest.act_as(person.id)
        row = self.engine.run(ask())
        if row is not None and (person.gone or (function in MAKES and self.is_banned(person))):
            self.trespasses.append(f"{function} by {person}")
        if row is not None and row["litellm_key_id"] is not None:
            self.strings[row["id"]] = row["litellm_key_id"]
        return row

    def rotate(self, person: Person, key_id: str, overlap_seconds: int) -> None:
        """The former string lives in a row of its own."""
        self.owner_calls(person, "rotate_virtual_key", key_id=key_id, overlap_seconds=overlap_seconds)
        for row in self.key_rows(person):
            if row["litellm_key_id"] is not None:
                self.strings[str(row["id"])] = row["litellm_key_id"]

    def spend(self, person: Person, number: int, model: str) -> Charge | None:
        """A model call with one of the person's keys, of whatever state; None: they never had one."""
        rows = self.key_rows(person)
        if not rows:
            return None
        row = rows[number % len(rows)]
        self.watch_caps()
        charge = self.sight.call(self.strings[str(row["id"])], model)
        if charge is not Charge.REFUSED:
            key_id = str(row["successor_id"] or row["id"])
            self.spent_by_key[key_id] = self.spent_by_key.get(key_id, 0) + round(COSTS[model] * 1_000_000)
        if charge is Charge.BILLED:
            person.bill.spend(round(COSTS[model] * 1_000_000))
            self._check_overdraft(person)
        return charge

    def watch_caps(self) -> None:
        """The highest cap that each key had, in micro-dollars, since people may spend up to each in turn.

        Until a change is confirmed, that is what LiteLLM still shows of the key.
        """
        query = """select id, keyfund.bound_cents(k) as cents, revision > confirmed_revision as pending
            from public.virtual_keys k where successor_id is null and state <> 'placeholder'"""
        shown = self._key_budgets()
        for row in self.rows(query):
            key_id = str(row["id"])
            cap = math.inf if row["cents"] is None else row["cents"] * 10_000
            before = shown.get(key_id, 0) * 10_000 if row["pending"] else 0
            self.caps[key_id] = max(cap, before, self.caps.get(key_id, 0))

    def _check_overdraft(self, person: Person) -> None:
        """Judged when it is spent: a wallet may well fall below what was spent before."""
        rows = self.rows("select wallet_credits from keyfund.wallets where account_id = %s", person.id)
        wallet, bill = max(0, rows[0]["wallet_credits"]) * CREDIT_MICROS, person.bill
        if bill.spent > wallet + bill.slack + bill.dropped:
            self.overdrafts.append(f"{bill} of a wallet of {wallet}")

    # ------------------------------------------------------------- payments

    def order(self, person: Person, package: str, plan: Plan) -> None:
        before = len(self.sandbox.book.transactions)
        work = open_checkout(self.store, self.paystack, person.id, Wish(package), None)
        self.engine.run(_refusable(work), plan)
        if len(self.sandbox.book.transactions) > before and (self.is_stopped(person)):
            self.trespasses.append(f"a checkout by {person}")

    def pay(self, transaction: Transaction, right: bool, fields: Row) -> None:
        """Pay, and keep the webhook in the bag of mail."""
        if not transaction.paid:
            (self.right if right else self.wrong).add(transaction.reference)
            signed = self.engine.run(_now(self.sandbox.pay, transaction, fields, sending=KEPT))
            self.mail.append(cast(Signed, signed))

    def leave(self, transaction: Transaction, status: str) -> None:
        if not transaction.paid:
            self.engine.run(_now(self.sandbox.settle, transaction, status))

    def refund(self, transaction: Transaction, percent: int, status: str, *, of_dispute: bool) -> None:
        """Give some of it back; ``of_dispute``: through one that it has."""
        left = self.sandbox.book.refundable(transaction)
        if transaction.paid and left > 0:
            disputes = [
                one.id for one in self.sandbox.book.disputes.values() if one.transaction is transaction
            ]
            named = {"status": status, "dispute_id": disputes[0] if of_dispute and disputes else None}
            work = _now(
                self.sandbox.refund, transaction, max(1, left * percent // 100), sending=KEPT, **named
            )
            self.mail.append(cast(Signed, self.engine.run(work)))

    def dispute(self, transaction: Transaction) -> None:
        if transaction.paid:
            work = _now(self.sandbox.dispute, transaction, sending=KEPT)
            self.mail.append(cast(Signed, self.engine.run(work)))

    def resolve(self, dispute: Dispute, resolution: str, percent: int) -> None:
        if dispute.resolution is None:
            amount = 0 if resolution == "declined" else dispute.transaction.amount * percent // 100
            work = _now(self.sandbox.resolve, dispute, resolution, amount, sending=KEPT)
            self.mail.append(cast(Signed, self.engine.run(work)))

    def deliver(self, signed: Signed, plan: Plan) -> None:
        self.engine.run(_refusable(self._receive(signed)), plan)

    async def _receive(self, signed: Signed) -> None:
        """As the webhook's route does."""
        settings = self.sight.settings
        assert is_signed(signed.raw, signed.signature, settings.paystack_secrets)
        delivery = Delivery(parse_event(signed.raw), settings.lease_seconds)
        (claimed,) = await self.store.receive_events(Provider.PAYSTACK, [delivery])
        if claimed is not None:
            await self.settler.handle_event(claimed)

    # -------------------------------------------------------- administrators

    def administrator_calls(self, function: str, **arguments: Any) -> Any:
        """None: refused, as some calls have to be."""

        async def ask() -> Any:
            try:
                return await execute(self.rest.rpc(function, arguments))
            except RefusedError as refusal:
                if refusal.status not in (400, 409):
                    raise
                return None

        self.rest.act_as(ADMINISTRATOR)
        return self.engine.run(ask())

    def decide(self, reference: str, *, accept: bool, in_part: bool = False) -> None:
        told = self.administrator_calls(
            "decide_review", reference=reference, accept=accept, reason="so be it", in_part=in_part
        )
        if told is not None:
            (self.accepted if accept else self.refused).add(reference)
            if in_part:
                self.in_part.add(reference)

    def adjust(self, person: Person, credits: int, name: str, *, below_zero: bool = True) -> None:
        """Give or take credits, under an id that may have been used before."""
        told = self.administrator_calls(
            "adjust_credits", account_id=person.id, credits=credits, reason="so be it", adjustment_id=name,
            allow_negative=below_zero,
        )  # fmt: skip
        if told is not None and name not in self.adjustments:
            self.adjustments[name] = (person.id, credits)
            if credits < 0:
                self.ticks += 1
                person.bill.drop(-credits * CREDIT_MICROS, self.ticks)

    def retry(self, reference: str, plan: Plan) -> None:
        """What the administrators' route does."""

        async def settle() -> None:
            await self.settler.settle(reference)
            await self.settler.settle_reversals(reference)

        self.engine.run(_refusable(settle()), plan)

    def limit(self, key_id: str, ceiling_cents: int) -> None:
        """A ceiling that the key's owner cannot go beyond."""
        self.administrator_calls(
            "limit_virtual_key", key_id=key_id, reason="so be it", max_budget=ceiling_cents
        )

    def reconcile(self, plan: Plan = SMOOTH) -> Report | None:
        """Compare everything; None: the database was away."""

        async def compare() -> Report | None:
            try:
                return await self.reconciler.reconcile(timedelta(days=3650))
            except TransientError:
                return None

        return self.engine.run(compare(), plan)

    # -------------------------------------------------------------- workers

    def work(self, name: str, plan: Plan = SMOOTH) -> int:
        """One run of a job, by whichever worker."""
        return self.engine.run(_postponable(self.jobs[name].run_once()), plan, timed=name == "settle") or 0

    def push_now(self, person: Person, plan: Plan) -> None:
        self.engine.run(self.pusher.push_now(person.id), plan)

    # --------------------------------------------------------------- losses

    def _unseen(self, person: Person, spend_micros: int) -> int:
        rows = self.rows("select seen_micros from keyfund.wallets where account_id = %s", person.id)
        return max(0, spend_micros - rows[0]["seen_micros"]) if rows else 0

    def set_back(self, person: Person, percent: int) -> None:
        """LiteLLM shows only so much of what was spent, for good."""
        user = self.sight.user(person.id)
        if user is None:
            return
        left = user.spend_micros * percent // 100
        self.ticks += 1
        self._forget(person, user.spend_micros - left, user.spend_micros)
        self.standin.set_back(person.id, left / 1_000_000)

    def lose_user(self, person: Person) -> None:
        user = self.sight.user(person.id)
        if user is not None:
            self.ticks += 1
            self._forget(person, user.spend_micros, user.spend_micros)
            self.standin.lose_user(person.id)

    def empty(self) -> None:
        """Another LiteLLM takes its place; nothing that was sent to the old one lands."""
        for person in self.people:
            self.lose_user(person)
            person.bill.tamper(self.ticks)
        self.watch_caps()
        self.caps = dict.fromkeys(self.caps, math.inf)  # what its keys spent is lost with it
        self.standin.empty()
        self.engine.letters.clear()

    def tamper(self, person: Person, number: int, change: Row) -> None:
        """Somebody changes one of the person's keys in LiteLLM."""
        rows = self.standin.rows
        tokens = [token for token in self.sight.keys_of(person.id) if token in rows]
        if tokens:
            token = sorted(tokens)[number % len(tokens)]
            self.tampered.add(token)
            for name, value in change.items():
                setattr(rows[token], name, value)

    def move_fences(self, key_max_parallel: int, open_routes: list[str]) -> None:
        """What an operator does."""
        self.bounds.add(key_max_parallel)
        query = "update keyfund.settings set key_max_parallel = %s, open_routes = %s"
        self.database.execute(query, [key_max_parallel, open_routes])

    def show_less_once(self, person: Person) -> None:
        """One read shows a spend of before, as of a replica that lags. Two in a row would count."""
        user = self.sight.user(person.id)
        query = "select account_id from keyfund.wallets where account_id = %s and lower_micros is null"
        if user is not None and self.rows(query, person.id):
            self.standin.stale[person.id] = user.spend_micros / 2_000_000

    def _forget(self, person: Person, lost: int, shown: int) -> None:
        person.bill.forget(lost, self._unseen(person, shown), self.ticks)
        person.bill.tamper(self.ticks)

    def land(self, letter: Letter) -> None:
        """A late request lands; what it raises may be spent until the product looks again, as it must."""
        before = {person.id: self.sight.user(person.id) for person in self.people}
        budgets = self._key_budgets()
        self.engine.land(letter)
        for key_id, budget in self._key_budgets().items():
            if budget > budgets.get(key_id, 0):
                self.caps[key_id] = math.inf
        self.ticks += 1
        for person in self.people:
            was, now = before[person.id], self.sight.user(person.id)
            raised = (now.budget_micros or 0) - (was.budget_micros or 0) if was and now else 0
            if raised > 0:
                person.bill.forget(raised, 0, self.ticks)

    def _key_budgets(self) -> dict[str, float]:
        """What all strings of a key may spend together, as LiteLLM holds them just then."""
        budgets: dict[str, float] = {}
        query = """select coalesce(successor_id, id) as id, key_hash from public.virtual_keys
            where key_hash is not null"""
        for row in self.rows(query):
            seen, key_id = self.sight.key(row["key_hash"]), str(row["id"])
            if seen is not None and not seen.blocked:
                cents = math.inf if seen.budget_cents is None else seen.budget_cents
                budgets[key_id] = budgets.get(key_id, 0) + cents
        return budgets

    # ----------------------------------------------------------------- time

    def let_pass(self, seconds: float) -> None:
        self.engine.let_pass(seconds)
        self.clock.let_pass(seconds)
        self._age_paystack(timedelta(seconds=seconds))
        if self.sight.standin is not None:
            self.sight.standin.let_pass(seconds)

    def _age_paystack(self, passed: timedelta) -> None:
        book = self.sandbox.book
        for transaction in book.transactions.values():
            transaction.created_at -= passed
            transaction.paid_at = transaction.paid_at and transaction.paid_at - passed
        for refund in book.refunds.values():
            refund.created_at -= passed
        for dispute in book.disputes.values():
            dispute.created_at -= passed


async def _now(act: Any, *arguments: Any, **named: Any) -> Any:
    """Something that wants a running loop."""
    return act(*arguments, **named)


async def _postponable(work: Coroutine[Any, Any, int]) -> int:
    """As the worker's runner does: a database that is away is no reason to fall over."""
    try:
        return await work
    except TransientError:
        return 0


async def _refusable(work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except TransientError:
        return
    except RefusedError as refusal:
        if refusal.status not in (403, 409):
            raise
