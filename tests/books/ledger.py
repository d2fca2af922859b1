"""Thousands of accounts that agree everywhere, and hands to break one of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from dev.stack import ROOT, Stack
from tests.support import Connection

Json = dict[str, Any]
PURCHASE_EVERY = 50
PRICE = 1_600_000

SIGN_UPS = """
    insert into auth.users (id, aud, role, email, email_confirmed_at)
    select md5('account ' || n)::uuid, 'authenticated', 'authenticated', 'account-' || n || '@example.com',
      now() from generate_series(1, %s) n"""

KEYS = """
    insert into public.virtual_keys (user_id, name, cap, state)
    select id, 'Key', 'wallet', 'active' from public.profiles where id in (
      select md5('account ' || n)::uuid from generate_series(1, %s) n)"""

USAGE = """
    do $$
    declare
      v_account record;
    begin
      for v_account in
        select account_id, row_number() over (order by account_id) * 7919 %% 9000000 as spent
        from keyfund.wallets
      loop
        perform keyfund.book_usage(w, v_account.spent)
        from keyfund.wallets w where w.account_id = v_account.account_id;
      end loop;
    end;
    $$"""

PUSHED = (
    "update keyfund.pushes set confirmed_revision = revision, confirmed_at = now(), next_attempt_at = null",
    """update public.virtual_keys set sync_status = 'synced', confirmed_revision = revision,
       confirmed_at = now(), last_synced_at = now(), next_attempt_at = null where state <> 'placeholder'""",
)

HELD = """
    select w.account_id::text, keyfund.budget_micros(w) / 1000000.0, w.seen_micros / 1000000.0, k.key_hash
    from keyfund.wallets w join public.virtual_keys k on k.account_id = w.account_id and k.state = 'active'"""


@dataclass
class Ledger:
    """Accounts are called by their number, from 1."""

    stack: Stack
    db: Connection
    litellm: Connection
    accounts: int = 0
    references: list[str] = field(default_factory=list)

    def fill(self, accounts: int) -> None:
        """Sign up, buy, refund, spend and push, all at once, leaving nothing to be done."""
        self.accounts = accounts
        self.db.execute(SIGN_UPS.encode(), [accounts])
        self.db.execute(KEYS.encode(), [accounts])
        self.references = [self.buy(number) for number in range(1, accounts + 1, PURCHASE_EVERY)]
        for number, reference in enumerate(self.references):
            if number % 4 == 0:
                self.refund(reference, PRICE // 3)
        self.db.execute(USAGE.replace("%%", "%").encode())
        with self.by_hand():
            for query in PUSHED:
                self.db.execute(query.encode())
        self.tell_litellm()
        # Others sell things on the same Paystack account.
        self.paystack("/sandbox/charges", amount=4_000, currency="NGN", deliver=False)

    def id(self, number: int) -> str:
        row = self.db.execute("select md5('account ' || %s)::uuid::text", [number]).fetchone()
        assert row is not None
        return str(row[0])

    def buy(self, number: int) -> str:
        """An order that is paid at Paystack and credited here."""
        reference = self.order(number)
        paid = self.paystack(f"/sandbox/transactions/{reference}/pay", deliver=False)["event"]["data"]
        self.call("select public.credit_payment(%s, %s, %s, 'NGN')", reference, paid["id"], paid["amount"])
        return reference

    def order(self, number: int) -> str:
        """An order that Paystack knows of."""
        order = self.call("select public.open_order(%s, 'starter-ngn')", self.id(number))
        reference = str(order["reference"])
        self.paystack("/transaction/initialize", reference=reference, email=order["email"], amount=PRICE)
        return reference

    def refund(self, reference: str, amount: int) -> None:
        self.paystack(f"/sandbox/transactions/{reference}/refund", amount=amount, deliver=False)
        self.call("select public.record_reversals(%s, %s, '[]')", reference, amount)

    def tell_litellm(self) -> None:
        """LiteLLM's tables as its own flushes would leave them."""
        rows = self.db.execute(HELD.encode()).fetchall()
        with self.litellm.cursor() as cursor:
            cursor.executemany(
                'insert into "LiteLLM_UserTable" (user_id, max_budget, spend) values (%s, %s, %s)',
                [row[:3] for row in rows],
            )
            cursor.executemany(
                'insert into "LiteLLM_VerificationToken" (token, key_name, user_id) values (%s, %s, %s)',
                [(digest, "sk-...", user_id) for user_id, _, _, digest in rows],
            )

    # ------------------------------------------------------------------ hands

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """What is done in here no trigger sees."""
        self.db.execute("set session_replication_role = replica")
        try:
            yield
        finally:
            self.db.execute("set session_replication_role = origin")

    @contextmanager
    def broken(self, *changes: tuple[str, str]) -> Iterator[None]:
        """Rows as they should not be: each change is a statement, and what undoes it."""
        with self.by_hand():
            for change, _ in changes:
                assert self.db.execute(change.encode()).rowcount == 1, change
        yield
        with self.by_hand():
            for _, undo in changes:
                assert self.db.execute(undo.encode()).rowcount == 1, undo

    def call(self, query: str, *arguments: object) -> Any:
        row = self.db.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row[0]

    def paystack(self, path: str, **body: object) -> Json:
        answer = httpx.post(
            f"{self.stack.env['PAYSTACK_BASE_URL']}{path}",
            headers={"Authorization": f"Bearer {self.stack.env['PAYSTACK_SECRET_KEY']}"},
            json=body,
            timeout=30,
        )
        assert answer.status_code < 300, answer.text
        told: Json = answer.json()
        return told

    # ---------------------------------------------------------------- command

    def reconcile(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "operate", "reconcile", *options],
            cwd=ROOT,
            env=self.stack.env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def report(self, *statuses: int) -> Json:
        """What the command says as JSON, after it ended with this status, or one of these."""
        ended = self.reconcile("--json")
        assert ended.returncode in statuses, ended.stdout + ended.stderr
        told: Json = json.loads(ended.stdout)
        return told
