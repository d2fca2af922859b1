"""How a person with a browser's debugger could get free credits or somebody else's rows, at Supabase alone."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from tests.hostile.bare import Bare, Json, unbalanced
from tests.hostile.tokens import Issuer
from tests.support import User

GRANT = 500


def at_once(calls: list[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """All of these, side by side."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def grants(bare: Bare, *user_ids: str) -> int:
    """Credits granted at sign-up to these accounts together."""
    total = bare.value(
        "select coalesce(sum(delta), 0) from public.credit_ledger where kind = 'signup_grant' and user_id = any(%s)",
        list(user_ids),
    )
    return int(total)


def change_user(bare: Bare, user_id: str, **columns: object) -> None:
    """What GoTrue does in its own table when a person changes something of theirs."""
    assignments = ", ".join(f"{name} = %s" for name in columns)
    with bare.db.transaction():
        bare.db.execute("set local role supabase_auth_admin")
        bare.db.execute(
            f"update auth.users set {assignments} where id = %s".encode(), [*columns.values(), user_id]
        )


def delete_user(bare: Bare, user_id: str) -> None:
    with bare.db.transaction():
        bare.db.execute("set local role supabase_auth_admin")
        bare.db.execute("delete from auth.users where id = %s", [user_id])


def unique() -> str:
    return uuid4().hex[:10]


# --- one grant per person -------------------------------------------------------------------------------------


def test_one_mailbox_in_many_spellings_is_granted_once_even_at_once(bare: Bare) -> None:
    name = unique()
    spellings = [
        f"{name}@gmail.com", f"{name}+1@gmail.com", f"{name[0]}.{name[1:]}@gmail.com",
        f"{name.upper()}@gmail.com", f"{name}@googlemail.com", f"{name}+a+b@GoogleMail.com",
        f"{'.'.join(name)}@gmail.com", f"{name}+@gmail.com", f"{name.title()}+x.y@Gmail.Com",
    ]  # fmt: skip
    answers = at_once([lambda one=one: bare.try_sign_up(one) for one in spellings])  # type: ignore[misc]
    made = [answer.json()["user"]["id"] for answer in answers if answer.status_code == 200]
    assert len(made) >= 7
    assert grants(bare, *made) == GRANT
    assert unbalanced(bare.db) == []


def test_a_spelling_with_blanks_or_odd_signs_is_no_new_person(bare: Bare) -> None:
    name = unique()
    first = bare.sign_up(f"{name}@example.com").id
    spellings = [f" {name}@example.com", f"{name}@example.com ", f"{name}@EXAMPLE.com", f"{name.upper()}@example.com",
                 f"{name}+1@example.com", f"\t{name}@example.com", f"{name}@example.com\n", f"{name}@example.com\0"]  # fmt: skip
    answers = [bare.try_sign_up(one) for one in spellings]
    assert all(answer.status_code < 500 for answer in answers[:-1])
    made = [answer.json()["user"]["id"] for answer in answers if answer.status_code == 200]
    assert grants(bare, first, *made) == GRANT


def test_changing_the_address_back_and_forth_grants_nothing_more(bare: Bare) -> None:
    first, second = f"{unique()}@example.com", f"{unique()}@example.com"
    user = bare.sign_up(first)
    for address in (second, first, f"{unique()}@example.com", second):
        change_user(bare, user.id, email=address)
        bare.rest(user, "PUT", "/../../auth/v1/user", json={"email": first})
    assert bare.credits(user.id) == GRANT
    # The first address is free now, but it has been granted: whoever takes it up again is granted nothing.
    assert bare.credits(bare.sign_up(first).id) == 0


def test_an_account_that_was_refused_a_grant_gets_none_by_another_address(bare: Bare) -> None:
    address = f"{unique()}@gmail.com"
    bare.sign_up(address)
    again = bare.sign_up(
        f"x+{unique()}@example.com".replace("x+", address.split("@", maxsplit=1)[0] + "+").replace(
            "example.com", "gmail.com"
        )
    )
    assert bare.credits(again.id) == 0
    for _ in range(3):
        change_user(bare, again.id, email=f"{unique()}@example.com")
        bare.rpc(again, "create_virtual_key")
    assert bare.credits(again.id) == 0


