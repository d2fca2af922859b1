"""What the product does in several steps, each from a prepared account on."""

import json
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.crash import Case
from tests.faults.never import key_rows, paid_lines
from tests.faults.processes import Actor, Kind
from tests.faults.scene import Scene
from tests.integration.world import Json, until
from tests.support import User

PATIENT = {"LEASE_SECONDS": "60", "LITELLM_TIMEOUT_SECONDS": "12"}
TOPPED_UP = 1000
HALF_PRICE = 800_000
ADJUSTED = 550


@dataclass(frozen=True)
class Base:
    """What scenarios have in common: nothing happens."""

    name: str = ""
    kind: Kind = "worker"

    def release(self, scene: Scene, case: Case) -> None:
        scene.hurry([case.user], sweep=False)

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        return

    def is_done(self, scene: Scene, case: Case) -> bool:
        return scene.is_settled([case.user]) and case.expects() == []

    def repeat(self, scene: Scene, case: Case) -> None:
        return


def paid_order(scene: Scene) -> Case:
    """Someone who has paid; nobody has been told."""
    user, key = scene.customer()
    reference = scene.order(user)["reference"]
    event = scene.pay(reference, deliver=False)["event"]
    scene.hold([user])
    return Case(
        user=user,
        marks=[user.id, reference, key["key_hash"]],
        expects=lambda: expect_credits(scene, user, TOPPED_UP),
        event=json.dumps(event).encode(),
    )


def expect_credits(scene: Scene, user: User, credits: int) -> list[str]:
    have = scene.number("select credits from public.profiles where id = %s", user.id)
    return [] if have == credits else [f"{user.email} has {have} credits, not {credits}"]


@dataclass(frozen=True)
class Payment(Base):
    """The webhook: received, verified, credited, pushed, made effective."""

    name: str = "payment"
    kind: Kind = "webhook"

    def prepare(self, scene: Scene) -> Case:
        return paid_order(scene)

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        case.answered = scene.deliver_to(actor, case.event)

    def repeat(self, scene: Scene, case: Case) -> None:
        if case.answered != 200:
            assert scene.deliver_to(scene.helper, case.event) == 200


@dataclass(frozen=True)
class LeftEvent(Base):
    """The worker takes up an event that a dead webhook left."""

    name: str = "event"

    def prepare(self, scene: Scene) -> Case:
        case = paid_order(scene)
        scene.db.execute(
            "select keyfund.receive_event('paystack', %s, 'charge.success', %s, %s, 86400)",
            [case.marks[1], case.marks[1], case.event.decode()],
        )
        return case


@dataclass(frozen=True)
class Sweep(Base):
    """The worker finds a payment that nobody told of."""

    name: str = "sweep"

    def prepare(self, scene: Scene) -> Case:
        return paid_order(scene)

    def release(self, scene: Scene, case: Case) -> None:
        scene.hurry([case.user])


@dataclass(frozen=True)
class ListSweep(Base):
    """The worker finds in Paystack's own list a payment that nobody told of."""

    name: str = "list-sweep"

    def prepare(self, scene: Scene) -> Case:
        user, key = scene.customer()
        reference = scene.order(user)["reference"]
        scene.hold([user])
        marks = [user.id, reference, key["key_hash"]]
        return Case(user, marks, lambda: expect_credits(scene, user, TOPPED_UP))

    def release(self, scene: Scene, case: Case) -> None:
        scene.pay(case.marks[1], deliver=False)  # not before: each sweep finds all that is paid
        scene.hurry([case.user], sweep=False)
        scene.read_now("paystack")

    def repeat(self, scene: Scene, case: Case) -> None:
        """The buyer's browser comes back."""
        page = scene.http.get(
            f"{scene.helper.url}/checkout/return", params={"reference": case.marks[1]}, timeout=30
        )
        assert page.status_code == 200


@dataclass(frozen=True)
class Refund(Base):
    """The webhook hears of a refund: asked about, withheld, pushed."""

    name: str = "refund"
    kind: Kind = "webhook"

    def prepare(self, scene: Scene) -> Case:
        case = paid_order(scene)
        scene.hurry([case.user], sweep=False)
        assert scene.deliver_to(scene.helper, case.event) == 200
        until(lambda: Base.is_done(self, scene, case), seconds=20, what="the payment is credited and pushed")
        refunded = scene.sandbox(
            f"/sandbox/transactions/{case.marks[1]}/refund", amount=HALF_PRICE, deliver=False
        )
        case.event = json.dumps(refunded["event"]).encode()
        case.expects = lambda: expect_credits(scene, case.user, TOPPED_UP - 250)
        return case

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        case.answered = scene.deliver_to(actor, case.event)

    def repeat(self, scene: Scene, case: Case) -> None:
        if case.answered != 200:
            assert scene.deliver_to(scene.helper, case.event) == 200


@dataclass(frozen=True)
class Usage(Base):
    """The worker books what LiteLLM shows as spent."""

    name: str = "usage"

    def prepare(self, scene: Scene) -> Case:
        user, key = scene.customer()
        return Case(user, [user.id, key["key_hash"]], lambda: expect_credits(scene, user, 450))

    def release(self, scene: Scene, case: Case) -> None:
        scene.spend(case.user, 1_000_000)
        # So that all pages are walked.
        scene.db.execute("update keyfund.chores set state = null where name = 'settle_usage'")
        scene.read_now("litellm")

    def repeat(self, scene: Scene, case: Case) -> None:
        scene.read_now("litellm")


