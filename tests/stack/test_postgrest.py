"""The stand-in's PostgREST answers as the real one does, where the two were compared on one database."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.stack.site import Site, serving, told
from tests.support import SqlServer, eventually

FUNCTIONS = """
    create function public.echo(word text default null, flag boolean default null, large bigint default null)
      returns jsonb language sql stable as $$
      select jsonb_build_object('word', word, 'flag', flag, 'large', large) $$;
    create function public.locked(flag boolean) returns boolean language sql as 'select flag';
    create function public.collide() returns bigint language plpgsql as $$
    begin
      if nextval('public.tries') < 4 then
        raise exception using errcode = '40001';
      end if;
      return currval('public.tries');
    end $$;
    create function public.wait(seconds double precision) returns void language sql
      as 'select pg_sleep(seconds)';
    create function public.on_change() returns trigger language plpgsql as 'begin return new; end';
    create function public.numbers(up_to integer) returns setof integer language sql stable
      as 'select generate_series(1, up_to)';
    create function public.swap(a_first boolean) returns void language plpgsql as $$
    begin
      perform 1 from public.parent where id = case when a_first then 1 else 2 end for update;
      perform pg_sleep(0.3);
      perform 1 from public.parent where id = case when a_first then 2 else 1 end for update;
    end $$;
    create sequence public.tries;
    create table public.parent (id integer primary key, name text, big bigint);
    create table public.child (id integer primary key, parent_id integer references public.parent, name text);
    insert into public.parent values (1, 'one', 9007199254740993), (2, 'two', null);
    insert into public.child values (1, 1, 'a'), (2, 1, 'b');
    grant select, insert, update on public.parent, public.child to service_role;
    grant usage on sequence public.tries to service_role;
    revoke execute on all functions in schema public from public, anon, authenticated;
    grant execute on function public.echo, public.collide, public.wait, public.numbers, public.swap
      to service_role;
    grant execute on function public.echo to authenticated;
    notify pgrst;
