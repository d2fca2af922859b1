"""The shared stack with its own webhook and worker away, and time that can be moved."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import jwt
import psycopg

from dev.stack import Stack
from tests.faults.processes import Actor, Kind
from tests.integration.world import Json, World, until
from tests.support import Connection, User

FAR = "1 day"
READINGS = {"litellm": "settle_usage", "paystack": "sweep_paystack"}
DEAD_LEASE_SECONDS = "600"
"""What processes that are going to be killed ask for: nobody takes over before time is moved."""


class Scene(World):
    """A world whose API is answered by a webhook of our own, the helper; no worker runs unasked."""

    def __init__(self, stack: Stack, db: Connection, sign_up: Callable[..., User]) -> None:
        super().__init__(stack, db, lambda *args, **data: self.anywhere(sign_up(*args, **data)))
        self.actors = ExitStack()
        self.idle: dict[Kind, set[tuple[str, str]]] = {}
        self.helper = self.actor("webhook").start()

    @property
    def env(self) -> dict[str, str]:
        helper = getattr(self, "helper", None)
        return {**self.stack.env, **({"WEBHOOK_BASE_URL": helper.url} if helper else {})}

    def actor(
        self,
        kind: Kind,
        settings: Mapping[str, str] | None = None,
        upstreams: Mapping[str, str] | None = None,
    ) -> Actor:
        """A process that is gone when the scene ends, or when it is closed; not started yet."""
        actor = Actor(self.stack, kind, settings or {}, upstreams or {})
        self.actors.callback(actor.close)
        return actor

    def close(self) -> None:
        self.actors.close()
        self.release_others()
        self.http.close()

    # --------------------------------------------------------------- people

    def anywhere(self, user: User) -> User:
        """The same person with a token that names no issuer: for our processes Supabase is the proxy."""
        secret = self.stack.env["SUPABASE_JWT_SECRET"]
        claims = jwt.decode(user.token, secret, ["HS256"], audience="authenticated")
        kept = {name: value for name, value in claims.items() if name != "iss"}
        return replace(user, token=jwt.encode(kept, secret, "HS256"))

    def customer(self) -> tuple[User, Json]:
        """Someone with a key that LiteLLM has confirmed."""
        user = self.sign_up()
        return user, self.quick_key(user)

    def quick_key(self, user: User, **limits: Any) -> Json:
        """A key through the helper, which pushes it at once."""
        answer = self.api(user, "POST", "/api/keys/manage", json={"name": "Key", **limits})
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        until(lambda: self.is_settled([user]), seconds=20, what="the key is pushed by the helper")
        return made

    def adjust(self, user: User, credits: int, cause: str) -> None:
        self.db.execute(
            "select keyfund.append_entry(%s, %s, 'adjustment', %s, 'a test')", [user.id, credits, cause]
        )

    def deliver_to(self, actor: Actor, raw: bytes) -> int | None:
        """Deliver an event; None when no answer came."""
        headers = {"content-type": "application/json", "x-paystack-signature": self.signature(raw)}
        try:
            answer = self.http.post(f"{actor.url}/webhooks/paystack", content=raw, headers=headers)
        except httpx.TransportError:
            return None
        return answer.status_code

    def forget_user(self, user: User) -> None:
        """LiteLLM's user row is gone, as after a restore of its database."""
        with psycopg.connect(self.stack.superuser_url("litellm"), autocommit=True) as litellm:
            litellm.execute('delete from "LiteLLM_UserTable" where user_id = %s', [user.id])

    def spend(self, user: User, micros: int) -> None:
        """Money was spent in LiteLLM, as its flush leaves it."""
        with psycopg.connect(self.stack.superuser_url("litellm"), autocommit=True) as litellm:
            dollars = micros / 1_000_000
            litellm.execute(
                'update "LiteLLM_UserTable" set spend = %s where user_id = %s', [dollars, user.id]
            )
            litellm.execute(
                'update "LiteLLM_VerificationToken" set updated_at = now() where user_id = %s', [user.id]
            )

    def spend_and_book(self, user: User, micros: int) -> None:
        """Money was spent in LiteLLM, and has been booked here."""
        self.spend(user, micros)
        spenders = json.dumps([{"user_id": user.id, "spend_micros": micros}])
        assert self.number("select public.settle_usage(%s::jsonb, now())", spenders) == 1

    # ------------------------------------------------------------------ time

    def number(self, query: str, *values: object) -> int:
        row = self.db.execute(query, values).fetchone()
        assert row is not None
        return int(row[0])

    def hold(self, users: Iterable[User]) -> None:
        """Nobody takes anything of theirs up before `hurry`."""
        ids = [user.id for user in users]
        for statement in HOLD:
            self.db.execute(statement, [ids])

    def hurry(self, users: Iterable[User], *, settle: bool = True, sweep: bool = True) -> None:
        """What waits for a time waits no longer: leases of the dead, backoff, and (settle) the 30 seconds.

        What living processes hold is left alone; so is what is parked. With ``sweep`` pending orders are
        asked about as if nobody had told of them for long.
        """
        ids = [user.id for user in users]
        for statement in HURRY + (SETTLE if settle else ()) + (SWEEP if sweep else ()):
            self.db.execute(statement, [ids])
        self.db.execute("update keyfund.gateways set probe_at = now() where opened_at is not null")

    def read_now(self, gateway: str) -> None:
        """The next worker that looks reads what changed there, for all accounts."""
        self.db.execute(
            "update keyfund.chores set next_attempt_at = now() where name = %s", [READINGS[gateway]]
        )

    def read_later(self) -> None:
        """No worker reads what all accounts did before `read_now`."""
        self.put_readings(FAR, *READINGS.values())

    def put_readings(self, after: str, *chores: str) -> None:
        statement = "update keyfund.chores set next_attempt_at = now() + %s::interval where name = any(%s)"
        self.db.execute(statement, [after, list(chores)])

    def close_breaker(self) -> None:
        """LiteLLM answers again, and everybody knows; for tests that are not about how they learn of it."""
        self.db.execute("update keyfund.gateways set failures = 0, opened_at = null, probe_at = null")

    def is_settled(self, users: Iterable[User]) -> bool:
        """LiteLLM has confirmed everything, every event of theirs is handled, and nobody is at it."""
        ids = [user.id for user in users]
        return all(self.number(query, ids) == 0 for query in UNSETTLED)

    def until_settled(self, users: list[User], *, seconds: float = 60, settle: bool = True) -> None:
        """Move time until all is done."""
        deadline = time.monotonic() + seconds
        while not self.is_settled(users):
            assert time.monotonic() < deadline, f"not settled after {seconds} s: {self.describe(users)}"
            self.hurry(users, settle=settle)
            time.sleep(0.25)

    def describe(self, users: Iterable[User]) -> list[Any]:
        ids = [user.id for user in users]
        return [self.db.execute(query, [ids]).fetchall() for query in DESCRIBE]

    def parked(self, users: Iterable[User]) -> int:
        """Accounts and keys of theirs that wait for a person."""
        ids = [user.id for user in users]
        return sum(self.number(query, ids) for query in PARKED)

    # ---------------------------------------------------------------- others

    def hold_others(self) -> None:
        """Whatever earlier tests left due stays out of this module's way until its end, and so do the
        jobs that read what all accounts did."""
        self.read_later()
        for table, column in DUE:
            self.db.execute(
                f"update {table} set {column} = {column} + interval '{FAR}' where {column} is not null"
            )

    def release_others(self) -> None:
        self.put_readings("0 seconds", *READINGS.values())
        for table, column in DUE:
            self.db.execute(
                f"update {table} set {column} = greatest(now(), {column} - interval '{FAR}') "
                f"where {column} > now() + interval '12 hours'"
            )


