"""Every function and table that PostgREST exposes, called as anonymous, as a user and as the service."""

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.hostile.bare import Bare, Json, unbalanced
from tests.hostile.functions import OF_TYPE, SIGNATURES, Scene, call_all, stumbles
from tests.sql.allowed import FUNCTIONS, SIGNED_IN, TABLES

LONG = bool(os.environ.get("LONG"))
SEED = 20261126
CALLS = 200 if LONG else 24
CALLS_OF_SERVICE = 300 if LONG else 45


@pytest.fixture(scope="module")
def scene(bare: Bare) -> Scene:
    attacker, victim = bare.sign_up(), bare.sign_up()
    keys = {user.id: bare.key(user)["id"] for user in (attacker, victim)}
    references = []
    for user in (attacker, victim):
        paid, unpaid = bare.order(user)["reference"], bare.order(user)["reference"]
        references += [paid, unpaid]
        credited = bare.rpc(
            "service", "credit_payment", p_reference=paid, p_provider_id=len(references),
            p_paid_amount=1_600_000, p_currency="NGN",
        )  # fmt: skip
        assert credited.json()["credited"] is True
    bare.db.execute("update keyfund.settings set keys_per_account = 1000")  # or most calls end there
    bare.db.execute(
        "update public.virtual_keys set state = 'blocked', blocked_by = 'administrator' where id = %s",
        [bare.key(victim)["id"]],
    )
    cursor = bare.db.execute(SIGNATURES.encode())
    columns = [column.name for column in cursor.description or []]
    functions = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return Scene(bare, attacker, victim, keys, references, functions)


@pytest.fixture
def others_unchanged(scene: Scene) -> Iterator[None]:
    """Whatever a test does, it does not change a row that is not the attacker's."""
    before = scene.bare.rows_of_others(scene.attacker)
    yield
    after = scene.bare.rows_of_others(scene.attacker)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert unbalanced(scene.bare.db) == []


# --- calls --------------------------------------------------------------------------------------------------


def test_the_list_of_functions_is_whole(scene: Scene) -> None:
    assert {function["name"] for function in scene.functions} == set(FUNCTIONS)
    known = set(OF_TYPE) | {"void"}
    assert {kind for function in scene.functions for kind in function["types"]} <= known


def test_anonymous_reaches_no_function(scene: Scene, others_unchanged: None) -> None:
    calls = call_all(scene, "anon", CALLS // 2, SEED)
    assert stumbles(calls) == {}
    assert [call.function for call in calls if call.answer.is_success] == []
    assert all(b'"code"' in call.answer.content for call in calls)


def test_a_user_reaches_the_users_functions_alone_and_nobody_else_s_rows(
    scene: Scene, others_unchanged: None
) -> None:
    calls = call_all(scene, scene.attacker, CALLS, SEED + 1)
    assert stumbles(calls) == {}
    let_in = {call.function for call in calls if call.answer.is_success}
    assert let_in <= {name for name, callers in FUNCTIONS.items() if callers >= SIGNED_IN}
    assert "create_virtual_key" in let_in
    # Chance decides which functions get a call that is right in every argument; some change a key of theirs.
    assert let_in & {"update_virtual_key", "block_virtual_key", "resync_virtual_key"}
    # 1000 credits: 500 at sign-up, 500 bought. The wallet, not what the attacker says.
    row = scene.bare.db.execute(
        "select credits, wallet_credits, status, keyfund.wallet_cents(w), keyfund.budget_micros(w) "
        "from public.profiles p join keyfund.wallets w on w.account_id = p.id where p.id = %s",
        [scene.attacker.id],
    ).fetchone()
    assert row == (1000, 1000, "active", 2000, 20_000_000)
    forged = scene.bare.db.execute(
        "select id from public.virtual_keys where user_id = %s and (sync_status = 'synced' or confirmed_at is not null "
        "or confirmed_revision > 0 or (cap = 'wallet' and max_budget <> 2000 and state <> 'revoked') "
        "or (state = 'active' and litellm_key_id !~ '^sk-kf-[0-9a-f]{64}$'))",
        [scene.attacker.id],
    ).fetchall()
    assert forged == []


def test_the_service_s_functions_refuse_nonsense_without_stumbling(scene: Scene) -> None:
    calls = call_all(scene, "service", CALLS_OF_SERVICE, SEED + 2)
    assert unbalanced(scene.bare.db) == []
    doubled = scene.bare.db.execute(
        "select cause from public.credit_ledger group by cause having count(*) > 1"
    ).fetchall()
    assert doubled == []
    assert stumbles(calls) == {}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_is_not_reached_by_another_verb_or_form(scene: Scene, function: str) -> None:
    bare = scene.bare
    allowed = FUNCTIONS[function] == SIGNED_IN
    for who in ("anon", scene.attacker):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            answer = bare.rest(who, method, f"/rpc/{function}?p_user_id={scene.victim.id}")
            assert answer.status_code < 500, (method, answer.text)
            if method == "HEAD" and answer.status_code == 200:
                assert answer.content == b""  # of a function that only reads, and it is not run
                continue
            # GET runs in a read-only transaction: what changes something is refused there.
            assert not answer.is_success or (allowed and function == "is_administrator"), (
                method,
                answer.text,
            )


@pytest.mark.parametrize(
    "schema", ["keyfund", "auth", "pg_catalog", "information_schema", "extensions", "", "public,keyfund"]
)
def test_no_other_schema_is_reached(scene: Scene, others_unchanged: None, schema: str) -> None:
    bare = scene.bare
    tries = [("GET", "/settings"), ("GET", "/accounts"), ("GET", "/events"), ("GET", "/administrators"), ("GET", "/users"),
             ("POST", "/administrators"), ("PATCH", f"/accounts?user_id=eq.{scene.attacker.id}"), ("POST", "/rpc/append_entry"),
             ("POST", "/rpc/ensure_account"), ("POST", "/rpc/finish_key"), ("POST", "/rpc/pg_sleep"), ("POST", "/rpc/set_config"),
             ("POST", "/rpc/uid"), ("GET", "/pg_roles"), ("GET", "/pg_authid"), ("GET", "/tables")]  # fmt: skip
    body = {
        "user_id": scene.attacker.id,
        "p_user_id": scene.attacker.id,
        "p_delta": 1000,
        "p_kind": "adjustment",
        "p_cause": "x",
    }
    for who in ("anon", scene.attacker, "service"):
        for method, path in tries:
            request: dict[str, Any] = {"json": body} if method != "GET" else {}
            profiles = {"accept-profile": schema, "content-profile": schema}
            answer = bare.rest(who, method, path, headers=profiles, **request)
            assert 400 <= answer.status_code < 500, (who, method, path, answer.text)
            dotted = bare.rest(who, method, f"/{schema}.{path[1:]}", **request)
            assert 400 <= dotted.status_code < 500, (who, method, path, dotted.text)


# --- tables -------------------------------------------------------------------------------------------------

PREFER = ["", "return=representation", "return=minimal", "resolution=merge-duplicates,return=representation",
          "resolution=ignore-duplicates", "tx=commit", "missing=default", "handling=lenient", "count=exact", "max-affected=1000"]  # fmt: skip


def rows_to_write(scene: Scene, table: str) -> list[Json]:
    """What an attacker would like to have in a table."""
    mine, theirs = scene.attacker.id, scene.victim.id
    rows: dict[str, list[Json]] = {
        "profiles": [{"id": mine, "credits": 10**9}, {"id": theirs, "credits": 0}, {"id": str(uuid4()), "credits": 5}],
        "virtual_keys": [{"user_id": mine, "sync_status": "synced", "max_budget": 10**9, "cap": "fixed", "litellm_key_id": "sk-made-up-by-attacker"}, {"id": scene.keys[theirs], "user_id": mine}, {"id": scene.keys[mine], "state": "active", "user_id": theirs}],
        "transactions": [{"user_id": mine, "package_id": "starter-ngn", "reference": "kf-mine", "amount": 1, "currency": "NGN", "credits": 10**9, "status": "success"}, {"reference": scene.references[2], "user_id": mine, "credits": 1}],
        "credit_ledger": [{"user_id": mine, "delta": 10**9, "kind": "adjustment", "cause": "mine", "balance_after": 10**9}],
        "audit_log": [{"actor": "administrator", "actor_id": theirs, "action": "account_reinstated", "account_id": mine}, {"id": 1, "account_id": mine}],
        "teams": [{"id": mine, "name": "Mine", "credits": 10**9}, {"id": theirs, "credits": 0}],
        "members": [{"account_id": theirs, "user_id": mine, "role": "owner"}, {"account_id": mine, "user_id": theirs}],
        "invitations": [{"account_id": theirs, "email": scene.attacker.email, "role": "owner"}, {"account_id": mine}],
        "credit_packages": [{"id": "free", "name": "Free", "credits": 10**9, "amount": 1, "currency": "NGN"}, {"id": "starter-ngn", "amount": 1}],
    }  # fmt: skip
    return rows[table]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_no_table_is_written_by_any_way_that_postgrest_knows(
    scene: Scene, others_unchanged: None, table: str
) -> None:
    bare = scene.bare
    own_before = bare.rest(scene.attacker, "GET", f"/{table}?order=id").json()
    for who in ("anon", scene.attacker):
        for row in rows_to_write(scene, table):
            for number, prefer in enumerate(PREFER):
                headers = {"prefer": prefer} if prefer else {}
                field, value = next(iter(row.items()))
                conflict = [
                    "",
                    "?on_conflict=id",
                    f"?on_conflict=id&columns={','.join(row)}",
                    "?columns=id",
                    "?select=*",
                ][number % 5]
                tries = [
                    bare.rest(who, "POST", f"/{table}{conflict}", json=row, headers=headers),
                    bare.rest(who, "POST", f"/{table}{conflict}", json=[row, row], headers=headers),
                    bare.rest(
                        who,
                        "PUT",
                        f"/{table}?id=eq.{row.get('id', scene.victim.id)}",
                        json=row,
                        headers=headers,
                    ),
                    bare.rest(who, "PATCH", f"/{table}?{field}=eq.{value}", json=row, headers=headers),
                    bare.rest(who, "PATCH", f"/{table}?id=not.is.null", json=row, headers=headers),
                    bare.rest(who, "PATCH", f"/{table}", json=row, headers=headers),
                    bare.rest(who, "DELETE", f"/{table}?id=not.is.null", headers=headers),
                    bare.rest(who, "DELETE", f"/{table}", headers=headers),
                ]
                for answer in tries:
                    assert 400 <= answer.status_code < 500, (answer.request.method, prefer, answer.text)
                    assert answer.json()["code"]
    csv = bare.rest(
        scene.attacker, "POST", f"/{table}", content=b"id\nx\n", headers={"content-type": "text/csv"}
    )
    assert csv.status_code >= 400
    assert bare.rest(scene.attacker, "GET", f"/{table}?order=id").json() == own_before


READS = [
    "select=*", "select=*,profiles(*)", "select=*,virtual_keys(*)", "select=*,transactions(*)",
    "select=*,credit_ledger(*)", "select=*,credit_packages(*)",
    "select=*,profiles!inner(*,virtual_keys(*),transactions(*),credit_ledger(*))", "select=*,accounts(*)",
    "select=*,users(*)", "select=*,owner:profiles(id,email,credits)", "select=...profiles(email)",
    "select=id,email::text", "select=count()", "select=user_id,id.max()", "select=*&limit=100000&offset=0",
    "select=*&or=(id.not.is.null,id.is.null)", "select=*&and=(or(id.not.is.null))",
    "select=*&not.or=(id.is.null)", "select=*&id=in.({ids})", "select=*&user_id=eq.{victim}",
    "select=*&id=eq.{victim}", "select=*&id=neq.{attacker}", "select=*&litellm_key_id=like.sk-*",
    "select=*&litellm_key_id=match.^sk", "select=*&email=ilike.*", "select=*&reference=like.kf-*",
    "select=*&order=credits.desc", "select=*&order=profiles(credits)", "select=*&profiles.id=eq.{victim}",
    "select=*&user_id=eq.any", "select=*'--", "select=*,pg_sleep(1)",
    "select=(select email from auth.users limit 1)", "select=id;select * from auth.users",
    "select=*&id=eq.1) or (1=1", "select=*&limit=-1", "select=*&offset=99999999999999999999",
    "select=" + "a," * 3000, "select=*," + "profiles(" * 60 + "*" + ")" * 60, "columns=*", "select=",
    "select=%00", "select=*&x=eq.%00", "select=*&id=fts.x", "select=*&user_id=cs.{{x}}",
    "select=*&raw=eq.1",
]  # fmt: skip


@pytest.mark.parametrize("table", sorted(TABLES))
def test_no_way_to_read_shows_a_row_of_somebody_else_s(scene: Scene, table: str) -> None:
    bare = scene.bare
    victim_s = victim_words(scene)
    for read in READS:
        query = read.format(victim=scene.victim.id, attacker=scene.attacker.id, ids=",".join(scene.ids()))
        for headers in (
            {},
            {"prefer": "count=exact", "range": "0-9999"},
            {"accept": "application/vnd.pgrst.plan"},
        ):
            answer = bare.rest(scene.attacker, "GET", f"/{table}?{query}", headers=headers)
            assert answer.status_code < 500, (read, answer.text)
            told = answer.text + repr(answer.headers.raw)
            for word in victim_s:
                assert word not in told or word in query, (read, headers)
            count = answer.headers.get("content-range", "").rpartition("/")[2]
            if count.isdigit():
                assert int(count) <= len(bare.rest(scene.attacker, "GET", f"/{table}?select=*").json()), read
        anonymous = bare.rest("anon", "GET", f"/{table}?{query}")
        assert not anonymous.is_success, (read, anonymous.text)
        assert anonymous.status_code < 500, (read, anonymous.text)


def victim_words(scene: Scene) -> list[str]:
    """What is the victim's in every table, as text."""
    rows = scene.bare.db.execute(
        "select email, litellm_key_id, k.key_hash, k.id::text, p.id::text from public.profiles p "
        "join public.virtual_keys k on k.user_id = p.id where p.id = %s",
        [scene.victim.id],
    ).fetchall()
    return [word for row in rows for word in row if word] + scene.references[2:]


def test_counting_tells_nothing_about_others(scene: Scene) -> None:
    """A filter on somebody else's row finds as much as a filter on nothing."""
    bare = scene.bare
    guesses = [("profiles", f"id=eq.{scene.victim.id}"), ("profiles", f"email=eq.{scene.victim.email}"),
               ("transactions", f"reference=eq.{scene.references[2]}"), ("virtual_keys", f"id=eq.{scene.keys[scene.victim.id]}")]  # fmt: skip
    for table, guess in guesses:
        answer = bare.rest(scene.attacker, "HEAD", f"/{table}?{guess}", headers={"prefer": "count=exact"})
        assert answer.headers["content-range"] == "*/0"


def test_the_root_and_odd_addresses_show_nothing(scene: Scene) -> None:
    for path in (
        "/",
        "",
        "/rpc/",
        "/rpc",
        "/profiles/",
        "/profiles/" + scene.victim.id,
        "/..%2f..%2fauth%2fv1%2fadmin%2fusers",
        "/%00",
        "/graphql/v1",
    ):
        for who in ("anon", scene.attacker):
            answer = scene.bare.rest(who, "GET", path)
            assert answer.status_code < 500, path
            assert scene.victim.email not in answer.text
            assert "append_entry" not in answer.text
