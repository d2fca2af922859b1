"""People who signed up with Keyfund, each with a wallet of $10 and a key that its worker made in LiteLLM."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.world import until
from tests.support import Connection, User, sign_up_at

WALLET_MICROS = 10_000_000
UNBOUNDED = {"rpm_limit": 1_000_000, "tpm_limit": 2_000_000_000}
"""No rate limit may hide what the wallet lets through."""

LOOK = (
    "select id::text, litellm_key_id from public.virtual_keys where sync_status = 'synced' and id = any(%s)"
)
BOOKED = "select account_id::text, booked_micros from keyfund.wallets where account_id = any(%s)"


@dataclass(frozen=True)
class Customer:
    """Somebody with money, and the string of a key."""

    user: User
    key: str
    key_id: str

    @property
    def id(self) -> str:
        return self.user.id


class Registry:
    """Signs people up with one stack, many at a time."""

    def __init__(self, env: Mapping[str, str], db: Connection) -> None:
        self.env, self.db = env, db
        self.waiting: list[Customer] = []

    def one(self, **limits: Any) -> Customer:
        (customer,) = self.some(1, **limits)
        return customer

    def some(self, count: int, **limits: Any) -> list[Customer]:
        """So many new customers, whose keys LiteLLM has confirmed."""
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: self.made(limits), range(count)))
        keys = dict(until(lambda: self.synced(row["id"] for _, row in made), what="the keys are synced"))
        return [Customer(user, keys[row["id"]], row["id"]) for user, row in made]

    def made(self, limits: Mapping[str, Any]) -> tuple[User, dict[str, Any]]:
        user = sign_up_at(self.env)
        answer = httpx.post(
            f"{self.env['SUPABASE_URL']}/rest/v1/rpc/create_virtual_key",
            headers={"apikey": self.env["SUPABASE_ANON_KEY"], "authorization": f"Bearer {user.token}"},
            json={"name": "Key", **UNBOUNDED, **limits},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return user, answer.json()

    def synced(self, ids: Iterable[str]) -> list[tuple[str, str]]:
        """All of them, or none yet."""
        wanted = list(ids)
        rows = self.db.execute(LOOK, [wanted]).fetchall()
        return rows if len(rows) == len(wanted) else []

    def fresh(self, batch: int = 8, **limits: Any) -> Iterator[Customer]:
        """Customers one after the other, signed up in batches."""
        while True:
            yield from self.some(batch, **limits)

    def booked_micros(self, customers: Iterable[Customer]) -> dict[str, int]:
        """What Keyfund has booked as usage of each."""
        return dict(self.db.execute(BOOKED, [[one.id for one in customers]]).fetchall())