DUE = (
    ("keyfund.pushes", "next_attempt_at"),
    ("keyfund.events", "next_attempt_at"),
    ("public.transactions", "next_verify_at"),
)
HOLD = (
    # A lease of nobody's: without a token, so that the next holder has no dead one before it.
    f"update keyfund.pushes set lease_expires_at = now() + interval '{FAR}' where account_id = any(%s)",
    f"update keyfund.events set next_attempt_at = now() + interval '{FAR}' where handled_at is null"
    " and reference in (select reference from public.transactions where user_id = any(%s))",
    f"update public.transactions set next_verify_at = now() + interval '{FAR}'"
    " where next_verify_at is not null and user_id = any(%s)",
)
HURRY = (
    "update keyfund.pushes set next_attempt_at = now() where next_attempt_at is not null"
    " and (lease_token is null or lease_expires_at > now() + interval '2 minutes') and account_id = any(%s)",
    "update keyfund.pushes set lease_expires_at = now()"
    " where lease_expires_at > now() + interval '2 minutes' and account_id = any(%s)",
    "update public.virtual_keys set next_attempt_at = now()"
    " where next_attempt_at > now() and user_id = any(%s)",
    "update keyfund.events set next_attempt_at = now() where handled_at is null"
    " and (lease_token is null or next_attempt_at > now() + interval '2 minutes')"
    " and reference in (select reference from public.transactions where user_id = any(%s))",
)
SWEEP = (
    "update public.transactions set next_verify_at = now()"
    " where next_verify_at > now() + interval '5 seconds' and status = 'pending' and user_id = any(%s)",
)
SETTLE = (
    "update keyfund.pushes set unsettled_until = now()"
    " where unsettled_until > now() and lease_token is null and account_id = any(%s)",
    "update public.virtual_keys set unsettled_until = now()"
    " where unsettled_until > now() and user_id = any(%s)",
)
UNSETTLED = (
    "select count(*) from keyfund.pushes where (revision > confirmed_revision"
    " or next_attempt_at is not null or lease_token is not null) and account_id = any(%s)",
    "select count(*) from public.virtual_keys where sync_status <> 'synced' and state <> 'placeholder'"
    " and user_id = any(%s)",
    "select count(*) from keyfund.events e join public.transactions t using (reference)"
    " where e.handled_at is null and t.user_id = any(%s)",
)
PARKED = (
    "select count(*) from keyfund.pushes where revision > confirmed_revision and next_attempt_at is null"
    " and account_id = any(%s)",
    "select count(*) from public.virtual_keys where sync_status = 'failed' and next_attempt_at is null"
    " and state <> 'placeholder' and user_id = any(%s)",
)
DESCRIBE = (
    "select account_id, revision, confirmed_revision, attempts, refusals, next_attempt_at - now(),"
    " unsettled_until - now(), lease_expires_at - now(), last_error from keyfund.pushes"
    " where (revision > confirmed_revision or next_attempt_at is not null or lease_token is not null)"
    " and account_id = any(%s) limit 3",
    "select id, state, sync_status, revision, confirmed_revision, next_attempt_at - now(), last_error"
    " from public.virtual_keys where sync_status <> 'synced' and state <> 'placeholder'"
    " and user_id = any(%s) limit 3",
    "select e.id, e.attempts, e.next_attempt_at - now(), e.last_error from keyfund.events e"
    " join public.transactions t using (reference) where e.handled_at is null and t.user_id = any(%s)"
    " limit 3",
)