"""


@pytest.fixture(scope="module")
def site(sql_server: SqlServer) -> Iterator[Site]:
    with serving(sql_server, FUNCTIONS) as running:
        yield running


# --- tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew", "status"),
    [
        ({"iat": 1}, 200), ({"iat": 20}, 200), ({"iat": 28}, 200), ({"iat": 60}, 401), ({"nbf": 20}, 200),
        ({"nbf": 60}, 401), ({"exp": -20}, 200), ({"exp": -60}, 401),
    ],
    ids=str,
)  # fmt: skip
def test_clocks_may_differ_by_half_a_minute(site: Site, skew: dict[str, int], status: int) -> None:
    times = {name: int(time.time()) + seconds for name, seconds in skew.items()}
    answer = site.rpc("echo", bearer=f"Bearer {site.token(**times)}", key="publishable")
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "PGRST303"
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize("bearer", ["Bearer x", "Bearer a.b", "Bearer a.b.c", "bearer x", "Bearer a.b.c.d"])
def test_a_bearer_that_is_no_jwt_is_refused(site: Site, bearer: str) -> None:
    answer = site.rpc("echo", bearer=bearer, key="publishable")
    assert told(answer) == (401, "PGRST301")


def test_bearer_may_be_written_small(site: Site) -> None:
    assert site.rpc("echo", bearer=f"bearer {site.token()}", key="publishable").status_code == 200


def test_an_unknown_role_is_refused(site: Site) -> None:
    answer = site.rpc("echo", bearer=f"Bearer {site.token(role='nobody')}", key="publishable")
    assert told(answer) == (401, "22023")
    assert answer.headers["www-authenticate"] == "Bearer"


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"word": []}', {"word": "[]"}),
        (b'{"word": {"a": 1}}', {"word": '{"a": 1}'}),
        (b'{"word": 5}', {"word": "5"}),
        (b'{"word": true}', {"word": "true"}),
        (b'{"flag": "t"}', {"flag": True}),
        (b'{"large": 9007199254740993}', {"large": 9007199254740993}),
        (b'{"large": "9223372036854775807"}', {"large": 9223372036854775807}),
        (b'[{"word": "first"}, {"word": "second"}]', {"word": "first"}),
        (b"", {}),
    ],
)
def test_arguments_follow_postgresql_s_rules(site: Site, body: bytes, answer: dict[str, Any]) -> None:
    nothing = {"word": None, "flag": None, "large": None}
    assert site.rpc("echo", body, headers={"content-type": "application/json"}).json() == nothing | answer


@pytest.mark.parametrize(
    ("function", "body", "refusal"),
    [
        ("echo", b'{"flag": "maybe"}', (400, "22P02")),
        ("echo", b'{"large": 9223372036854775808}', (400, "22003")),
        ("echo", b"{", (400, "PGRST102")),
        ("echo", b'[{"word": "a"}, {"flag": true}]', (400, "PGRST102")),
        ("echo", b'{"wrod": "a"}', (404, "PGRST202")),
        ("on_change", b"{}", (404, "PGRST202")),
        ("handle_new_user", b"{}", (404, "PGRST202")),
    ],
)
def test_what_they_do_not_allow_is_refused(
    site: Site, function: str, body: bytes, refusal: tuple[int, str]
) -> None:
    assert told(site.rpc(function, body)) == refusal


def test_the_right_to_execute_is_looked_at_first(site: Site) -> None:
    wrong = b'{"flag": "maybe"}'
    assert told(site.rpc("locked", wrong)) == (403, "42501")
    assert told(site.rpc("locked", wrong, key="publishable")) == (401, "42501")
    user = f"Bearer {site.token()}"
    assert told(site.rpc("locked", wrong, bearer=user, key="publishable")) == (403, "42501")


def test_head_of_a_stable_function_runs_nothing(site: Site) -> None:
    assert site.send("HEAD", "/rpc/numbers?up_to=x", key="publishable").status_code == 200
    assert site.send("GET", "/rpc/numbers?up_to=2").json() == [1, 2]
    assert told(site.send("GET", "/rpc/collide")) == (405, "25006")


# --- rows ---------------------------------------------------------------------------------------------------


def test_rows_are_embedded_both_ways(site: Site) -> None:
    many = site.send("GET", "/parent?select=name,child(name)&order=id&child.order=id.desc").json()
    assert many == [
        {"name": "one", "child": [{"name": "b"}, {"name": "a"}]}, {"name": "two", "child": []}
    ]  # fmt: skip
    assert site.send("GET", "/parent?select=name,child!inner(name)&child.name=eq.a").json() == [
        {"name": "one", "child": [{"name": "a"}]}
    ]
    one = site.send("GET", "/child?select=id,of:parent(name)&id=eq.2").json()
    assert one == [{"id": 2, "of": {"name": "one"}}]
    assert told(site.send("GET", "/parent?select=*,transactions(*)")) == (400, "PGRST200")


def test_large_numbers_are_exact(site: Site) -> None:
    assert site.send("GET", "/parent?id=eq.1").json()[0]["big"] == 9007199254740993


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_rows_are_counted(site: Site, how: str) -> None:
    answer = site.send("GET", "/child?limit=1", headers={"prefer": f"count={how}"})
    assert (answer.status_code, answer.headers["content-range"]) == (206, "0-0/2")
    assert answer.headers["preference-applied"] == f"count={how}"


def test_rows_come_as_csv_where_that_is_asked_for(site: Site) -> None:
    answer = site.send("GET", "/child?order=id", headers={"accept": "text/csv"})
    assert (answer.text, answer.headers["content-type"]) == (
        "id,parent_id,name\n1,1,a\n2,1,b",
        "text/csv; charset=utf-8",
    )
    assert told(site.send("GET", "/child", headers={"accept": "application/x-own"})) == (406, "PGRST107")


def test_a_set_has_a_thousand_rows_at_most(site: Site) -> None:
    assert len(site.rpc("numbers", {"up_to": 1500}).json()) == 1000


def test_what_is_written_comes_back_as_asked(site: Site) -> None:
    rows = [{"id": 7, "name": "seven"}, {"id": 8, "name": "eight"}]
    made = site.send("POST", "/parent", json=rows, headers={"prefer": "return=representation"})
    assert (made.status_code, [row["name"] for row in made.json()]) == (201, ["seven", "eight"])
    assert made.headers["preference-applied"] == "return=representation"
    prefer = {"prefer": "resolution=merge-duplicates,return=representation"}
    merged = site.send("POST", "/parent?select=name", json={"id": 7, "name": "new"}, headers=prefer)
    assert merged.json() == [{"name": "new"}]
    changed = site.send("PATCH", "/parent?id=in.(7,8)", json={"name": "same"})
    assert (changed.status_code, changed.text) == (204, "")
    assert told(site.send("PATCH", "/parent", json={"name": "all"})) == (400, "21000")
    assert told(site.send("PATCH", "/parent?id=eq.7", json={"nmae": "x"})) == (400, "PGRST204")


# --- trouble ------------------------------------------------------------------------------------------------


def test_what_collides_is_done_again(site: Site) -> None:
    assert site.rpc("collide").json() == 4


def test_deadlocks_are_never_seen(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda first: site.rpc("swap", {"a_first": first}), [True, False]))
    assert [one.status_code for one in answers] == [204, 204]


def test_a_killed_connection_fails_one_request(site: Site) -> None:
    query = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and application_name = 'postgrest'"
    )
    assert site.rpc("echo").status_code == 200
    (killed,) = site.db.execute(query).fetchone() or (0,)
    gone = (
        "select count(*) = 0 from pg_stat_activity "
        "where application_name = 'postgrest' and datname = current_database()"
    )
    assert eventually(lambda: site.db.execute(gone).fetchone() == (True,))
    answers = [site.rpc("echo") for _ in range(20)]
    failed = [told(one) for one in answers if one.status_code != 200]
    assert failed == [(503, "57P01")] * killed
    assert answers[-1].status_code == 200


def test_a_query_in_hand_fails_with_its_connection(site: Site) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(site.rpc, "wait", {"seconds": 20})
        kill = (
            "select bool_or(pg_terminate_backend(pid)) from pg_stat_activity "
            "where application_name = 'postgrest' and query like '%\"wait\"%' and state = 'active'"
        )
        assert eventually(lambda: site.db.execute(kill).fetchone() == (True,))
        assert told(asked.result()) == (503, "57P01")
    assert eventually(lambda: site.rpc("echo").status_code == 200)


def test_who_finds_no_free_connection_waits_ten_seconds(site: Site) -> None:
    """Ten hold all connections for the eight seconds that a statement has; the next ten hold them again."""
    with ThreadPoolExecutor(25) as pool:
        held = [pool.submit(site.rpc, "wait", {"seconds": 20}) for _ in range(10)]
        busy = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        assert eventually(lambda: site.db.execute(busy).fetchone() == (10,))
        late = [pool.submit(site.rpc, "wait", {"seconds": 20}) for _ in range(15)]
        answers = [one.result() for one in late]
        assert {told(one.result()) for one in held} == {(500, "57014")}
    refused = [one for one in answers if told(one) == (504, "PGRST003")]
    assert len(refused) == 5
    assert all(9 < one.elapsed.total_seconds() < 14 for one in refused)


def test_without_its_database_there_is_no_schema_cache(site: Site) -> None:
    name = site.database.name
    with psycopg.connect(site.database.address.url("supabase_admin", "postgres"), autocommit=True) as admin:
        admin.execute(f"alter database {name} allow_connections false".encode())
        try:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s "
                "and application_name like 'postgrest%%'",
                [name],
            )
            assert eventually(lambda: told(site.rpc("echo")) == (503, "PGRST002"))
        finally:
            admin.execute(f"alter database {name} allow_connections true".encode())
    assert eventually(lambda: site.rpc("echo").status_code == 200)
    assert {site.rpc("echo").status_code for _ in range(20)} == {200}
