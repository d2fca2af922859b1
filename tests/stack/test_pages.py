"""Lists over PostgREST, which hands over a thousand rows at most: nothing is left out unseen."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import httpx
import pytest

from core.store import CallerStore
from core.store.caller import Page
from tests.sql.acting import sign_up
from tests.stack.site import Site, serving, told
from tests.support import SqlServer
from tests.unit.service import make_settings

KEYS, ROTATED = 1005, 12
PAYMENTS = 130

FILLED = """
    alter table public.virtual_keys disable trigger user;
    insert into public.virtual_keys (id, account_id, user_id, name, state, litellm_key_id, created_at)
    select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, %(who)s, %(who)s, 'key ' || n,
      'active', 'sk-kf-a-key-of-the-list-' || n, '2026-11-01'::timestamptz + make_interval(mins => n / 7)
    from generate_series(1, %(keys)s) n;
    insert into public.virtual_keys
      (account_id, user_id, name, state, litellm_key_id, successor_id, created_at)
    select %(who)s, %(who)s, 'key ' || n, 'active', 'sk-kf-an-old-string-' || n,
      ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, '2026-10-01'
    from generate_series(1, %(rotated)s) n;
    with made as (
      insert into keyfund.orders (account_id, user_id, provider, package_id, amount, currency, credits)
      values (%(who)s, %(who)s, 'paystack', 'starter-ngn', 100, 'NGN', 1) returning *
    )
    insert into public.transactions
      (account_id, user_id, order_id, provider, package_id, reference, amount, currency, credits, created_at)
    select account_id, user_id, id, provider, package_id, 'kf-' || n, amount, currency, credits,
      '2026-11-01'::timestamptz + make_interval(mins => n / 7)
    from made, generate_series(1, %(payments)s) n;
    insert into public.credit_packages (id, name, credits, amount, currency)
    select 'package-' || n, 'Package', 1, 100, 'NGN' from generate_series(1, 1010) n;
"""


@pytest.fixture(scope="module")
def site(sql_server: SqlServer) -> Iterator[Site]:
    with serving(sql_server) as running:
        yield running


@pytest.fixture(scope="module")
def user_id(site: Site) -> UUID:
    made = sign_up(site.db)
    given = {"who": f"'{made}'::uuid", "keys": KEYS, "rotated": ROTATED, "payments": PAYMENTS}
    site.db.execute((FILLED % given).encode())
    return made


@pytest.fixture
async def store(site: Site, user_id: UUID) -> AsyncIterator[CallerStore]:
    settings = make_settings(supabase_url=site.url, supabase_anon_key=site.keys.publishable)
    async with httpx.AsyncClient() as client:
        yield CallerStore(settings, client, site.token(sub=str(user_id)))


@pytest.mark.parametrize("size", [1000, 997, 300])
async def test_every_key_is_listed_once_page_by_page(store: CallerStore, size: int) -> None:
    pages: list[Page] = []
    after = None
    while not pages or after:
        pages.append(await store.list_keys(after, size))
        after = pages[-1].next("id")
    rows = [row for page in pages for row in page.rows]
    assert [len(page.rows) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert sorted(row["name"] for row in rows) == sorted(f"key {n}" for n in range(1, KEYS + 1))
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    formers = {row["name"]: row["former"]["litellm_key_id"] for row in rows if row["former"]}
    assert formers == {f"key {n}": f"sk-kf-an-old-string-{n}" for n in range(1, ROTATED + 1)}


@pytest.mark.parametrize("size", [100, 43, 130])
async def test_every_payment_is_listed_once_page_by_page(
    store: CallerStore, user_id: UUID, size: int
) -> None:
    found: list[str] = []
    page = await store.list_transactions(str(user_id), None, size)
    found += [row["reference"] for row in page.rows]
    while (after := page.next("reference")) is not None:
        page = await store.list_transactions(str(user_id), after, size)
        found += [row["reference"] for row in page.rows]
    assert sorted(found) == sorted(f"kf-{n}" for n in range(1, PAYMENTS + 1))


async def test_all_packages_are_listed(store: CallerStore, site: Site) -> None:
    (on_sale,) = site.db.execute("select count(*) from credit_packages where active").fetchone() or (0,)
    rows = await store.list_packages()
    assert len({row["id"] for row in rows}) == len(rows) == on_sale > 1000


def test_what_is_leased_is_what_is_handed_over(site: Site) -> None:
    site.db.execute(
        "insert into keyfund.events (provider, fingerprint, event, kind, body) "
        "select 'paystack', 'f' || n, 'unknown.event', 'other', '{}' from generate_series(1, 1500) n"
    )
    claimed = site.rpc("claim_events", {"p_limit": 1500, "p_lease_seconds": 60}).json()
    leased = site.db.execute("select count(*) from keyfund.events where lease_token is not null").fetchone()
    assert leased == (len(claimed),) == (1000,)


def test_a_longer_page_than_there_is_is_refused_not_cut(site: Site, user_id: UUID) -> None:
    site.db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    bearer = f"Bearer {site.token(sub=str(user_id))}"
    for function in ("find_payments", "find_accounts", "list_events", "list_failing_keys"):
        answer = site.rpc(function, {"page_size": 500}, bearer=bearer, key="publishable")
        assert told(answer) == (400, "PT400"), function