def test_deleting_and_coming_back_grants_nothing(bare: Bare) -> None:
    address = f"{unique()}@example.com"
    for round_ in range(3):
        user = bare.sign_up(address)
        assert bare.credits(user.id) == (GRANT if round_ == 0 else 0)
        key = bare.key(user)
        delete_user(bare, user.id)
        for function, arguments in (
            ("create_virtual_key", {}), ("unblock_virtual_key", {"key_id": key["id"]}), ("update_virtual_key", {"key_id": key["id"], "max_budget": 10**6}),
        ):  # fmt: skip
            answer = bare.rpc(user, function, **arguments)  # the token lives on for an hour
            assert answer.status_code in (403, 404, 409), answer.text
    remembered = bare.db.execute(
        "select count(*) from public.profiles where email = %s", [address]
    ).fetchone()
    assert remembered == (0,)


def test_an_anonymous_person_is_granted_when_they_convert_and_once(bare: Bare) -> None:
    address = f"{unique()}@example.com"
    ids = [str(uuid4()) for _ in range(3)]
    for user_id in ids:
        bare.db.execute("insert into auth.users (id, is_anonymous) values (%s, true)", [user_id])
        assert bare.credits(user_id) == 0
    confirmed = {"email_confirmed_at": "2026-11-24"}
    change_user(bare, ids[0], email=address, **confirmed)  # not converted while it still says anonymous
    assert bare.credits(ids[0]) == 0
    change_user(bare, ids[0], is_anonymous=False)
    assert bare.credits(ids[0]) == GRANT
    for user_id, spelling in zip(ids[1:], (address.upper(), address.replace("@", "+2@")), strict=True):
        change_user(bare, user_id, email=spelling, is_anonymous=False, **confirmed)
        assert bare.credits(user_id) == 0
    change_user(bare, ids[0], is_anonymous=True, email=None)
    change_user(bare, ids[0], is_anonymous=False, email=f"{unique()}@example.com")
    assert bare.credits(ids[0]) == GRANT


def test_what_is_put_into_a_sign_up_changes_nothing(bare: Bare) -> None:
    victim = bare.sign_up()
    wishes: list[dict[str, Any]] = [
        {
            "data": {
                "credits": 10**9,
                "role": "service_role",
                "is_admin": True,
                "sub": victim.id,
                "email": victim.email,
            }
        },
        {"role": "service_role", "app_metadata": {"role": "service_role"}, "is_super_admin": True},
        {
            "id": victim.id,
            "aud": "admin",
            "email_confirmed_at": "2020-01-01",
            "raw_app_meta_data": {"provider": "x"},
        },
        {"phone": "+10000000000", "is_anonymous": False, "user_metadata": {"credits": 1}},
        {"data": {"a": "x" * 5_000}},
        {"data": {"\u0000": "\u0000"}},
        {"data": "'; drop table public.profiles; --"},
    ]
    for wish in wishes:
        answer = bare.try_sign_up(None, **wish)
        if answer.status_code != 200:
            continue
        body = answer.json()
        claims = jwt.decode(body["access_token"], options={"verify_signature": False})
        assert (claims["role"], claims["aud"]) == ("authenticated", "authenticated"), wish
        assert claims["sub"] not in (victim.id, "")
        assert bare.credits(claims["sub"]) == GRANT, wish
        user = User(claims["sub"], "", "", body["access_token"])
        assert [row["id"] for row in bare.rest(user, "GET", "/profiles?select=id").json()] == [user.id]


def test_what_a_user_writes_into_their_own_metadata_gives_no_right(bare: Bare) -> None:
    user = bare.sign_up()
    wish = {"role": "service_role", "is_admin": True, "sub": str(uuid4())}
    for body in ({"data": wish}, {"app_metadata": wish}, {"role": "service_role"}, {"user_metadata": wish}):
        bare.http.put(f"{bare.url}/auth/v1/user", headers=bare.headers(user), json=body)
    session = httpx.post(  # not kept as evidence: it shows a token to whoever has the password
        f"{bare.url}/auth/v1/token?grant_type=password",
        headers={"apikey": bare.keys.publishable},
        json={"email": user.email, "password": user.password},
    ).json()
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["role"], claims["aud"]) == (user.id, "authenticated", "authenticated")
    again = bare.evidence.meet(User(user.id, user.email, user.password, session["access_token"]))
    assert bare.rpc(again, "is_administrator").json() is False
    assert (
        bare.rpc(
            again, "adjust_credits", account_id=user.id, credits=10, reason="x", adjustment_id="x"
        ).status_code
        == 403
    )


