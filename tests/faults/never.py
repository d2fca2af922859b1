"""What may never happen (domain.md), as far as it can be seen from outside."""

import hashlib
from typing import Any
from urllib.parse import quote

from tests.integration.world import Json, World
from tests.support import User

CREDIT_DOLLARS = 0.02


def assert_never_lines(world: World, users: list[User]) -> None:
    """For accounts on which nothing is under way: raises with every line that does not hold."""
    strings = secrets_of(world, users)
    wrong = [line for user in users for line in broken_lines(world, user)] + leaks(world, strings)
    assert not wrong, "\n".join(wrong)


def broken_lines(world: World, user: User) -> list[str]:
    """What is wrong with one account; empty when all is well."""
    checks = (ledger_lines, payment_lines, paid_lines, wallet_lines, key_lines, own_lines)
    return [f"{user.email}: {line}" for check in checks for line in check(world, user)]


def rows(world: World, query: str, *values: object) -> list[tuple[Any, ...]]:
    return world.db.execute(query, values).fetchall()


def ledger_lines(world: World, user: User) -> list[str]:
    """Line 1: a credit appears or vanishes with an entry with a cause, or not at all."""
    entries = rows(
        world,
        "select delta, balance_after, cause from public.credit_ledger where user_id = %s order by id",
        user.id,
    )
    (credits,) = rows(world, "select credits from public.profiles where id = %s", user.id)[0]
    balance, wrong = 0, []
    for delta, after, cause in entries:
        balance += delta
        if after != balance:
            wrong.append(f"entry {cause}: balance_after {after}, sum {balance}")
    if credits != balance:
        wrong.append(f"profiles.credits {credits}, sum of the ledger {balance}")
    return wrong


def payment_lines(world: World, user: User) -> list[str]:
    """Line 2: a payment counts once; and nothing is granted for one that is none."""
    paid = rows(
        world,
        "select t.reference, t.credits, t.credited_at is not null, count(l.id), coalesce(sum(l.delta), 0)"
        " from public.transactions t left join public.credit_ledger l"
        " on l.cause = 'purchase:' || t.reference where t.user_id = %s group by t.id",
        user.id,
    )
    wrong = [
        f"{reference} (credited: {credited}) has {entries} purchase entries of {total} credits"
        for reference, credits, credited, entries, total in paid
        if (entries, total) != ((1, credits) if credited else (0, 0))
    ]
    (purchases,) = rows(
        world,
        "select count(*) from public.credit_ledger where user_id = %s and kind = 'purchase'",
        user.id,
    )[0]
    if purchases != sum(entries for *_, entries, _ in paid):
        wrong.append(f"{purchases} purchase entries for {len(paid)} orders")
    return wrong


def paid_lines(world: World, user: User) -> list[str]:
    """Line 3: what Paystack says is paid is credited, or shown to someone."""
    orders = rows(world, "select reference, status from public.transactions where user_id = %s", user.id)
    return [
        f"{reference} is paid, but {status}"
        for reference, status in orders
        if status not in ("success", "needs_review", "reversed") and is_paid(world, reference)
    ]


def is_paid(world: World, reference: str) -> bool:
    answer = world.http.get(
        f"{world.env['PAYSTACK_BASE_URL']}/transaction/verify/{quote(reference)}",
        headers={"Authorization": f"Bearer {world.env['PAYSTACK_SECRET_KEY']}"},
    )
    return answer.status_code == 200 and answer.json()["data"]["status"] == "success"