@dataclass(frozen=True)
class Push(Base):
    """The worker pushes a raised wallet with a new, a changed, a blocked and a revoked key."""

    name: str = "push"

    def prepare(self, scene: Scene) -> Case:
        user = scene.sign_up()
        changed, blocked, revoked = (scene.quick_key(user, max_budget=700 + n) for n in range(3))
        scene.hold([user])
        created = scene.create_key(user)
        for function, key, more in (
            ("update_virtual_key", changed, {"rpm_limit": 7}),
            ("block_virtual_key", blocked, {}),
            ("revoke_virtual_key", revoked, {}),
        ):
            rpc(scene, user, function, key_id=key["id"], **more)
        scene.adjust(user, ADJUSTED - 500, f"adjustment:{user.id}")
        hashes = [row["key_hash"] for row in key_rows(scene, user)]
        return Case(user, [user.id, created["id"], *hashes], lambda: expect_credits(scene, user, ADJUSTED))


@dataclass(frozen=True)
class Vanished(Base):
    """The worker finds that LiteLLM has lost the user: keys blocked, the row made, keys let go."""

    name: str = "vanished"

    def prepare(self, scene: Scene) -> Case:
        user = scene.sign_up()
        keys = [scene.quick_key(user) for _ in range(2)]
        scene.hold([user])
        answer = scene.litellm("POST", "/user/update", json={"user_id": user.id, "max_budget": 1})
        assert answer.status_code == 200
        scene.forget_user(user)
        rpc(scene, user, "resync_virtual_key", key_id=keys[0]["id"])
        hashes = [key["key_hash"] for key in keys]
        return Case(user, [user.id, *hashes], lambda: expect_credits(scene, user, 500))


@dataclass(frozen=True)
class NewKey(Base):
    """The API makes a key and pushes it beside the answer."""

    name: str = "new-key"
    kind: Kind = "webhook"

    def prepare(self, scene: Scene) -> Case:
        user = scene.sign_up()
        scene.hold([user])
        return Case(user, [user.id], lambda: expect_credits(scene, user, 500))

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        scene.hurry([case.user])
        answer = ask(actor, case.user, "POST", "/api/keys/manage", {"name": "laptop"})
        case.answered = answer.status_code if answer is not None else None

    def is_done(self, scene: Scene, case: Case) -> bool:
        return case.answered is not None and scene.is_settled([case.user])


@dataclass(frozen=True)
class Checkout(Base):
    """The API opens a checkout; a buyer who was told nothing tries again and pays whatever can be paid."""

    name: str = "checkout"
    kind: Kind = "webhook"

    def prepare(self, scene: Scene) -> Case:
        user, _ = scene.customer()
        return Case(user, [user.id], lambda: expect_credits(scene, user, 500 * (1 + paid(scene, user))))

    def act(self, scene: Scene, actor: Actor, case: Case) -> None:
        answer = ask(actor, case.user, "POST", "/api/credits/checkout", {"package_id": "starter-ngn"})
        case.answered = answer.status_code if answer is not None else None

    def is_done(self, scene: Scene, case: Case) -> bool:
        return case.answered is not None

    def repeat(self, scene: Scene, case: Case) -> None:
        scene.order(case.user)
        for (reference,) in references(scene, case.user):
            scene.http.post(
                f"{scene.env['PAYSTACK_BASE_URL']}/sandbox/transactions/{reference}/pay",
                json={"deliver": False},
            )


def references(scene: Scene, user: User) -> list[tuple[Any, ...]]:
    return scene.db.execute(
        "select reference from public.transactions where user_id = %s", [user.id]
    ).fetchall()


def paid(scene: Scene, user: User) -> int:
    return scene.number(
        "select count(*) from public.transactions where user_id = %s and status = 'success'", user.id
    )


def rpc(scene: Scene, user: User, function: str, **arguments: object) -> Json:
    answer = scene.rest(user, "POST", f"/rpc/{function}", json=arguments)
    assert answer.status_code == 200, answer.text
    row: Json = answer.json()
    return row


def ask(actor: Actor, user: User, method: str, path: str, body: Json) -> httpx.Response | None:
    """Ask a process; None when no answer came."""
    headers = {"Authorization": f"Bearer {user.token}"}
    try:
        return httpx.request(method, f"{actor.url}{path}", headers=headers, json=body, timeout=30)
    except httpx.TransportError:
        return None


def settle_all(scene: Scene, cases: list[Case], *, seconds: float = 90) -> None:
    """A worker that nothing befalls brings everything to its end."""
    users = [case.user for case in cases]
    scene.hurry(users)
    with closing(scene.actor("worker", PATIENT)) as worker:
        worker.start()
        deadline = time.monotonic() + seconds
        while (left := outstanding(scene, cases)) and time.monotonic() < deadline:
            time.sleep(0.25)
        assert not left, f"not after {seconds} s: {left}"
        scene.until_settled(users, seconds=seconds)


def outstanding(scene: Scene, cases: list[Case]) -> list[str]:
    return [line for case in cases for line in case.expects() + paid_lines(scene, case.user)]
