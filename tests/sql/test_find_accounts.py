"""How administrators find an account."""

from uuid import UUID

import pytest

from tests.sql.acting import (
    Row,
    by_owner,
    claim,
    fail,
    finish,
    let_pass,
    make_due,
    refused,
    sign_up,
    synced_key,
)
from tests.support import Connection


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db, "zz-admin@example.com")
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def find(db: Connection, who: UUID, search: str | None = None, **more: object) -> list[Row]:
    found: list[Row] = by_owner(db, who, "find_accounts", search=search, **more)
    return found


def test_only_administrators_find_accounts(db: Connection) -> None:
    user_id = sign_up(db)
    with refused(403, "not_an_administrator"):
        find(db, user_id)
    with refused(403, "not_an_administrator"):
        find(db, user_id, str(user_id))


def test_accounts_are_found_by_id_or_by_how_their_address_begins(db: Connection, admin: UUID) -> None:
    ana, anabel, bea = (sign_up(db, f"{name}@example.com") for name in ("ana", "anabel", "be%a_"))

    def ids(search: str) -> set[str]:
        return {one["account_id"] for one in find(db, admin, search)}

    assert ids("ana@example.com") == ids(f" {ana} ") == ids(str(ana).upper()) == {str(ana)}
    assert ids("ANA") == {str(ana), str(anabel)}
    assert ids("be%") == {str(bea)}
    assert ids("b%") == ids("_na") == ids("example.com") == ids("nobody") == set()


def test_without_a_search_the_newest_come_first(db: Connection, admin: UUID) -> None:
    older = sign_up(db)
    let_pass(db, 60)
    newer = sign_up(db)
    assert [one["account_id"] for one in find(db, admin, page_size=2)] == [
        str(newer),
        find(db, admin)[1]["account_id"],
    ]
    assert find(db, admin, "   ")[0]["account_id"] == str(newer)
    assert {one["account_id"] for one in find(db, admin)} == {str(one) for one in (admin, older, newer)}


def test_teams_are_found_by_id_or_by_how_their_name_begins_and_among_the_newest(
    db: Connection, admin: UUID
) -> None:
    owner = sign_up(db, "ana@example.com")
    let_pass(db, 60)
    team = by_owner(db, owner, "create_team", name="Anthill")["id"]
    for search in ("anth", str(team)):
        (found,) = find(db, admin, search)
        assert (found["account_id"], found["name"], found["email"]) == (str(team), "Anthill", None)
        assert (found["status"], found["credits"], found["banned_until"]) == ("active", 0, None)
    assert {one["account_id"] for one in find(db, admin, "an")} == {str(owner), str(team)}
    (newest,) = find(db, admin, page_size=1)
    (second,) = find(db, admin, page_size=1, after_account=newest["account_id"])
    assert (newest["account_id"], second["account_id"]) == (str(team), str(owner))


@pytest.mark.parametrize("size", [0, -5, 201, 1000, None])
def test_a_page_is_as_long_as_was_asked_for_or_refused(db: Connection, admin: UUID, size: int | None) -> None:
    for function in ("find_accounts", "find_payments", "list_events", "list_failing_keys"):
        with refused(400, "invalid_page_size"):
            by_owner(db, admin, function, page_size=size)


def test_the_accounts_are_found_page_by_page_none_twice(db: Connection, admin: UUID) -> None:
    everybody = [str(sign_up(db)) for _ in range(4)] + [str(admin)]  # several of one moment
    seen: list[str] = []
    while page := find(db, admin, page_size=2, **({"after_account": seen[-1]} if seen else {})):
        seen += [one["account_id"] for one in page]
    assert sorted(seen) == sorted(everybody)


def test_an_account_is_told_with_its_keys_and_how_it_stands(db: Connection, admin: UUID) -> None:
    user_id = sign_up(db, "ana@example.com")
    made = synced_key(db, user_id)
    synced_key(db, user_id)
    by_owner(db, user_id, "rotate_virtual_key", key_id=made["id"])
    assert finish(db, claim(db, user_id))
    (told,) = find(db, admin, "ana")
    assert told | {"created_at": None} == {
        "account_id": str(user_id),
        "email": "ana@example.com",
        "name": None,
        "status": "active",
        "credits": 500,
        "suspended_at": None,
        "banned_until": None,
        "created_at": None,
        "keys": 2,
        "failing_keys": 0,
        "wallet_confirmed": True,
    }
    by_owner(db, user_id, "resync_virtual_key", key_id=made["id"])
    make_due(db, user_id)
    assert fail(db, claim(db, user_id), "transient")
    (told,) = find(db, admin, str(user_id))
    assert (told["failing_keys"], told["wallet_confirmed"]) == (1, False)
    assert "sk-" not in str(told)


def test_the_search_reads_an_index(db: Connection, admin: UUID) -> None:
    db.execute("set enable_seqscan = off")
    plan = "\n".join(line for (line,) in db.execute(
        "explain select * from public.profiles p "
        "where p.email ~>=~ 'ana' and p.email ~<~ ('ana' || chr(1114111))"
    ).fetchall())  # fmt: skip
    db.execute("reset enable_seqscan")
    assert "profiles_email_prefix_idx" in plan
