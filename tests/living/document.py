"""An installation of the document that runs: its tables and keys, LiteLLM, Paystack, and no Keyfund yet."""

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from psycopg.rows import dict_row

from dev import supabase
from dev.prepared import REGIMES
from dev.stack import PACKAGES, ROOT, Stack
from tests.living.project import FIXTURES
from tests.support import User, sign_up_at

CALL = {
    "model": "live-large",
    "max_tokens": 496,  # with the eight tokens of the prompt a dollar
    "messages": [{"role": "user", "content": "hello"}],
}
KEPT = ("user_id", "max_budget", "budget_duration", "rpm_limit", "tpm_limit", "allowed_routes", "models")
"""What a takeover changes of a key in LiteLLM, and its end must put back; beside metadata."""


class Document(Stack):
    """The stack before the takeover; ``run_keyfund`` starts the processes after it."""

    def start_parts(self) -> None:
        self.start_part("postgres")
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in (pool.submit(self.start_slow), pool.submit(self.start_quick)):
                done.result()

    def start_quick(self) -> None:
        supabase.clone_database(self.superuser_url("postgres"), REGIMES["locked"], "keyfund")
        supabase.apply_seed(self.env["DATABASE_URL"], FIXTURES / "document.sql")
        for name in ("provider", "supabase", "paystack"):
            self.start_part(name)

    def run_keyfund(self) -> None:
        supabase.apply_seed(self.env["DATABASE_URL"], PACKAGES)
        self.unhurry()
        for name in ("webhook", "worker"):
            self.start_part(name)

    def stop_keyfund(self) -> None:
        for name in ("worker", "webhook"):
            self.stop_part(name)
        self.execute("update keyfund.workers set last_seen = now() - interval '1 hour'")

    # --- the database -------------------------------------------------------------------------------------

    def execute(self, query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.superuser_url("keyfund"), autocommit=True, row_factory=dict_row) as db:
            done = db.execute(query.encode(), values)
            return done.fetchall() if done.description else []

    def value(self, query: str, *values: object) -> Any:
        ((answer,),) = (row.values() for row in self.execute(query, *values))
        return answer

    # --- their people and keys ----------------------------------------------------------------------------

    def sign_up(self) -> User:
        return sign_up_at(self.env)

    def make_key(self, user: User, **limits: object) -> str:
        """As the document's dashboard does: made in LiteLLM, its string kept in the table."""
        body = {"max_budget": 10, "budget_duration": "30d", "rpm_limit": 100, "tpm_limit": 10000, **limits}
        string = str(self.litellm("POST", "/key/generate", json=body)["key"])
        self.execute(
            "insert into public.virtual_keys (user_id, name, litellm_key_id, sync_status) "
            "values (%s, 'Laptop', %s, 'synced')",
            user.id,
            string,
        )
        return string

    def key(self, string: str) -> dict[str, Any]:
        return dict(self.litellm("GET", "/key/info", params={"key": string})["info"])

    def kept(self, string: str) -> dict[str, Any]:
        shown = self.key(string)
        told = {name: shown[name] for name in KEPT}
        return told | {
            "metadata": shown["metadata"],
            "blocked": bool(shown.get("blocked")),
            "parallel": shown.get("max_parallel_requests"),
        }

    def user(self, user_id: str) -> dict[str, Any]:
        return dict(self.litellm("GET", "/v2/user/info", params={"user_id": user_id}))

    def litellm(self, method: str, path: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.master_key}"}
        url = f"{self.env['LITELLM_BASE_URL']}{path}"
        answer = httpx.request(method, url, headers=headers, timeout=60, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def call(self, string: str) -> httpx.Response:
        """A call that costs a dollar."""
        url = f"{self.env['LITELLM_BASE_URL']}/v1/chat/completions"
        return httpx.post(url, headers={"authorization": f"Bearer {string}"}, json=CALL, timeout=60)

    # --- payments -----------------------------------------------------------------------------------------

    def checkout(self, amount: int = 500_000) -> str:
        """A payment that the document's page opened at Paystack, under a reference of its own."""
        reference = f"T{uuid4().hex[:12]}"
        body = {"reference": reference, "email": "buyer@example.com", "amount": amount, "currency": "NGN"}
        self.paystack("/transaction/initialize", body)
        return reference

    def pay(self, reference: str, **more: object) -> None:
        self.paystack(f"/sandbox/transactions/{reference}/pay", more)

    def paystack(self, path: str, body: Mapping[str, object]) -> None:
        headers = {"authorization": f"Bearer {self.paystack_key}"}
        answer = httpx.post(f"{self.env['PAYSTACK_BASE_URL']}{path}", headers=headers, json=body, timeout=60)
        assert answer.is_success, answer.text

    # --- the command --------------------------------------------------------------------------------------

    def takeover(self, *words: str, status: int = 0) -> str:
        return self.keyfund("takeover", *words, status=status)

    def keyfund(self, *words: str, status: int = 0) -> str:
        """Run a command as an operator does; returns what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "keyfund", *words],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr
