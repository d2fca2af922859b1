"""Taking over an installation of the document: all or nothing, as before and after, and back."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from core.domain.drift import ListedKey
from core.domain.keys import ObservedKey, ObservedUser
from core.settings import Settings
from dev.supabase import Regime
from operate import held, history, takeover
from operate.theirs import Seen, Theirs
from tests.living import catalogue
from tests.living.conftest import Begun, bare
from tests.living.project import BESIDE, FIXTURES, credits_of, keyfund, push
from tests.sql import acting
from tests.sql.acting import row, rows, value, wait_until_blocked
from tests.support import Connection, Database, SqlServer

SETTINGS = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_ANON_KEY": "sb_publishable_of_nobody",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_of_nobody",
}
UNKNOWN = "sk-unknown-to-litellm"


@pytest.fixture(autouse=True)
def litellm(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """LiteLLM as it is asked: it knows every key but one, with a cap of $10. What people spent, by id."""
    for name, setting in SETTINGS.items():
        monkeypatch.setenv(name, setting)
    spent: dict[str, int] = {}

    async def look(settings: Settings, theirs: Theirs) -> Seen:
        hashes = {one.key_hash for one in theirs.requests}
        unknown = hashlib.sha256(UNKNOWN.encode()).hexdigest()
        return Seen(
            {one: None if one == unknown else shown(one) for one in hashes},
            {one.id: ObservedUser(None, None, spent.get(one.id, 0), None) for one in theirs.people},
        )

    monkeypatch.setattr(held, "look", look)
    return spent


def shown(key_hash: str) -> ListedKey:
    key = ObservedKey(None, None, False, 1000, "30d", 100, 10000)
    return ListedKey(key_hash, key, None, preview="sk-...1234", budget_micros=10_000_000)


@pytest.fixture
def psql(sql_server: SqlServer) -> Iterator[Database]:
    """A project of which nobody kept a history of migrations."""
    with bare(sql_server, "open") as database:
        with database.connect("postgres") as db:
            db.execute((FIXTURES / "psql.sql").read_bytes())
        yield database


def run(database: Database, *words: str | Path) -> int:
    return keyfund("takeover", "--database", database.url(), *words)


def sign_up(db: Connection) -> UUID:
    return acting.sign_up(db, f"user-{uuid4().hex[:12]}@example.com")


def add_key(db: Connection, user_id: UUID | None, string: str) -> None:
    db.execute(
        "insert into public.virtual_keys (user_id, name, litellm_key_id) values (%s, 'Laptop', %s)",
        [user_id, string],
    )


def add_payment(db: Connection, user_id: UUID, **columns: object) -> None:
    values = {"reference": "T1", "amount": 5000, "currency": "NGN", "status": "success", **columns}
    db.execute(
        "insert into public.transactions (user_id, reference, amount, currency, status) "
        "values (%s, %s, %s, %s, %s)",
        [user_id, *values.values()],
    )


def new_string() -> str:
    return f"sk-{uuid4().hex}"


def contents(db: Connection, schema: str = "public") -> list[list[acting.Row]]:
    tables = ("profiles", "virtual_keys", "transactions")
    return [
        rows(db, f"select to_jsonb(t) as told from {schema}.{table} t order by t::text") for table in tables
    ]


# --- shown and done -----------------------------------------------------------------------------------------


def test_it_only_shows_unless_told_to_do_it(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        string = new_string()
        add_key(db, sign_up(db), string)
        before, kept = catalogue.read(db), contents(db)
        assert run(database) == 0
        assert (catalogue.read(db), contents(db)) == (before, kept)
    told = capsys.readouterr().out
    for line in (
        "move the tables profiles, virtual_keys, transactions to the schema keyfund_before",
        "unhook the trigger on_auth_user_created on auth.users",
        "take over 2 people with 1,000 credits",
        "$0.00 that LiteLLM shows as spent are not booked",
        "adopt 1 keys; 2 were never made",
        "its cap follows the wallet",
    ):
        assert line in told
    assert told.endswith("Nothing was changed; --yes does it.\n")
    assert string not in told


@pytest.mark.parametrize("schema", ["public", BESIDE])
def test_balances_keys_and_history_are_as_before(begun: Begun, schema: str, litellm: dict[str, int]) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana, ben = sign_up(db), sign_up(db)
        db.execute("update public.profiles set credits = 731 where id = %s", [ana])
        db.execute("update public.profiles set credits = -40 where id = %s", [ben])
        mine, other = new_string(), new_string()
        add_key(db, ana, mine)
        add_key(db, ben, other)
        add_payment(db, ana)
        litellm[str(ana)] = 4_210_000
        theirs = contents(db)
        assert run(database, "--yes", "--schema", schema) == 0
        assert contents(db, "keyfund_before") == theirs
        assert (credits_of(db, schema, ana), credits_of(db, schema, ben)) == (731, -40)
        entries = rows(db, f"select delta, kind, cause from {schema}.credit_ledger where user_id = %s", ana)
        assert entries == [{"delta": 731, "kind": "opening", "cause": f"takeover:{ana}"}]
        keys = rows(
            db, f"select user_id, litellm_key_id, name, cap from {schema}.virtual_keys where state = 'active'"
        )
        assert {(one["user_id"], one["litellm_key_id"], one["name"]) for one in keys} == {
            (ana, mine, "Laptop"),
            (ben, other, "Laptop"),
        }
        wallet = "select keyfund.budget_micros(w) from keyfund.wallets w where account_id = %s"
        assert value(db, wallet, ana) == 731 * 20_000 + 4_210_000
        same = f"""select count(*) from {schema}.transactions join keyfund_before.transactions
          using (id, user_id, reference, amount, currency, status, created_at)"""
        assert value(db, same) == 1
        assert not rows(db, "select keyfund.audit_account(id) from keyfund.accounts")


def test_what_was_spent_of_credits_that_were_never_lowered_is_booked_when_told(
    begun: Begun, litellm: dict[str, int]
) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana = sign_up(db)
        add_key(db, ana, new_string())
        litellm[str(ana)] = 4_210_000  # 210 credits and a half
        assert run(database, "--yes", "--book-spent") == 0
        assert credits_of(db, "public", ana) == 500 - 210
        wallet = "select keyfund.budget_micros(w) from keyfund.wallets w where account_id = %s"
        assert value(db, wallet, ana) == 500 * 20_000
        assert not rows(db, "select keyfund.audit_account(id) from keyfund.accounts")


def test_a_cap_follows_the_wallet_where_it_followed_the_credits(begun: Begun) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana, ben = sign_up(db), sign_up(db)
        db.execute("update public.profiles set credits = 731 where id = %s", [ana])
        for user_id in (ana, ben):
            add_key(db, user_id, new_string())
        assert run(database, "--yes") == 0
        caps = "select cap, max_budget from public.virtual_keys where user_id = %s and state = 'active'"
        assert row(db, caps, ana) == {"cap": "fixed", "max_budget": 1000}
        assert row(db, caps, ben) == {"cap": "wallet", "max_budget": 1000}


def test_nobody_is_granted_what_they_had_already(begun: Begun) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana = acting.sign_up(db, "ana@example.com")
        db.execute("update public.profiles set credits = 3 where id = %s", [ana])
        assert run(database, "--yes") == 0
        db.execute("select public.heal_accounts()")
        assert credits_of(db, "public", ana) == 3
        again = acting.sign_up(db, "Ana+1@example.com")
        assert credits_of(db, "public", again) == 0
        assert credits_of(db, "public", sign_up(db)) == 500  # and of this hour's grants none was used up


def test_what_cannot_be_taken_over_is_told_and_left(
    psql: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with psql.connect() as db:
        ana, ben, gone = (sign_up(db) for _ in range(3))
        acting.delete_user(db, gone)
        shared = new_string()
        for user_id, string in ((ana, shared), (ben, shared), (ana, UNKNOWN), (gone, new_string())):
            add_key(db, user_id, string)
        twice = new_string()
        add_key(db, ben, twice)
        add_key(db, ben, twice)
        db.execute("update public.profiles set credits = -7 where id = %s", [ben])
        banned = sign_up(db)
        add_key(db, banned, new_string())
        acting.ban(db, banned, days=1)
        add_payment(db, gone, reference="T2")
        add_payment(db, ana, reference="T3", amount=None)
        assert run(psql, "--yes") == 0
        kept = rows(db, "select user_id, litellm_key_id from public.virtual_keys where state = 'active'")
        assert kept == [{"user_id": ben, "litellm_key_id": twice}]
        assert (credits_of(db, "public", gone), credits_of(db, "public", ben)) == (None, -7)
        assert credits_of(db, "public", banned) == 500
        assert value(db, "select count(*) from public.transactions") == 0
    told = capsys.readouterr().out
    for line in (
        f"person {gone}: 500 credits, but the user is gone",
        f"of {ana}: several people have it",
        f"of {ana}: LiteLLM does not know it",
        f"of {gone}: no account has this id",
        f"of {ben}: it is there twice",
        f"of {banned}: the account is suspended",
        "transaction T2: nobody who is taken over has it",
        "transaction T3: its amount of None",
        f"{ben} owes 7 credits",
    ):
        assert line in told


def test_payments_keep_what_fits(psql: Database) -> None:
    with psql.connect() as db:
        ana = sign_up(db)
        add_payment(db, ana, reference="T1", status="failed")
        add_payment(db, ana, reference="T1", status="Successful", currency=None)
        add_payment(db, ana, reference=None, status="odd")
        add_payment(db, ana, reference="T/../4", status="cancelled")
        assert run(psql, "--yes") == 0
        found = rows(db, "select reference, status, currency from public.transactions order by reference")
    assert [tuple(one.values()) for one in found] == [
        ("T1", "success", "XXX"),
        ("before-1", "failed", "NGN"),
        ("before-3", "pending", "NGN"),
        ("before-4", "abandoned", "NGN"),
    ]


# --- all or nothing -----------------------------------------------------------------------------------------


def test_what_is_in_the_way_is_told_and_nothing_is_changed(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        db.execute("create table public.members (id int)")
        before = catalogue.read(db)
        assert run(database, "--yes") == 1
        assert catalogue.read(db) == before
    assert "There is a table members" in capsys.readouterr().err


@contextmanager
def broken_off(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> Iterator[None]:
    """The connection is lost where this function is called."""

    def lose(connection: Connection, *_: object, **__: object) -> None:
        connection.execute("select pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, lose)
        yield


@pytest.mark.parametrize(
    ("module", "name"),
    [(takeover, "decide_again"), (takeover, "install_people"), (history, "record"), (takeover, "check")],
)
def test_broken_off_anywhere_it_leaves_nothing(
    begun: Begun, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    database, folder = begun("document")
    with database.connect() as db:
        add_key(db, sign_up(db), new_string())
        before, kept = catalogue.read(db), contents(db)
        with broken_off(monkeypatch, module, name):
            assert run(database, "--yes", "--into", folder) == 2
        assert (catalogue.read(db), contents(db)) == (before, kept)
        assert [file.name for file in folder.iterdir()] == ["20250101000000_ours.sql"]
        assert run(database, "--yes", "--into", folder) == 0


def test_who_signs_up_meanwhile_waits_and_is_ours(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    database, _ = begun("document")
    check: Callable[[Connection, str], None] = takeover.check
    with ThreadPoolExecutor(1) as pool, database.connect() as late, database.connect() as db:
        signing_up = []

        def meanwhile(connection: Connection, schema: str) -> None:
            signing_up.append(pool.submit(sign_up, late))
            wait_until_blocked(db)
            check(connection, schema)

        monkeypatch.setattr(takeover, "check", meanwhile)
        assert run(database, "--yes") == 0
        user_id = signing_up[0].result(timeout=30)
        assert credits_of(db, "public", user_id) == 500
        assert credits_of(db, "keyfund_before", user_id) is None


def test_a_key_that_came_meanwhile_stops_it(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    database, _ = begun("document")
    look = held.look
    with database.connect() as db:
        before = catalogue.read(db)

        async def looked(settings: Settings, theirs: Theirs) -> Seen:
            seen = await look(settings, theirs)
            add_key(db, sign_up(db), new_string())
            return seen

        with monkeypatch.context() as patch:
            patch.setattr(held, "look", looked)
            assert run(database, "--yes") == 1
        assert catalogue.read(db) == before
        assert run(database, "--yes") == 0


def test_again_it_says_that_it_is_done(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    database, _ = begun("document")
    assert run(database, "--yes") == 0
    with database.connect() as db:
        done = catalogue.read(db)
        for words in ((), ("--yes",)):
            capsys.readouterr()
            assert run(database, *words) == 0
            assert capsys.readouterr().out.startswith("Taken over on ")
        assert catalogue.read(db) == done


def test_another_project_is_refused(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    database, _ = begun("quickstart")
    assert run(database, "--yes") == 1
    assert "no installation of the document" in capsys.readouterr().err


# --- back, and final ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["locked", "open"])
def test_back_leaves_no_trace(begun: Begun, regime: Regime) -> None:
    database, _ = begun("document", regime)
    with database.connect() as db:
        add_payment(db, sign_up(db))
        before, kept = catalogue.read(db), contents(db)
        versions = rows(db, "select * from supabase_migrations.schema_migrations")
        assert run(database, "--yes") == 0
        assert catalogue.read(db) != before
        assert run(database, "--back") == 0
        assert (catalogue.read(db), contents(db)) == (before, kept)
        assert rows(db, "select * from supabase_migrations.schema_migrations") == versions
        assert credits_of(db, "public", sign_up(db)) == 500
        assert run(database, "--back") == 0
        assert run(database, "--yes") == 0


def test_back_leaves_no_trace_where_files_were_run_with_psql(psql: Database) -> None:
    with psql.connect() as db:
        sign_up(db)
        before, kept = catalogue.read(db), contents(db)
        assert run(psql, "--yes") == 0
        assert value(db, "select count(*) > 20 from supabase_migrations.schema_migrations")
        assert run(psql, "--back") == 0
        assert (catalogue.read(db), contents(db)) == (before, kept)
        assert value(db, "select to_regnamespace('supabase_migrations')") is None
        sign_up(db)


def test_what_was_bought_since_is_not_lost_unasked(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana, before = sign_up(db), catalogue.read(db)
        assert run(database, "--yes") == 0
        acting.append(db, ana, 100, "purchase")
        assert run(database, "--back") == 1
        assert credits_of(db, "public", ana) == 600
        assert "--yes does it all the same" in capsys.readouterr().err
        assert run(database, "--back", "--yes") == 0
        assert catalogue.read(db) == before


def test_back_without_litellm_leaves_nothing_undone_unless_keys_are_handed_over(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        add_key(db, sign_up(db), new_string())
        before, kept = catalogue.read(db), contents(db)
        assert run(database, "--yes") == 0
        done = catalogue.read(db)
        assert run(database, "--back") == 1
        assert "--hand-over" in capsys.readouterr().err
        assert catalogue.read(db) == done
        assert run(database, "--back", "--hand-over") == 0
        assert (catalogue.read(db), contents(db)) == (before, kept)


def test_back_after_an_uninstall(begun: Begun, tmp_path: Path) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        before = catalogue.read(db)
        assert run(database, "--yes") == 0
        words = ("--database", database.url(), "--export", tmp_path / "rows", "--hand-over", "--yes")
        assert keyfund("uninstall", *words) == 0
        assert run(database, "--back") == 0
        assert catalogue.read(db) == before


def test_confirmed_it_is_final(begun: Begun, capsys: pytest.CaptureFixture[str]) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        ana = sign_up(db)
        db.execute("create view public.rich as select id from public.profiles where credits > 400")
        assert run(database, "--yes") == 0
        assert "view public.rich" in capsys.readouterr().out
        assert run(database, "--confirm") == 1
        assert "view public.rich" in capsys.readouterr().err
        db.execute("drop view public.rich")
        assert run(database, "--confirm") == 0
        assert "profiles" in capsys.readouterr().out
        assert value(db, "select to_regnamespace('keyfund_before')") is None
        done = catalogue.read(db)
        for words, status in ((("--confirm",), 0), (("--back",), 0), (("--yes",), 1)):
            assert run(database, *words) == status
        assert catalogue.read(db) == done
        assert credits_of(db, "public", ana) == 500


def test_the_files_make_the_same_of_a_new_database(begun: Begun, sql_server: SqlServer) -> None:
    database, folder = begun("document")
    assert run(database, "--yes", "--into", folder) == 0
    assert push(database, folder) == []  # the history knows them
    with bare(sql_server, "locked") as other, database.connect() as db, other.connect() as anew:
        push(other, folder)
        assert catalogue.read(anew) == catalogue.read(db)


def test_a_second_trigger_of_theirs_stays(begun: Begun) -> None:
    database, _ = begun("document")
    with database.connect() as db:
        db.execute("create table public.visits (user_id uuid)")
        db.execute(
            "create function public.count_visit() returns trigger language plpgsql security definer as $$ "
            "begin insert into public.visits values (new.id); -- not in profiles\n return new; end; $$"
        )
        db.execute(
            "create trigger visits after insert on auth.users "
            "for each row execute function public.count_visit()"
        )
        assert run(database, "--yes") == 0
        user_id = sign_up(db)
        assert value(db, "select count(*) from public.visits where user_id = %s", user_id) == 1


def test_a_trigger_that_could_not_come_back_stops_it(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    database, _ = begun("document")
    with database.connect("supabase_auth_admin") as db:
        db.execute("alter table auth.users disable trigger on_auth_user_created")
    assert run(database, "--yes") == 1
    assert "on_auth_user_created on auth.users is switched off" in capsys.readouterr().err
