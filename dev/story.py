"""The story: a person signs up, spends the free credits with two keys, buys more, and goes on.

The calls reach the stack's provider. At the end its bill, LiteLLM's spend and the usage that the person's
ledger has booked are one figure.

Played over HTTP alone, with what `.stack/env` says; nothing here reaches into a process or a database.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import httpx

GRANTED_CREDITS = 500
WALLET_DOLLARS = 10.0
CAP_CENTS = 2000  # above the wallet, so that it is the wallet that refuses
CREDIT_MICROS = 20_000
CALL = {
    "model": "live-large",
    "max_tokens": 496,  # with the eight tokens of the prompt a dollar, which is whole credits
    "messages": [{"role": "user", "content": "hello"}],
}
PATIENCE_SECONDS = 60
MOST_CALLS = 40

T = TypeVar("T")
Json = Any
"""What a server answered, not yet looked at."""


class StoryError(Exception):
    """A step did not hold; the message says what was expected and what was seen."""


@dataclass(frozen=True)
class Person:
    id: str
    token: str


def play(env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Play the steps in order, saying each with its time; raises StoryError at the first that fails."""
    with httpx.Client(timeout=60) as client:
        Story(env, client, say).play()


class Story:
    def __init__(self, env: Mapping[str, str], client: httpx.Client, say: Callable[[str], None]) -> None:
        self.env = env
        self.client = client
        self.say = say
        self.number = 0

    def play(self) -> None:
        began = time.monotonic()
        self.say("")
        self.ok(self.client.delete(self.bill_url))
        person = self.step("a person signs up", self.sign_up)
        self.step("a profile with 500 credits and a placeholder key", lambda: self.welcome(person))
        rows = self.step("two keys, each capped above the wallet", lambda: self.create_keys(person))
        keys = self.step("the worker pushes both to LiteLLM", lambda: self.pushed(person, rows))
        self.step("a model call works with each", lambda: self.both_work(keys))
        self.step("one key spends the money, and both are refused", lambda: self.spend(person, keys))
        reference = self.step("credits are ordered and paid at the checkout", lambda: self.buy(person))
        self.step("the payment is credited and effective", lambda: self.effective(person, reference))
        self.step("it is credited once", lambda: self.credited_once(person))
        self.step("the same call works again with both", lambda: self.both_work(keys))
        self.step("LiteLLM's user row", lambda: self.litellm_user(person))
        self.step("bill, spend and booked usage are equal", lambda: self.equal(person, rows[0]))
        self.say(f"the story held, in {time.monotonic() - began:.1f} s")

    def step(self, what: str, does: Callable[[], tuple[T, str]]) -> T:
        self.number += 1
        began = time.monotonic()
        try:
            result, seen = does()
        except (StoryError, httpx.HTTPError) as error:
            self.say(f"{self.number:>3}. {what}: FAILED after {time.monotonic() - began:.1f} s")
            raise StoryError(f"step {self.number}, {what}: {error or type(error).__name__}") from error
        self.say(f"{self.number:>3}. {what:<52} {time.monotonic() - began:6.2f} s  {seen}".rstrip())
        return result

    # --- steps --------------------------------------------------------------------------------------------

    def sign_up(self) -> tuple[Person, str]:
        email = f"ada-{uuid4().hex[:8]}@example.com"
        body = {"email": email, "password": uuid4().hex}
        seen = self.ok(self.client.post(self.supabase("/auth/v1/signup"), headers=self.keyed(), json=body))
        return Person(seen["user"]["id"], seen["access_token"]), email

    def welcome(self, person: Person) -> tuple[None, str]:
        (profile,) = self.rows(person, "profiles", 1)
        expect(profile["credits"], GRANTED_CREDITS, "credits in the profile")
        (key,) = self.rows(person, "virtual_keys", 1)
        expect(
            (key["state"], key["sync_status"]), ("placeholder", "pending"), "state and sync_status of the key"
        )
        return None, f"{profile['credits']} credits"

    def create_keys(self, person: Person) -> tuple[list[str], str]:
        created = [self.create_key(person, name) for name in ("laptop", "server")]
        for key in created:
            expect(key["max_budget"], CAP_CENTS, "max_budget of a new key")
        return [key["id"] for key in created], ", ".join(key["name"] for key in created)

    def create_key(self, person: Person, name: str) -> Json:
        arguments = {"name": name, "max_budget": CAP_CENTS}
        url = self.supabase("/rest/v1/rpc/create_virtual_key")
        key = self.ok(self.client.post(url, headers=self.keyed(person), json=arguments))
        return key[0] if isinstance(key, list) else key

    def pushed(self, person: Person, ids: list[str]) -> tuple[list[str], str]:
        def rows() -> list[Json]:
            return [row for row in self.rows(person, "virtual_keys") if row["id"] in ids]

        def synced(rows: list[Json]) -> bool:
            return all(row["sync_status"] == "synced" for row in rows)

        shown = until("both keys have sync_status synced", rows, synced, brief=brief_keys)
        return [row["litellm_key_id"] for row in shown], "synced"

    def both_work(self, keys: list[str]) -> tuple[None, str]:
        for key in keys:
            answer = self.call(key)
            if answer.status_code != 200:
                raise StoryError(f"expected 200 from a model call, saw {brief(answer)}")
        return None, "200, 200"

    def spend(self, person: Person, keys: list[str]) -> tuple[None, str]:
        calls = 0
        while self.call(keys[0]).status_code == 200:
            calls += 1
            if calls == MOST_CALLS:
                raise StoryError(f"expected a refusal, saw {calls} calls go through")
        for key in keys:
            self.refused(person, self.call(key))
        return None, f"after {calls} more calls; the error names the user"

    def refused(self, person: Person, answer: httpx.Response) -> None:
        error = answer.json().get("error", {})
        expect(
            (answer.status_code, error.get("type"), f"User={person.id}" in error.get("message", "")),
            (422, "budget_exceeded", True),
            f"status, type, and whether the message names the user's budget, in {brief(answer)}",
        )

    def buy(self, person: Person) -> tuple[str, str]:
        packages = self.ok(self.client.get(self.webhook("/api/credits/packages"), headers=bearer(person)))[
            "packages"
        ]
        package = min(packages, key=lambda offered: offered["amount"])
        order = self.client.post(
            self.webhook("/api/credits/checkout"), headers=bearer(person), json={"package_id": package["id"]}
        )
        expect(order.status_code, 201, f"status of the checkout, in {brief(order)}")
        reference = str(order.json()["reference"])
        self.seen(self.client.get(order.json()["authorization_url"]))
        paying = f"{self.env['PAYSTACK_BASE_URL']}/sandbox/transactions/{reference}/pay"
        self.ok(self.client.post(paying))
        return (
            reference,
            f"{package['credits']} credits for {package['amount'] / 100:.2f} {package['currency']}",
        )

    def effective(self, person: Person, reference: str) -> tuple[None, str]:
        def payments() -> list[Json]:
            url = self.webhook("/api/credits/transactions")
            seen = self.ok(self.client.get(url, headers=bearer(person)))["transactions"]
            return [payment for payment in seen if payment["reference"] == reference]

        def done(payments: list[Json]) -> bool:
            return any(payment["timeline"].get("effective") for payment in payments)

        until("the payment's timeline reaches `effective`", payments, done)
        return None, "ordered, webhook, verified, credited, pushed, effective"

    def credited_once(self, person: Person) -> tuple[None, str]:
        entries = [entry for entry in self.rows(person, "credit_ledger") if entry["kind"] == "purchase"]
        expect(len(entries), 1, "number of `purchase` entries in the ledger")
        (profile,) = self.rows(person, "profiles", 1)
        return None, f"{entries[0]['delta']:+} credits, {profile['credits']} now"

    def litellm_user(self, person: Person) -> tuple[None, str]:
        def booked(row: dict[str, Json]) -> bool:
            return float(row["spend"]) > WALLET_DOLLARS

        # More than the first wallet was spent; LiteLLM writes spend to its database every ten seconds or so.
        what = f"the user's spend exceeds {WALLET_DOLLARS} dollars"
        seen = until(what, lambda: self.user_row(person), booked)
        expect(seen["budget_duration"], None, "budget_duration")
        if not seen["max_budget"] > WALLET_DOLLARS:
            raise StoryError(f"expected a max_budget above {WALLET_DOLLARS}, saw {seen['max_budget']}")
        return None, "  ".join(f"{name}={seen[name]}" for name in ("max_budget", "spend", "budget_duration"))

    def equal(self, person: Person, key_id: str) -> tuple[None, str]:
        """What the provider billed is what LiteLLM charged, and what the ledger took from the credits."""
        bill = self.ok(self.client.get(self.bill_url))
        figures = {"bill": int(bill["total_micros"])}

        def billed(micros: int) -> bool:
            return micros == figures["bill"]

        figures["spend"] = until("LiteLLM's spend is the bill", lambda: self.spend_micros(person), billed)
        # The worker books usage every twenty seconds, and whenever it visits LiteLLM for one of the keys.
        visit = {"keyId": key_id, "action": "update"}
        self.ok(self.client.post(self.webhook("/api/keys/sync"), headers=bearer(person), json=visit))
        figures["booked"] = until("the usage booked is the bill", lambda: self.booked_micros(person), billed)
        return None, "  ".join(f"{name}=${micros / 1_000_000:.6f}" for name, micros in figures.items())

    def spend_micros(self, person: Person) -> int:
        return round(float(self.user_row(person)["spend"]) * 1_000_000)

    def booked_micros(self, person: Person) -> int:
        usage = [
            int(entry["delta"]) for entry in self.rows(person, "credit_ledger") if entry["kind"] == "usage"
        ]
        return -sum(usage) * CREDIT_MICROS

    def user_row(self, person: Person) -> dict[str, Json]:
        url = f"{self.env['LITELLM_BASE_URL']}/v2/user/info"
        master = {"Authorization": f"Bearer {self.env['LITELLM_MASTER_KEY']}"}
        return dict(self.ok(self.client.get(url, headers=master, params={"user_id": person.id})))

    # --- requests -----------------------------------------------------------------------------------------

    @property
    def bill_url(self) -> str:
        return f"{self.env['PROVIDER_BASE_URL']}/sandbox/bill"

    def supabase(self, path: str) -> str:
        return self.env["SUPABASE_URL"] + path

    def webhook(self, path: str) -> str:
        return self.env["WEBHOOK_BASE_URL"] + path

    def keyed(self, person: Person | None = None) -> dict[str, str]:
        schema = self.env.get("SUPABASE_SCHEMA", "public")
        profile = {"accept-profile": schema, "content-profile": schema}
        return {"apikey": self.env["SUPABASE_ANON_KEY"], **profile, **(bearer(person) if person else {})}

    def rows(self, person: Person, table: str, expected: int | None = None) -> list[Json]:
        rows = self.ok(
            self.client.get(self.supabase(f"/rest/v1/{table}?select=*"), headers=self.keyed(person))
        )
        if expected is not None:
            expect(len(rows), expected, f"rows in {table}")
        return list(rows)

    def call(self, key: str) -> httpx.Response:
        return self.client.post(
            f"{self.env['LITELLM_BASE_URL']}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json=CALL,
        )

    def ok(self, answer: httpx.Response) -> Json:
        return self.seen(answer).json()

    def seen(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_success:
            raise StoryError(
                f"expected success from {answer.request.method} {answer.url}, saw {brief(answer)}"
            )
        return answer


def bearer(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


def brief(answer: object) -> str:
    text = f"{answer.status_code} {answer.text}" if isinstance(answer, httpx.Response) else str(answer)
    return text if len(text) <= 400 else f"{text[:400]} …"


def brief_keys(rows: list[Json]) -> str:
    return str([{name: row.get(name) for name in ("name", "sync_status", "last_error")} for row in rows])


def expect(seen: object, expected: object, what: str) -> None:
    if seen != expected:
        raise StoryError(f"expected {expected!r} as {what}, saw {seen!r}")


def until(
    what: str, look: Callable[[], T], holds: Callable[[T], bool], brief: Callable[[T], str] = brief
) -> T:
    """Look again and again until it holds; raises StoryError with the last thing seen after a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(seen := look()):
        if time.monotonic() > deadline:
            raise StoryError(f"expected that {what} within {PATIENCE_SECONDS} s, saw {brief(seen)}")
        time.sleep(0.1)
    return seen
