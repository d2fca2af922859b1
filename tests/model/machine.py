"""Everything that people, workers, LiteLLM, Paystack and time can do, in any order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model import invariants
from tests.model.convergence import converge
from tests.model.process import Mishap, Plan
from tests.model.sight import Sight, StandInSight
from tests.model.wire import Outage
from tests.model.world import Change, Person, World
from tests.support import SqlServer

NUMBER = st.integers(0, 7)
"""Which of some things, counted round."""

MISHAPS = st.builds(Plan, st.sampled_from(Mishap), st.integers(1, 9))
PLANS = st.one_of(st.just(Plan()), MISHAPS)
CAPS = st.one_of(st.none(), st.sampled_from([0, 50, 500, 100_000]))
CHANGES = st.sampled_from(["block", "unblock", "revoke", "resync"])
OVERTAKING = st.sampled_from(
    [
        ("suspended", "active"),
        ("active", "suspended"),
        ("limit", "limit"),
        ("block", "unblock"),
        ("unblock", "block"),
        ("limit", "revoke"),
    ]
)
CHOICES = st.sampled_from(
    [
        {"budget_duration": "7d"},
        {"budget_duration": "lifetime"},
        {"models": ["mock-small", "mock-costly"]},
        {"models": ["*"]},
        {"expires_at": "infinity"},
    ]
)
ENDS = st.sampled_from([20, 400, 200_000])
LIMITERS = st.sampled_from(["owner", "administrator"])
MODELS = st.sampled_from(["mock-small", "mock-large", "mock-costly", "mock-costly"])
PACKAGES = st.sampled_from(["starter-ngn", "plus-ghs"])
PAYMENTS = st.sampled_from(
    [
        "right",
        "right",
        "with_fees",
        "overpaid",
        "both",
        "underpaid",
        "other_currency",
        "other_price",
        "tampered",
    ]
)
DECISIONS = st.sampled_from(["accept", "in_part", "refuse"])
REFUNDS = st.sampled_from(["processed", "processed", "pending"])
PERCENT = st.sampled_from([1, 33, 50, 100])
RESOLUTIONS = st.sampled_from(["declined", "merchant-accepted", "auto-accepted"])
LEFT = st.sampled_from(["failed", "abandoned", "ongoing"])
JOBS = st.sampled_from(["push", "handle", "verify", "sweep", "probe", "heal", "delete", "retire", "count"])
NAMES = st.sampled_from(["one", "two", "three"])
ADJUSTMENTS = st.sampled_from([-200, -30, 40])
TAMPERING = st.sampled_from(
    [
        {"allowed_routes": []},
        {"allowed_routes": ["llm_api_routes"]},
        {"metadata": {"team": "blue"}},
        {"max_parallel_requests": None},
        {"duration": None},
        {"models": []},
        {"blocked": False},
        {"blocked": True},
    ]
)
OPEN_ROUTES = st.sampled_from([["chat"], ["chat", "embeddings"]])
LOSSES = st.sampled_from(["user", "user", "user", "everything"])
SECONDS = st.sampled_from([1, 5, 13, 20, 40, 70, 400])


class Machine(RuleBasedStateMachine):
    """One example is one database and one LiteLLM; ``changes`` make the product wrong."""

    server: ClassVar[SqlServer]
    changes: ClassVar[tuple[Change, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.opened = self.server.database("locked")
        self.world = World(self.opened.__enter__(), self.sight())
        for change in self.changes:
            self.world.make_wrong(change)
        self.failed = False

    def sight(self) -> Sight:
        return StandInSight()

    @property
    def tamperable(self) -> bool:
        return self.world.sight.standin is not None

    def someone(self, number: int) -> Person:
        return self.world.people[number % len(self.world.people)]

    @initialize()
    def two_people_with_some_history(self) -> None:
        for identity in range(2):
            person = self.world.sign_up(identity)
            self.world.owner_calls(person, "create_virtual_key")
            self.world.work("push")
            self.world.spend(person, 0, "mock-costly")
        self.buy(1, Plan())
        self.world.work("settle")

    # --------------------------------------------------------------- people

    @precondition(lambda self: len(self.world.people) < 5)
    @rule(identity=st.integers(0, 3))
    def sign_up(self, identity: int) -> None:
        self.world.sign_up(identity)

    @rule(number=NUMBER, cap=CAPS)
    def create_key(self, number: int, cap: int | None) -> None:
        self.world.owner_calls(self.someone(number), "create_virtual_key", max_budget=cap)

    @rule(number=NUMBER, key=NUMBER, change=CHANGES)
    def change_key(self, number: int, key: int, change: str) -> None:
        rows = self.world.key_rows(self.someone(number))
        if rows:
            key_id = str(rows[key % len(rows)]["id"])
            self.world.owner_calls(self.someone(number), f"{change}_virtual_key", key_id=key_id)

    @rule(number=NUMBER, key=NUMBER, overlap=st.sampled_from([0, 30, 500]))
    def rotate_key(self, number: int, key: int, overlap: int) -> None:
        rows = self.world.key_rows(self.someone(number))
        if rows:
            self.world.rotate(self.someone(number), str(rows[key % len(rows)]["id"]), overlap)

    @rule(number=NUMBER, overlap=st.sampled_from([0, 500]), cap=st.sampled_from([150, 250]), by=LIMITERS)
    def spend_with_each_string_of_a_rotated_key(self, number: int, overlap: int, cap: int, by: str) -> None:
        """Most of the cap is spent, then a rotation that goes well, then all that either string gives."""
        person = self.someone(number)
        limits = {"max_budget": cap} if by == "owner" else {}
        made = self.world.owner_calls(person, "create_virtual_key", **limits)
        if made is None:
            return
        key_id = str(made["id"])
        if by == "administrator":
            self.world.limit(key_id, cap)
        self.world.work("push")
        for _ in range(cap // 100):
            self.world.spend(person, self.place_of(person, key_id), "mock-costly")
        self.world.rotate(person, key_id, overlap)
        for _ in range(2):
            for name in ("push", "count", "push"):
                self.world.work(name)
            for number_of_key in range(len(self.world.key_rows(person))):
                self.world.spend(person, number_of_key, "mock-large")
                self.world.spend(person, number_of_key, "mock-costly")
            self.world.let_pass(31)

    def place_of(self, person: Person, key_id: str) -> int:
        return [str(row["id"]) for row in self.world.key_rows(person)].index(key_id)

    @rule(number=NUMBER, key=NUMBER, cap=CAPS)
    def limit_key(self, number: int, key: int, cap: int | None) -> None:
        limits = {"cap": "wallet"} if cap is None else {"max_budget": cap, "rpm_limit": cap + 1}
        rows = self.world.key_rows(self.someone(number))
        if rows:
            key_id = str(rows[key % len(rows)]["id"])
            self.world.owner_calls(self.someone(number), "update_virtual_key", key_id=key_id, **limits)

    @rule(number=NUMBER, key=NUMBER, choice=CHOICES)
    def choose(self, number: int, key: int, choice: dict[str, object]) -> None:
        rows = self.world.key_rows(self.someone(number))
        if rows:
            key_id = str(rows[key % len(rows)]["id"])
            self.world.owner_calls(self.someone(number), "update_virtual_key", key_id=key_id, **choice)

    @rule(number=NUMBER, key=NUMBER, seconds=ENDS)
    def let_expire(self, number: int, key: int, seconds: int) -> None:
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        self.choose(number, key, {"expires_at": ends.isoformat()})

    @rule(number=NUMBER, key=NUMBER, model=MODELS, times=st.integers(1, 3))
    def spend(self, number: int, key: int, model: str, times: int) -> None:
        for _ in range(times):
            self.world.spend(self.someone(number), key, model)

    @rule(number=NUMBER, status=st.sampled_from(["suspended", "active"]))
    def suspend_or_lift(self, number: int, status: str) -> None:
        self.world.set_status(self.someone(number), status)

    @precondition(lambda self: len(self.world.people) > 2)
    @rule(number=NUMBER)
    def delete_user(self, number: int) -> None:
        self.world.delete_user(self.someone(number))

    @precondition(lambda self: len(self.world.people) > 2)
    @rule(number=NUMBER, noticed=st.booleans())
    def soft_delete_user(self, number: int, noticed: bool) -> None:
        self.world.soft_delete_user(self.someone(number), noticed=noticed)

    @precondition(lambda self: any(person.gone for person in self.world.people))
    @rule(number=NUMBER)
    def take_deletion_back(self, number: int) -> None:
        """Which revives nothing."""
        gone = [person for person in self.world.people if person.gone]
        self.world.take_deletion_back(gone[number % len(gone)])

    @rule(number=NUMBER, seconds=st.sampled_from([0, 30, 400]), noticed=st.booleans())
    def ban(self, number: int, seconds: int, noticed: bool) -> None:
        self.world.ban(self.someone(number), seconds, noticed=noticed)

    # ------------------------------------------------------------- payments

    @rule(number=NUMBER, package=PACKAGES, plan=PLANS)
    def order(self, number: int, package: str, plan: Plan) -> None:
        self.world.order(self.someone(number), package, plan)

    @precondition(lambda self: self.world.sandbox.book.transactions)
    @rule(number=NUMBER, how=PAYMENTS)
    def pay(self, number: int, how: str) -> None:
        orders = list(self.world.sandbox.book.transactions.values())
        order = orders[number % len(orders)]
        price, other = order.requested_amount or 0, "USD" if order.currency != "USD" else "NGN"
        fields: dict[str, dict[str, int | str]] = {
            "right": {},
            "with_fees": {"amount": price + 5000, "requested_amount": price, "fees": 5000},
            "overpaid": {"amount": price + 70_000, "requested_amount": price, "fees": 5000},
            "both": {"amount": price + 5000, "fees": 5000, "currency": other},
            "underpaid": {"amount": price // 2, "requested_amount": price},
            "other_currency": {"currency": other},
            "other_price": {"amount": price // 3, "requested_amount": price // 3},
            "tampered": {"amount": price // 3 + 99, "requested_amount": price // 3, "fees": 99},
        }
        self.world.pay(order, how in ("right", "with_fees", "overpaid"), fields[how])

    @rule(number=NUMBER, plan=PLANS)
    def buy(self, number: int, plan: Plan) -> None:
        """A purchase that goes well up to its webhook."""
        self.world.order(self.someone(number), "starter-ngn", Plan())
        orders = list(self.world.sandbox.book.transactions.values())
        if orders and not orders[-1].paid:
            self.world.pay(orders[-1], True, {})
            self.world.deliver(self.world.mail[-1], plan)

    @precondition(lambda self: self.world.sandbox.book.transactions)
    @rule(number=NUMBER, status=LEFT)
    def leave_unpaid(self, number: int, status: str) -> None:
        orders = list(self.world.sandbox.book.transactions.values())
        self.world.leave(orders[number % len(orders)], status)

    @precondition(lambda self: self.world.sandbox.book.transactions)
    @rule(number=NUMBER, percent=PERCENT, status=REFUNDS, of_dispute=st.booleans())
    def refund(self, number: int, percent: int, status: str, of_dispute: bool) -> None:
        orders = list(self.world.sandbox.book.transactions.values())
        self.world.refund(orders[number % len(orders)], percent, status, of_dispute=of_dispute)

    @precondition(lambda self: self.world.sandbox.book.transactions)
    @rule(number=NUMBER)
    def dispute(self, number: int) -> None:
        orders = list(self.world.sandbox.book.transactions.values())
        self.world.dispute(orders[number % len(orders)])

    @precondition(lambda self: self.world.sandbox.book.disputes)
    @rule(number=NUMBER, resolution=RESOLUTIONS, percent=PERCENT)
    def resolve(self, number: int, resolution: str, percent: int) -> None:
        disputes = list(self.world.sandbox.book.disputes.values())
        self.world.resolve(disputes[number % len(disputes)], resolution, percent)

    @precondition(lambda self: self.world.mail)
    @rule(number=NUMBER, plan=PLANS)
    def deliver_a_webhook(self, number: int, plan: Plan) -> None:
        self.world.deliver(self.world.mail[number % len(self.world.mail)], plan)

    # -------------------------------------------------------- administrators

    @precondition(lambda self: self.world.wrong)
    @rule(number=NUMBER, decision=DECISIONS)
    def decide(self, number: int, decision: str) -> None:
        reference = sorted(self.world.wrong)[number % len(self.world.wrong)]
        self.world.decide(reference, accept=decision != "refuse", in_part=decision == "in_part")

    @rule(number=NUMBER, credits=ADJUSTMENTS, name=NAMES, below_zero=st.booleans())
    def adjust(self, number: int, credits: int, name: str, below_zero: bool) -> None:
        self.world.adjust(self.someone(number), credits, name, below_zero=below_zero)

    @precondition(lambda self: self.world.sandbox.book.transactions)
    @rule(number=NUMBER, plan=PLANS)
    def retry(self, number: int, plan: Plan) -> None:
        references = list(self.world.sandbox.book.transactions)
        self.world.retry(references[number % len(references)], plan)

    @rule(parallel=st.sampled_from([3, 10]), routes=OPEN_ROUTES)
    def move_fences(self, parallel: int, routes: list[str]) -> None:
        self.world.move_fences(parallel, routes)

    @rule(only_failing=st.booleans())
    def replay(self, only_failing: bool) -> None:
        chosen = {"only_failing": True} if only_failing else {"received_from": "-infinity"}
        self.world.administrator_calls("replay_events", **chosen)

    @rule(plan=PLANS)
    def reconcile(self, plan: Plan) -> None:
        """At any moment, whatever is on its way, the books within the database agree."""
        report = self.world.reconcile(plan)
        if report is not None:
            self.judged(lambda: invariants.books_agree_within(report))

    # -------------------------------------------------------------- workers

    @rule(name=JOBS, plan=PLANS)
    def work(self, name: str, plan: Plan) -> None:
        self.world.work(name, plan)

    @rule(plan=MISHAPS)
    def push(self, plan: Plan) -> None:
        self.world.work("push", plan)

    @rule(plan=PLANS)
    def settle_usage(self, plan: Plan) -> None:
        self.world.let_pass(21)
        self.world.work("settle", plan)

    @rule(number=NUMBER, plan=PLANS)
    def push_now(self, number: int, plan: Plan) -> None:
        self.world.push_now(self.someone(number), plan)

    @precondition(lambda self: self.world.engine.stalled)
    @rule(number=NUMBER)
    def answer_a_stalled_call(self, number: int) -> None:
        stalled = self.world.engine.stalled
        self.world.engine.resume(stalled[number % len(stalled)])

    @precondition(lambda self: self.world.engine.letters)
    @rule(number=NUMBER)
    def land_a_late_request(self, number: int) -> None:
        letters = self.world.engine.letters
        self.world.land(letters[number % len(letters)])

    @rule(number=NUMBER, key=NUMBER, late=st.integers(2, 4), events=OVERTAKING)
    def a_late_request_is_overtaken(self, number: int, key: int, late: int, events: tuple[str, str]) -> None:
        """Pushed without an answer; something else changes and is pushed; only then the first one lands."""
        self.world.litellm_wire.outage = None
        self.bring_about(events[1], number, key)
        self.world.push_now(self.someone(number), Plan())
        self.bring_about(events[0], number, key)
        self.world.push_now(self.someone(number), Plan(Mishap.LATE, late))
        self.bring_about(events[1], number, key)
        self.world.let_pass(2)
        self.world.push_now(self.someone(number), Plan())
        for letter in list(self.world.engine.letters):
            self.world.land(letter)

    def bring_about(self, event: str, number: int, key: int) -> None:
        if event in ("active", "suspended"):
            self.world.set_status(self.someone(number), event)
        elif event == "limit":
            self.limit_key(number, key, 40 + number)
        else:
            self.change_key(number, key, event)

    # --------------------------------------------------------------- faults

    @rule(outage=st.sampled_from([None, *Outage]))
    def litellm_goes_or_comes_back(self, outage: Outage | None) -> None:
        self.world.litellm_wire.outage = outage

    @rule(outage=st.sampled_from([None, *Outage]))
    def paystack_goes_or_comes_back(self, outage: Outage | None) -> None:
        self.world.paystack_wire.outage = outage

    @precondition(lambda self: self.tamperable)
    @rule(number=NUMBER, percent=st.sampled_from([0, 50, 99]))
    def set_spend_back(self, number: int, percent: int) -> None:
        self.world.set_back(self.someone(number), percent)

    @precondition(lambda self: self.tamperable)
    @rule(number=NUMBER, what=LOSSES)
    def lose(self, number: int, what: str) -> None:
        if what == "everything":
            self.world.empty()
        else:
            self.world.lose_user(self.someone(number))

    @precondition(lambda self: self.tamperable)
    @rule(number=NUMBER, key=NUMBER, change=TAMPERING)
    def tamper(self, number: int, key: int, change: dict[str, object]) -> None:
        self.world.tamper(self.someone(number), key, change)

    @precondition(lambda self: self.tamperable)
    @rule(number=NUMBER)
    def show_less_once(self, number: int) -> None:
        self.world.show_less_once(self.someone(number))

    @rule(seconds=SECONDS)
    def let_pass(self, seconds: int) -> None:
        self.world.let_pass(seconds)

    # ------------------------------------------------------------ judgement

    @invariant()
    def nothing_that_may_never_happen_happened(self) -> None:
        if self.world.people:
            self.judged(lambda: invariants.check(self.world))

    def judged(self, judge: Callable[[], None]) -> None:
        try:
            judge()
        except BaseException:
            self.failed = True
            raise

    def teardown(self) -> None:
        try:
            if not self.failed and self.world.people:
                converge(self.world)
        finally:
            self.world.close()
            self.opened.__exit__(None, None, None)