def test_claims_that_a_token_may_carry_make_nobody_an_administrator(bare: Bare) -> None:
    """Rightly signed, as a custom access token hook could make them: rights come from the table alone."""
    user, victim = bare.sign_up(), bare.sign_up()
    issuer = Issuer(bare.keys.jwt_secret, bare.url)
    claims: list[Json] = [
        {"app_metadata": {"role": "admin", "is_administrator": True}}, {"user_role": "admin"},
        {"is_administrator": True}, {"user_metadata": {"role": "service_role"}}, {"user_id": victim.id},
        {"email": victim.email}, {"aal": "aal3", "admin": True},
    ]  # fmt: skip
    for more in claims:
        dressed = User(user.id, user.email, "", issuer.sign(user, **more))
        assert bare.rpc(dressed, "is_administrator").json() is False
        assert [row["id"] for row in bare.rest(dressed, "GET", "/profiles?select=id").json()] == [user.id]
        assert (
            bare.rpc(dressed, "decide_review", reference="kf-x", accept=True, reason="x").status_code == 403
        )


@pytest.mark.parametrize(
    "subject", ["", "x", "null", "' or 1=1 --", "00000000-0000-0000-0000-000000000000", "\0", "é" * 99]
)
def test_a_subject_that_is_nobody_reaches_nothing(bare: Bare, subject: str) -> None:
    issuer = Issuer(bare.keys.jwt_secret, bare.url)
    nobody = User(subject, "", "", issuer.sign(User(subject, "", "", "")))
    for table in ("profiles", "virtual_keys", "transactions", "credit_ledger"):
        answer = bare.rest(nobody, "GET", f"/{table}")
        assert answer.status_code < 500, answer.text
        assert not answer.is_success or answer.json() == []
    made = bare.rpc(nobody, "create_virtual_key")
    assert made.status_code in (400, 401, 403), made.text


# --- races over keys -----------------------------------------------------------------------------------------


def test_twenty_first_creates_at_once_take_the_placeholder_once(bare: Bare) -> None:
    user = bare.sign_up()
    answers = at_once([lambda: bare.rpc(user, "create_virtual_key", name="Race")] * 20)
    assert {answer.status_code for answer in answers} == {200}
    made = [answer.json() for answer in answers]
    assert len({row["id"] for row in made}) == len({row["litellm_key_id"] for row in made}) == 20
    states = bare.db.execute("select state from public.virtual_keys where user_id = %s", [user.id]).fetchall()
    assert states == [("active",)] * 20
    assert {row["max_budget"] for row in made} == {1000}


def test_the_limit_of_keys_holds_for_creates_at_once(bare: Bare) -> None:
    user = bare.sign_up()
    bare.db.execute("update keyfund.settings set keys_per_account = 5")
    try:
        answers = at_once([lambda: bare.rpc(user, "create_virtual_key")] * 20)
    finally:
        bare.db.execute("update keyfund.settings set keys_per_account = default")
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [409] * 15


def test_a_key_that_was_revoked_in_a_race_never_comes_back(bare: Bare) -> None:
    user = bare.sign_up()
    for _ in range(5):
        key_id = bare.key(user)["id"]
        calls: list[Callable[[], httpx.Response]] = [
            lambda key_id=key_id: bare.rpc(user, "block_virtual_key", key_id=key_id),  # type: ignore[misc]
            lambda key_id=key_id: bare.rpc(user, "unblock_virtual_key", key_id=key_id),  # type: ignore[misc]
            lambda key_id=key_id: bare.rpc(user, "update_virtual_key", key_id=key_id, max_budget=1),  # type: ignore[misc]
            lambda key_id=key_id: bare.rpc(user, "resync_virtual_key", key_id=key_id),  # type: ignore[misc]
            lambda key_id=key_id: bare.rpc(user, "revoke_virtual_key", key_id=key_id),  # type: ignore[misc]
        ]
        answers = at_once(calls * 3)
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert bare.value("select state from public.virtual_keys where id = %s", key_id) == "revoked"
        assert bare.rpc(user, "unblock_virtual_key", key_id=key_id).status_code == 409


def test_what_an_administrator_blocked_its_owner_never_frees(bare: Bare) -> None:
    user = bare.sign_up()
    key_id = bare.key(user)["id"]
    bare.db.execute(
        "update public.virtual_keys set state = 'blocked', blocked_by = 'administrator' where id = %s",
        [key_id],
    )
    functions = ["block_virtual_key", "unblock_virtual_key", "resync_virtual_key", "update_virtual_key"]
    at_once([lambda name=name: bare.rpc(user, name, key_id=key_id) for name in functions * 5])  # type: ignore[misc]
    bare.rpc(user, "create_virtual_key")
    row = bare.db.execute(
        "select state, blocked_by from public.virtual_keys where id = %s", [key_id]
    ).fetchone()
    assert row == ("blocked", "administrator")


