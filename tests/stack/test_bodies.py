"""What our own functions make of bodies that PostgREST takes for something else than was meant."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from tests.sql.acting import sign_up
from tests.stack.site import Site, serving, told
from tests.support import SqlServer


@pytest.fixture(scope="module")
def site(sql_server: SqlServer) -> Iterator[Site]:
    with serving(sql_server) as running:
        yield running


@pytest.fixture
def user_id(site: Site) -> UUID:
    return sign_up(site.db)


def call(site: Site, who: UUID, function: str, body: Any) -> Any:
    bearer = f"Bearer {site.token(sub=str(who))}"
    content = json.dumps(body).encode()
    return site.rpc(function, content, bearer=bearer, key="publishable")


def names(site: Site, who: UUID) -> list[str]:
    rows = site.db.execute(
        "select name from virtual_keys where user_id = %s and state = 'active' order by name", [who]
    ).fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize("name", [[], ["a"], {}, {"a": 1}], ids=json.dumps)
def test_a_name_that_is_no_text_is_refused(site: Site, user_id: UUID, name: Any) -> None:
    answer = call(site, user_id, "create_virtual_key", {"name": name})
    assert (*told(answer), answer.json()["details"]) == (400, "PT400", "invalid_name")
    made = call(site, user_id, "create_virtual_key", {"name": "mine"}).json()
    answer = call(site, user_id, "update_virtual_key", {"key_id": made["id"], "name": name})
    assert (answer.status_code, answer.json()["details"]) == (400, "invalid_name")
    assert names(site, user_id) == ["mine"]


@pytest.mark.parametrize(
    "name", ["2026", "true", "[draft] laptop", "{x", "a 5", "5a", "5 keys", "true love", '"quoted"', "–"]
)
def test_the_control_a_text_is_a_name(site: Site, user_id: UUID, name: str) -> None:
    assert call(site, user_id, "create_virtual_key", {"name": name}).json()["name"] == name


def test_no_name_is_the_usual_one(site: Site, user_id: UUID) -> None:
    assert call(site, user_id, "create_virtual_key", {"name": None}).json()["name"] == "Key"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_list_is_refused_rather_than_its_first_done(site: Site, user_id: UUID, count: int) -> None:
    body = [{"name": f"key {number}"} for number in range(count)]
    answer = call(site, user_id, "create_virtual_key", body)
    assert (answer.status_code, answer.json()["details"]) == (400, "one_at_a_time")
    assert names(site, user_id) == []
    made = call(site, user_id, "create_virtual_key", {"name": "one"}).json()
    for function in ("revoke_virtual_key", "block_virtual_key", "update_virtual_key"):
        given = [{"key_id": made["id"]}] * count
        answer = call(site, user_id, function, given)
        assert (answer.status_code, answer.json()["details"]) == (400, "one_at_a_time"), function
    assert names(site, user_id) == ["one"]


def test_an_administrator_s_list_is_refused_too(site: Site, user_id: UUID) -> None:
    site.db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    given = {"account_id": str(user_id), "reason": "x"}
    answer = call(site, user_id, "suspend_account", [given, given])
    assert (answer.status_code, answer.json()["details"]) == (400, "one_at_a_time")
    assert call(site, user_id, "suspend_account", given).status_code == 204


def test_no_function_of_ours_raises_what_postgrest_repeats_without_end(site: Site) -> None:
    rows = site.db.execute(
        "select proname from pg_proc where pronamespace in ('public'::regnamespace, 'keyfund'::regnamespace) "
        "and prosrc ~* '40001|40P01|serialization_failure|deadlock_detected'"
    ).fetchall()
    assert rows == []
