"""What stays as quick when the tables grow, in a PostgreSQL of its own; the sizes are measured in turns."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

from bench.measure import Line, Row, Series
from dev.stack import ROOT, UNHURRIED
from tests.support import Connection, Database, SqlServer, as_role

SIZES = (1_000, 100_000, 1_000_000)
WARM, ROUNDS = 10, 100

# A person each with a profile, an account, a key, a grant in the ledger, a paid order and its handled event.
# Every fifth account is due.
SEED = (
    """insert into auth.users (id, aud, role, email, email_confirmed_at)
       select md5('account ' || n)::uuid, 'authenticated', 'authenticated', 'account-' || n || '@example.com',
         now() from generate_series(1, %(rows)s) n""",
    """insert into public.profiles (id, email, credits)
       select md5('account ' || n)::uuid, 'account-' || n || '@example.com', 500
       from generate_series(1, %(rows)s) n""",
    """insert into keyfund.accounts (id, kind)
       select md5('account ' || n)::uuid, 'personal' from generate_series(1, %(rows)s) n""",
    """insert into keyfund.signups (user_id, grant_settled)
       select md5('account ' || n)::uuid, true from generate_series(1, %(rows)s) n""",
    """insert into keyfund.wallets (account_id, wallet_credits)
       select md5('account ' || n)::uuid, 500 from generate_series(1, %(rows)s) n""",
    """insert into keyfund.pushes (account_id, revision, confirmed_revision, confirmed_at, next_attempt_at)
       select md5('account ' || n)::uuid, 1 + (n %% 5 = 0)::integer, 1, now(),
         case when n %% 5 = 0 then now() end
       from generate_series(1, %(rows)s) n""",
    """insert into keyfund.signup_grants (identity_hash, user_id)
       select encode(sha256(convert_to('account ' || n, 'UTF8')), 'hex'), md5('account ' || n)::uuid
       from generate_series(1, %(rows)s) n""",
    """insert into public.credit_ledger (account_id, delta, kind, cause, balance_after)
       select md5('account ' || n)::uuid, 500, 'signup_grant', 'grant:' || n, 500
       from generate_series(1, %(rows)s) n""",
    """insert into public.virtual_keys (account_id, user_id, name, litellm_key_id, key_hash, key_preview, cap,
         max_budget, revision, confirmed_revision, confirmed_at, sync_status, last_synced_at)
       select md5('account ' || n)::uuid, md5('account ' || n)::uuid, 'Key', s.key,
         encode(sha256(convert_to(s.key, 'UTF8')), 'hex'), 'sk-...', 'wallet', 1000,
         1 + (n %% 5 = 0)::integer, 1, now(),
         case when n %% 5 = 0 then 'pending' else 'synced' end, now()
       from generate_series(1, %(rows)s) n, lateral (select 'sk-kf-' || md5('key ' || n) as key) s""",
    """insert into keyfund.orders (id, account_id, user_id, provider, package_id, amount, currency, credits,
         rate_id)
       select md5('order ' || n)::uuid, md5('account ' || n)::uuid, md5('account ' || n)::uuid, 'paystack',
         'starter-ngn', 1600000, 'NGN', 1000, (select max(id) from keyfund.rates where currency = 'NGN')
       from generate_series(1, %(rows)s) n""",
    """insert into public.transactions (account_id, user_id, order_id, provider, package_id, reference,
         amount, currency, credits, status, credited_at, pushed_at, effective_at, next_verify_at)
       select md5('account ' || n)::uuid, md5('account ' || n)::uuid, md5('order ' || n)::uuid, 'paystack',
         'starter-ngn', 'kf-' || md5('order ' || n), 1600000, 'NGN', 1000, 'success', now(), now(), now(),
         null
       from generate_series(1, %(rows)s) n""",
    """insert into keyfund.events (provider, fingerprint, event, kind, reference, body, handled_at,
         next_attempt_at)
       select 'paystack', md5('event ' || n), 'charge.success', 'payment', 'kf-' || md5('order ' || n), '{}',
         now(), null
       from generate_series(1, %(rows)s) n""",
)  # fmt: skip

SCANNED = """
    select coalesce(string_agg(s.relid::regclass::text, ', '), '')
    from pg_stat_user_tables s join pg_class c on c.oid = s.relid
    where s.schemaname in ('public', 'keyfund', 'auth') and c.reltuples > 1000 and s.seq_scan > 0"""


@dataclass
class Shelf:
    """One size of everything."""

    db: Connection
    rows: int
    number: int = 0

    def fill(self) -> None:
        self.db.execute("set session_replication_role = replica")
        for statement in SEED:
            self.db.execute(statement.encode(), {"rows": self.rows})
        self.db.execute("set session_replication_role = origin")
        self.db.execute(UNHURRIED)
        self.db.execute("vacuum (analyze)")
        self.db.execute("select pg_stat_reset()")

    def person(self) -> str:
        """Another one each time, from all over the table."""
        self.number += 1
        row = self.db.execute(
            "select md5('account ' || %s)::uuid::text", [1 + self.number * 7919 % self.rows]
        ).fetchone()
        assert row is not None
        return str(row[0])

    # ------------------------------------------------------- each undone again

    def claim(self) -> float:
        """Eight accounts of those that are due."""
        return self._undone("service_role", None, "select public.claim_pushes(8, 40)", expected=8)

    def look(self) -> float:
        """Which kinds of work are due."""
        kinds = "array['push_accounts', 'handle_events', 'verify_orders', 'roll_up_usage', 'count_shares']"
        statement = f"select public.look_for_work('bench', {kinds} || array['retire_keys'], 0)"
        return self._undone("service_role", None, statement, expected=1)

    def read_keys(self) -> float:
        return self._undone("authenticated", self.person(), "select * from public.virtual_keys", expected=1)

    def balance(self) -> float:
        return self._undone("authenticated", self.person(), "select credits from public.profiles", expected=1)

    def sign_up(self) -> float:
        identity = str(uuid4())
        return self._undone(
            "supabase_auth_admin",
            None,
            "insert into auth.users (id, aud, role, email, email_confirmed_at) "
            f"values ('{identity}', 'authenticated', 'authenticated', '{identity}@example.com', now())",
        )

    def append(self) -> float:
        entry = f"'{self.person()}', 10, 'adjustment', 'bench:{uuid4()}'"
        return self._undone("postgres", None, f"select keyfund.append_entry({entry})", expected=1)

    def receive(self) -> float:
        event = json.dumps(
            [
                {
                    "fingerprint": str(uuid4()),
                    "event": "charge.success",
                    "reference": "kf-nobody",
                    "body": "{}",
                    "lease_seconds": 60,
                }
            ]
        )
        return self._undone(
            "service_role", None, f"select public.receive_events('paystack', '{event}')", expected=1
        )

    def _undone(self, role: str, user_id: str | None, statement: str, expected: int | None = None) -> float:
        """Milliseconds that a statement takes, acting as that role; rolled back afterwards."""
        with self.db.transaction(force_rollback=True), as_role(self.db, role, user_id):
            began = time.perf_counter()
            done = self.db.execute(statement.encode())
            taken = (time.perf_counter() - began) * 1000
            assert expected is None or len(done.fetchall()) == expected, statement
        return taken


WORK: dict[str, Callable[[Shelf], float]] = {
    "look at all that is due": Shelf.look,
    "claim of 8 accounts": Shelf.claim,
    "own keys under RLS": Shelf.read_keys,
    "own balance under RLS": Shelf.balance,
    "sign-up": Shelf.sign_up,
    "ledger entry": Shelf.append,
    "storing an event": Shelf.receive,
}


def measure(runs: int, scale: float) -> list[Row]:
    sizes = SIZES if scale >= 1 else SIZES[:2]
    with shelves(sizes) as rows:
        times = {name: [_in_turns(rows, work) for _ in range(runs)] for name, work in WORK.items()}
        scanned = {shelf.rows: _scanned(shelf) for shelf in rows[1:]}
    assert not any(scanned.values()), f"tables read from end to end: {scanned}"
    return [
        Line(
            f"{name}, {size:,} rows",
            "ms",
            Series.of([run[index] for run in times[name]]),
            f"{sizes[0]:,} rows",
            Series.of([run[0] for run in times[name]]),
            "≤1.2",
        )
        for name in WORK
        for index, size in enumerate(sizes)
        if index > 0
    ]


def _in_turns(rows: list[Shelf], work: Callable[[Shelf], float]) -> list[float]:
    """The median of each size; what disturbs one of them disturbs all."""
    times = [[work(shelf) for shelf in rows] for _ in range(WARM + ROUNDS)]
    return [median(one) for one in zip(*times[WARM:], strict=True)]


def _scanned(shelf: Shelf) -> str:
    """Large tables that any of the work read from end to end, inside functions too."""
    shelf.db.execute("select pg_stat_force_next_flush()")
    row = shelf.db.execute(SCANNED.encode()).fetchone()
    assert row is not None
    return str(row[0])


@contextmanager
def shelves(sizes: tuple[int, ...]) -> Iterator[list[Shelf]]:
    home = ROOT / ".stack" / "bench" / "growth"
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(SqlServer(home).running())
        filled = []
        for size in sizes:
            database: Database = stack.enter_context(server.database("locked"))
            shelf = Shelf(stack.enter_context(database.connect()), size)
            shelf.fill()
            filled.append(shelf)
        yield filled