def test_a_suspended_account_makes_no_key_and_no_order_and_has_no_wallet(bare: Bare) -> None:
    user = bare.sign_up()
    key_id = bare.key(user)["id"]
    bare.db.execute("update public.profiles set status = 'suspended' where id = %s", [user.id])
    assert bare.rpc(user, "create_virtual_key").status_code == 403
    order = bare.rpc("service", "open_order", p_user_id=user.id, p_package_id="starter-ngn")
    assert (order.status_code, order.json()["details"]) == (403, "account_suspended")
    for function in ("block_virtual_key", "unblock_virtual_key", "resync_virtual_key", "update_virtual_key"):
        bare.rpc(user, function, key_id=key_id)
    budget = "select keyfund.budget_micros(a) from keyfund.wallets a where account_id = %s"
    assert bare.value(budget, user.id) == 0
    change_user(bare, user.id, email=f"{unique()}@example.com")
    assert bare.value("select status from public.profiles where id = %s", user.id) == "suspended"
    assert bare.value(budget, user.id) == 0


def test_a_cap_never_moves_money(bare: Bare) -> None:
    """However the caps of many keys are set, the wallet is what the ledger says."""
    user = bare.sign_up()
    wallet = "select keyfund.budget_micros(a) from keyfund.wallets a where account_id = %s"
    for budget in (0, 1, 2**31 - 1):
        key = bare.key(user, max_budget=budget)
        for change in (
            {"cap": "fixed"},
            {"cap": "wallet"},
            {"max_budget": 2**31 - 1},
            {"max_budget": 0, "cap": "fixed"},
        ):
            changed = bare.rpc(user, "update_virtual_key", key_id=key["id"], **change)
            assert changed.status_code == 200, changed.text
            if change == {"cap": "wallet"}:
                assert changed.json()["max_budget"] == 1000
    for wrong in (
        {"max_budget": -1},
        {"cap": "wallet", "max_budget": 5},
        {"cap": "free"},
        {"rpm_limit": 0},
        {"tpm_limit": -1},
    ):
        assert bare.rpc(user, "update_virtual_key", key_id=key["id"], **wrong).status_code == 400
    assert (bare.value(wallet, user.id), bare.credits(user.id)) == (10_000_000, GRANT)


NAMES = [
    "a\r\nx-injected: yes", "sk-kf-" + "0" * 64, '{"max_budget": 1e9', "x', max_budget = 99999 --",
    "<script>alert(1)</script>", "{{7*7}}", "../../key/delete", "metadata[keyfund]=x",
    "\u202e\u0000".replace("\u0000", ""), "x" * 100, "👩‍👩‍👧" * 20, "\ud7ff\ue000", "%00", "null",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_is_a_name_and_nothing_else(bare: Bare, name: str) -> None:
    user = bare.sign_up()
    made = bare.key(user) | {}
    answer = bare.rpc(user, "update_virtual_key", key_id=made["id"], name=name)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["name"] == name.strip(" ")
    unchanged = (
        "litellm_key_id",
        "key_hash",
        "max_budget",
        "cap",
        "state",
        "rpm_limit",
        "tpm_limit",
        "revision",
    )
    assert [changed[field] for field in unchanged] == [made[field] for field in unchanged]


def test_a_person_can_be_many_requests_but_not_more_than_their_own_account(bare: Bare) -> None:
    """Re-syncing in a loop makes work, but only for the one who does it, and only one push at a time."""
    user, neighbour = bare.sign_up(), bare.sign_up()
    key, other = bare.key(user), bare.key(neighbour)
    due = "select next_attempt_at, revision from keyfund.pushes where account_id = %s"
    before = bare.db.execute(due, [neighbour.id]).fetchone()
    answers = at_once([lambda: bare.rpc(user, "resync_virtual_key", key_id=key["id"])] * 20)
    assert {answer.status_code for answer in answers} == {200}
    assert bare.rpc(user, "resync_virtual_key", key_id=other["id"]).status_code == 404
    assert bare.db.execute(due, [neighbour.id]).fetchone() == before


def test_errors_of_the_database_name_no_value_of_anybody_s(bare: Bare) -> None:
    user, victim = bare.sign_up(), bare.sign_up()
    key = bare.key(victim)
    for body in (
        b'{"key_id":"' + key["id"].encode() + b'","name":"x"}',
        b'{"key_id":"x"}',
        json.dumps({"key_id": victim.id}).encode(),
    ):
        for function in (
            "update_virtual_key",
            "block_virtual_key",
            "resync_virtual_key",
            "open_order",
            "credit_payment",
        ):
            answer = bare.rest(
                user, "POST", f"/rpc/{function}", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code in (400, 403, 404)
            assert key["litellm_key_id"] not in answer.text
            assert victim.email not in answer.text