def wallet_lines(world: World, user: User) -> list[str]:
    """Line 4: LiteLLM's user row is the wallet, for life; without keys it need not be there yet."""
    wallet, booked, seen = rows(
        world,
        "select wallet_credits, booked_micros, seen_micros from keyfund.wallets where account_id = %s",
        user.id,
    )[0]
    answer = world.litellm("GET", "/v2/user/info", params={"user_id": user.id})
    if answer.status_code == 404:
        return ["keys without a user row in LiteLLM"] if listed(world, user) else []
    row = answer.json()
    wanted = max(0.0, wallet * CREDIT_DOLLARS - (booked - seen) / 1_000_000)
    wrong = []
    if row["max_budget"] is None or abs(row["max_budget"] - wanted) > 1e-6:
        wrong.append(f"LiteLLM's wallet is {row['max_budget']}, {wanted} by the ledger")
    if row["budget_duration"] is not None or row["user_role"] in ("proxy_admin", "proxy_admin_viewer"):
        wrong.append(f"the wallet resets or is not enforced: {row['budget_duration']} {row['user_role']}")
    return wrong


def key_lines(world: World, user: User) -> list[str]:
    """Line 4 again: exactly one key in LiteLLM per row, with the row's limits, and live only if it may be."""
    wanted = {row["key_hash"]: row for row in key_rows(world, user)}
    found = {key["token"]: key for key in listed(world, user)}
    strangers = [f"LiteLLM has a key {token[:8]} of no row" for token in found.keys() - wanted.keys()]
    missing = [
        f"key {row['name']} ({row['state']}) is not in LiteLLM"
        for token, row in wanted.items()
        if token not in found and row["state"] != "revoked"
    ]
    differing = [
        line for token in found.keys() & wanted.keys() for line in other(wanted[token], found[token])
    ]
    return strangers + missing + differing


def other(row: Json, key: Json) -> list[str]:
    """How LiteLLM's key differs from its row."""
    if row["state"] != "active":
        return [] if key["blocked"] else [f"key {row['name']} is {row['state']}, but lives in LiteLLM"]
    limits = ("user_id", "rpm_limit", "tpm_limit", "budget_duration")
    have = [*(key[name] for name in limits), key.get("team_id"), bool(key["blocked"]), cents(key)]
    want = [*(row[name] for name in limits), None, False, row["max_budget"]]
    return [] if have == want else [f"key {row['name']}: LiteLLM has {have}, wanted {want}"]


def cents(key: Json) -> int | None:
    return None if key["max_budget"] is None else round(key["max_budget"] * 100)


def key_rows(world: World, user: User) -> list[Json]:
    found = rows(
        world,
        # The cap that LiteLLM must hold: less what former strings spent.
        "select to_jsonb(k) || jsonb_build_object('max_budget', keyfund.cap_cents(k))"
        " from public.virtual_keys k where user_id = %s and state <> 'placeholder'",
        user.id,
    )
    return [row for (row,) in found]


def listed(world: World, user: User) -> list[Json]:
    answer = world.litellm(
        "GET", "/key/list", params={"user_id": user.id, "return_full_object": "true", "size": 100}
    )
    keys: list[Json] = answer.json()["keys"]
    return keys


def own_lines(world: World, user: User) -> list[str]:
    """Line 5: a user reads their own rows and nobody else's."""
    wrong = []
    for table in ("profiles", "virtual_keys", "transactions", "credit_ledger"):
        owner = "id" if table == "profiles" else "user_id"
        seen = world.rest(user, "GET", f"/{table}?select={owner}").json()
        if any(row[owner] != user.id for row in seen):
            wrong.append(f"sees others' {table}")
    return wrong


def secrets_of(world: World, users: list[User]) -> list[str]:
    keys = [row["litellm_key_id"] for user in users for row in key_rows(world, user)]
    names = ("LITELLM_MASTER_KEY", "PAYSTACK_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET")
    return [key for key in keys if key] + [world.env[name] for name in names if name in world.env]


def leaks(world: World, strings: list[str]) -> list[str]:
    """Line 6: no secret in a log of ours."""
    logs = world.stack.logs.glob("*.log")
    ours = [path for path in logs if "webhook" in path.name or "worker" in path.name]
    texts = {path.name: path.read_text(errors="replace") for path in ours}
    return [
        f"{name} holds a secret ({hashlib.sha256(string.encode()).hexdigest()[:8]})"
        for name, text in texts.items()
        for string in strings
        if string in text
    ]
