"""Pictures of the dashboard for the documents: ``python -m dev.screenshots`` writes docs/dashboard/*.png.

A stack of its own, a person with four keys, real calls and a payment in the sandbox. Only their times are
made up: the calls of the last seconds are spread over the last weeks, in LiteLLM's days and in the ledger.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from playwright.sync_api import Page, sync_playwright

from dev.browser import browser
from dev.stack import ROOT, Stack

PICTURES = ROOT / "docs" / "dashboard"
EMAIL, PASSWORD = "ada@example.com", "a password for pictures"
CALLS = {
    "laptop": {"mock-small": 60, "mock-large": 14},
    "website": {"mock-large": 62, "mock-small": 40},
    "notebook": {"mock-small": 30, "mock-large": 6},
    "old script": {},
}
CAPS = {"laptop": 500, "website": 1500, "notebook": None, "old script": 200}
PROMPTS = {"mock-small": "Why? " * 900, "mock-large": "Hello"}  # so that both cost something that can be seen
DAYS = 24
WEIGHTS = [5, 6, 4, 7, 8, 2, 1, 6, 7, 9, 8, 7, 3, 2, 8, 9, 7, 10, 9, 4, 3, 9, 11, 8]
AT_DESK = {"width": 1280, "height": 860}
ON_PHONE = {"width": 390, "height": 844}
COUNTS = ("prompt_tokens", "completion_tokens", "api_requests", "successful_requests")

Json = dict[str, Any]


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with Stack(ROOT / ".stack" / "screenshots") as stack, httpx.Client(timeout=60) as client:
        Life(stack, client).live()
        shoot(stack)


class Life:
    """What the person did before the pictures."""

    def __init__(self, stack: Stack, client: httpx.Client) -> None:
        self.stack, self.env, self.client = stack, stack.env, client
        signed_up = client.post(
            f"{self.env['SUPABASE_URL']}/auth/v1/signup",
            headers={"apikey": self.env["SUPABASE_ANON_KEY"]},
            json={"email": EMAIL, "password": PASSWORD},
        ).json()
        self.id, self.token = signed_up["user"]["id"], signed_up["access_token"]

    def live(self) -> None:
        for name in reversed(CALLS):
            cap = {} if CAPS[name] is None else {"max_budget": CAPS[name]}
            made = self.api("POST", "/api/keys/manage", name=name, rpm_limit=1000, tpm_limit=1_000_000, **cap)
            if not CALLS[name]:
                self.api("PATCH", f"/api/keys/manage/{made['id']}", blocked=True)
        keys = until(self.synced_keys)
        checkout = self.api("POST", "/api/credits/checkout", package_id="starter-usd")
        self.client.post(f"{self.env['PAYSTACK_BASE_URL']}/sandbox/transactions/{checkout['reference']}/pay")
        until(
            lambda: self.api("GET", "/api/credits/transactions")["transactions"][0]["timeline"]["effective"]
        )
        with ThreadPoolExecutor(6) as pool:
            calls = [
                (keys[name], model) for name, of in CALLS.items() for model, n in of.items() for _ in range(n)
            ]
            list(pool.map(self.call, calls))
        with psycopg.connect(self.stack.superuser_url("litellm"), autocommit=True) as litellm:
            until(lambda: self.counted(litellm) == len(calls))
            self.spread_days(litellm)
        with psycopg.connect(self.stack.superuser_url("keyfund"), autocommit=True) as keyfund:
            query = "select id from public.credit_ledger where account_id = %s and kind = 'usage'"
            until(lambda: keyfund.execute(query, [self.id]).fetchone(), seconds=90)
            self.spread_ledger(keyfund)

    def api(self, method: str, path: str, **body: Any) -> Json:
        answer = self.client.request(
            method,
            f"{self.env['WEBHOOK_BASE_URL']}{path}",
            headers={"authorization": f"Bearer {self.token}"},
            json=body or None,
        )
        told: Json = answer.raise_for_status().json()
        return told

    def synced_keys(self) -> dict[str, str] | None:
        keys = self.api("GET", "/api/keys/manage")["keys"]
        if any(key["sync_status"] != "synced" for key in keys):
            return None
        return {key["name"]: key["litellm_key_id"] for key in keys}

    def call(self, what: tuple[str, str]) -> None:
        key, model = what
        answer = self.client.post(
            f"{self.env['LITELLM_BASE_URL']}/v1/chat/completions",
            headers={"authorization": f"Bearer {key}"},
            json={
                "model": model,
                "max_tokens": 20,
                "messages": [{"role": "user", "content": PROMPTS[model]}],
            },
        )
        if answer.status_code != 200:
            raise RuntimeError(answer.text)

    # ------------------------------------------------------------------ made-up times

    def counted(self, litellm: psycopg.Connection) -> int:
        row = litellm.execute(
            'select coalesce(sum(successful_requests), 0) from "LiteLLM_DailyUserSpend" where user_id = %s',
            [self.id],
        ).fetchone()
        return int(row[0]) if row else 0

    def spread_days(self, litellm: psycopg.Connection) -> None:
        query = 'select to_jsonb(d) from "LiteLLM_DailyUserSpend" d where user_id = %s'
        for number, (row,) in enumerate(litellm.execute(query, [self.id]).fetchall()):
            litellm.execute('delete from "LiteLLM_DailyUserSpend" where id = %s', [row["id"]])
            weights = WEIGHTS[number:] + WEIGHTS[:number]
            parts = {name: split(row[name], weights) for name in COUNTS}
            for back in range(DAYS):
                if not parts["successful_requests"][back]:
                    continue
                share = parts["successful_requests"][back] / row["successful_requests"]
                copy = row | {name: part[back] for name, part in parts.items()}
                copy |= {"id": str(uuid4()), "date": day(back), "spend": row["spend"] * share}
                litellm.execute(
                    'insert into "LiteLLM_DailyUserSpend" '
                    'select (jsonb_populate_record(null::"LiteLLM_DailyUserSpend", %s)).*',
                    [json.dumps(copy)],
                )

    def spread_ledger(self, keyfund: psycopg.Connection) -> None:
        began = datetime.now(UTC) - timedelta(days=DAYS + 2)
        with keyfund.transaction():
            keyfund.execute("set local session_replication_role = replica")  # the ledger refuses changes
            keyfund.execute("update public.profiles set created_at = %s where id = %s", [began, self.id])
            keyfund.execute("update keyfund.accounts set created_at = %s where id = %s", [began, self.id])
            keyfund.execute(
                "update public.credit_ledger set created_at = "
                "case kind when 'signup_grant' then %s::timestamptz else %s::timestamptz end "
                "where account_id = %s and kind <> 'usage'",
                [began, began + timedelta(days=9), self.id],
            )
            (used,) = keyfund.execute(
                "with gone as (delete from public.credit_ledger where account_id = %s and kind = 'usage' "
                "returning delta) select -sum(delta) from gone",
                [self.id],
            ).fetchone() or (0,)
            balance = 500
            for back, part in reversed(list(enumerate(split(int(used), WEIGHTS)))):
                balance += 500 if back == DAYS - 8 else 0
                balance -= part
                if part:
                    keyfund.execute(
                        "insert into public.credit_ledger "
                        "(account_id, delta, kind, cause, balance_after, created_at) "
                        "values (%s, %s, 'usage', %s, %s, %s)",
                        [
                            self.id,
                            -part,
                            f"usage:{uuid4()}",
                            balance,
                            datetime.now(UTC) - timedelta(days=back),
                        ],
                    )


def split(total: int, weights: list[int]) -> list[int]:
    """Shares by weight that add up to the total."""
    whole, parts, given, so_far = sum(weights), list[int](), 0, 0
    for weight in weights:
        so_far += weight
        part = total * so_far // whole - given
        parts.append(part)
        given += part
    return parts


def day(back: int) -> str:
    return (datetime.now(UTC) - timedelta(days=back)).date().isoformat()


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s; last seen: {seen!r}")
        time.sleep(0.2)
    return seen


# ----------------------------------------------------------------------------------- pictures


def shoot(stack: Stack) -> None:
    ours = browser(ROOT)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=ours.executable, args=list(ours.args), env=dict(ours.env)
        )
        for theme in ("light", "dark"):
            for where, size, views in (("desk", AT_DESK, ("Keys", "Usage")), ("phone", ON_PHONE, ("Keys",))):
                context = chromium.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
                page = context.new_page()
                sign_in(page, stack.env["WEBHOOK_BASE_URL"])
                for view in views:
                    show(page, view)
                    page.screenshot(
                        path=PICTURES / f"{view.lower()}-{where}-{theme}.png", full_page=where == "desk"
                    )
                context.close()
        chromium.close()


def sign_in(page: Page, address: str) -> None:
    page.goto(f"{address}/analytics")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", level=1, name="Keys").wait_for()


def show(page: Page, view: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()
    page.get_by_role("heading", level=1, name=view).wait_for()
    page.wait_for_load_state("networkidle")
    page.locator(".skeleton").first.wait_for(state="detached")
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
