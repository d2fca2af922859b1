"""Teams: who gets in, who may do what there, and what becomes of what somebody leaves behind."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    account,
    append,
    at_once,
    ban,
    by_owner,
    by_service,
    change_user,
    claim,
    credit,
    delete_user,
    finish,
    key,
    let_pass,
    refused,
    row,
    rows,
    sign_up,
    soft_delete,
    value,
)
from tests.support import Connection, Database, as_role


def team_of(db: Connection, owner: UUID, name: str = "Lab") -> UUID:
    made: Row = by_owner(db, owner, "create_team", name=name)
    return UUID(str(made["id"]))


def invite(db: Connection, by: UUID, team: UUID, email: str, role: str = "member") -> str:
    """Invite somebody, and return the token that is in the mail."""
    made = by_owner(db, by, "invite_member", account_id=team, email=email, role=role)
    mails = by_service(db, "claim_invitation_mails", p_limit=1000, p_lease_seconds=60)
    (mail,) = [one for one in mails if one["id"] == str(made["id"])]
    assert by_service(db, "finish_invitation_mail", p_id=made["id"], p_lease_token=mail["lease_token"])
    return str(mail["token"])


def join(db: Connection, by: UUID, team: UUID, role: str = "member") -> UUID:
    """Somebody new who accepted an invitation."""
    user_id = sign_up(db)
    email = value(db, "select email from auth.users where id = %s", user_id)
    by_owner(db, user_id, "accept_invitation", token=invite(db, by, team, email, role))
    return user_id


def team_key(db: Connection, user_id: UUID, team: UUID, **limits: object) -> Row:
    """A key of a team's that LiteLLM has confirmed."""
    made = by_owner(db, user_id, "create_virtual_key", account_id=team, **limits)
    assert finish(db, claim(db, team))
    return key(db, made["id"])


def roles(db: Connection, team: UUID) -> dict[UUID, str]:
    found = rows(db, "select user_id, role from public.members where account_id = %s", team)
    return {one["user_id"]: one["role"] for one in found}


def seen(db: Connection, user_id: UUID, table: str) -> list[Row]:
    with as_role(db, "authenticated", user_id):
        return rows(db, f"select * from public.{table}")


@pytest.fixture
def owner(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def team(db: Connection, owner: UUID) -> UUID:
    return team_of(db, owner)


# --- a wallet of its own ------------------------------------------------------------------------------------


def test_a_team_begins_with_its_maker_and_without_credits(db: Connection, owner: UUID) -> None:
    made = by_owner(db, owner, "create_team", name="  Lab ")
    assert (made["name"], made["credits"], made["status"]) == ("Lab", 0, "active")
    assert roles(db, made["id"]) == {owner: "owner"}
    assert account(db, made["id"])["wallet_credits"] == 0
    assert value(db, "select count(*) from public.credit_ledger where account_id = %s", made["id"]) == 0


@pytest.mark.parametrize("name", [None, "", "   ", "x" * 101, '["a"]', '{"a": 1}'])
def test_a_team_has_a_name(db: Connection, owner: UUID, name: str | None) -> None:
    with refused(400, "invalid_name"):
        by_owner(db, owner, "create_team", name=name)


def test_what_is_bought_for_a_team_is_the_team_s(db: Connection, owner: UUID, team: UUID) -> None:
    member = join(db, owner, team)
    made = team_key(db, member, team)
    order = by_service(db, "open_order", p_user_id=owner, p_package_id="starter-ngn", p_account_id=team)
    assert (order["account_id"], order["user_id"]) == (str(team), str(owner))
    credit(db, order)
    bought = order["credits"]
    assert value(db, "select credits from public.teams where id = %s", team) == bought
    assert value(db, "select credits from public.profiles where id = %s", owner) == 500
    assert key(db, made["id"])["max_budget"] == bought * 2
    entry = row(db, "select user_id, kind, delta from public.credit_ledger where account_id = %s", team)
    assert entry == {"user_id": owner, "kind": "purchase", "delta": bought}
    push = claim(db, team)
    assert (push["user_id"], push["budget_micros"]) == (str(team), bought * 20_000)
    assert value(db, "select count(*) from keyfund.audit_account(%s)", team) == 0


def test_two_members_spend_one_wallet(db: Connection, owner: UUID, team: UUID) -> None:
    append(db, team, 100)
    keys = [team_key(db, one, team) for one in (owner, join(db, owner, team))]
    assert [one["account_id"] for one in keys] == [team, team]
    make_due = "select keyfund.touch_account(%s)"
    value(db, make_due, team)
    assert finish(db, claim(db, team), spend_micros=30 * 20_000)
    assert value(db, "select credits from public.teams where id = %s", team) == 70
    spent = row(db, "select delta, user_id from public.credit_ledger where kind = 'usage'")
    assert spent == {"delta": -30, "user_id": None}
    assert value(db, "select count(*) from keyfund.audit_account(%s)", team) == 0
    told = by_service(db, "read_book", p_account_id=team)
    assert (told["differences"], told["seen_micros"]) == ([], 600_000)


def test_nobody_writes_a_team_s_credits_without_an_entry(db: Connection, team: UUID) -> None:
    with pytest.raises(
        psycopg.errors.RaiseException, match=r"teams\.credits changes only with a ledger entry"
    ):
        db.execute("update public.teams set credits = 5 where id = %s", [team])


def test_a_reconciliation_reads_teams_too(db: Connection, team: UUID) -> None:
    opened = by_service(db, "open_books")
    page = by_service(db, "read_books", p_after=None, p_limit=100, p_before=opened["at"])
    assert opened["accounts"] == len(page) == 2
    assert str(team) in {one["user_id"] for one in page}


# --- who gets in --------------------------------------------------------------------------------------------


def test_an_invitation_is_accepted_once_by_whoever_has_the_address(
    db: Connection, owner: UUID, team: UUID
) -> None:
    guest, stranger = sign_up(db, "Guest@example.com"), sign_up(db)
    token = invite(db, owner, team, " guest@Example.com")
    with refused(403, "invitation_of_another"):
        by_owner(db, stranger, "accept_invitation", token=token)
    assert by_owner(db, guest, "accept_invitation", token=token)["role"] == "member"
    assert roles(db, team) == {owner: "owner", guest: "member"}
    with refused(404, "invitation_not_found"):
        by_owner(db, guest, "accept_invitation", token=token)


def test_an_address_that_nobody_confirmed_is_not_enough(db: Connection, owner: UUID, team: UUID) -> None:
    guest = sign_up(db, "guest@example.com", email_confirmed_at=None)
    token = invite(db, owner, team, "guest@example.com")
    with refused(403, "invitation_of_another"):
        by_owner(db, guest, "accept_invitation", token=token)


def expire(db: Connection, _team: UUID) -> None:
    let_pass(db, 7 * 86_400 + 1)


def close(db: Connection, team: UUID) -> None:
    db.execute("update public.teams set status = 'suspended' where id = %s", [team])


def cancel(db: Connection, team: UUID) -> None:
    owner = value(db, "select user_id from public.members where account_id = %s", team)
    by_owner(db, owner, "cancel_invitation", invitation_id=value(db, "select id from public.invitations"))


def ask_again(db: Connection, team: UUID) -> None:
    owner = value(db, "select user_id from public.members where account_id = %s", team)
    by_owner(db, owner, "invite_member", account_id=team, email="guest@example.com")


@pytest.mark.parametrize("end", [expire, close, cancel, ask_again])
def test_an_invitation_that_is_over_is_as_none(
    db: Connection, owner: UUID, team: UUID, end: Callable[[Connection, UUID], None]
) -> None:
    guest = sign_up(db, "guest@example.com")
    token = invite(db, owner, team, "guest@example.com")
    end(db, team)
    for one in (token, token.upper(), "", None):
        with refused(404, "invitation_not_found"):
            by_owner(db, guest, "accept_invitation", token=one)
    assert guest not in roles(db, team)


def test_two_acceptances_at_once_make_one_member(database: Database, db: Connection) -> None:
    owner, guest = sign_up(db), sign_up(db, "guest@example.com")
    team = team_of(db, owner)
    token = invite(db, owner, team, "guest@example.com")

    def accept(connection: Connection, _number: int) -> bool:
        try:
            by_owner(connection, guest, "accept_invitation", token=token)
        except psycopg.Error:
            return False
        return True

    assert sorted(at_once(database, 3, accept)) == [False, False, True]
    assert roles(db, team) == {owner: "owner", guest: "member"}


def test_a_token_is_kept_only_until_it_is_sent(db: Connection, owner: UUID, team: UUID) -> None:
    made = by_owner(db, owner, "invite_member", account_id=team, email="a@example.com")
    assert "token" not in made
    (mail,) = by_service(db, "claim_invitation_mails", p_limit=10, p_lease_seconds=60)
    assert (mail["email"], mail["team"], mail["role"]) == ("a@example.com", "Lab", "member")
    assert by_service(db, "claim_invitation_mails", p_limit=10, p_lease_seconds=60) == []
    failed = {"p_id": made["id"], "p_lease_token": mail["lease_token"], "p_error": "smtp: away"}
    assert by_service(db, "fail_invitation_mail", **failed)
    assert not by_service(db, "fail_invitation_mail", **failed)  # its lease is over
    let_pass(db, 301)
    (again,) = by_service(db, "claim_invitation_mails", p_limit=10, p_lease_seconds=60)
    assert again["token"] == mail["token"]
    sent = {"p_id": made["id"], "p_lease_token": again["lease_token"]}
    assert by_service(db, "finish_invitation_mail", **sent)
    kept = row(db, "select * from keyfund.invitation_mails")
    assert kept["token"] is None
    assert mail["token"] not in str(kept)


def test_the_token_of_an_invitation_that_expired_unsent_is_erased(
    db: Connection, owner: UUID, team: UUID
) -> None:
    by_owner(db, owner, "invite_member", account_id=team, email="a@example.com")
    let_pass(db, 7 * 86_400 + 1)
    assert by_service(db, "claim_invitation_mails", p_limit=10, p_lease_seconds=60) == []
    assert value(db, "select token from keyfund.invitation_mails") is None


@pytest.mark.parametrize("email", [None, "", "nobody", "a@b c", "@x", "a@" + "x" * 320])
def test_an_invitation_goes_to_an_address(db: Connection, owner: UUID, team: UUID, email: str | None) -> None:
    with refused(400, "invalid_email"):
        by_owner(db, owner, "invite_member", account_id=team, email=email)


@pytest.mark.parametrize("role", [None, "", "king", "Owner"])
def test_a_role_is_one_of_three(db: Connection, owner: UUID, team: UUID, role: str | None) -> None:
    with refused(400, "invalid_role"):
        by_owner(db, owner, "invite_member", account_id=team, email="a@example.com", role=role)
    with refused(400, "invalid_role"):
        by_owner(db, owner, "change_role", account_id=team, user_id=owner, role=role)


def test_a_member_is_not_invited_again(db: Connection, owner: UUID, team: UUID) -> None:
    guest = sign_up(db, "Guest@example.com")
    by_owner(db, guest, "accept_invitation", token=invite(db, owner, team, "guest@example.com"))
    with refused(409, "already_member"):
        by_owner(db, owner, "invite_member", account_id=team, email="guest@example.com")


def test_nobody_is_invited_into_a_personal_account(db: Connection, owner: UUID) -> None:
    for account_id in (owner, None):
        with refused(404, "account_not_found"):
            by_owner(db, owner, "invite_member", account_id=account_id, email="a@example.com")


@pytest.mark.parametrize(
    ("setting", "code", "act"),
    [
        ("team_creations_per_hour", "too_many_teams", lambda db, who, _team: team_of(db, who)),
        (
            "invitations_per_hour",
            "too_many_invitations",
            lambda db, who, team: by_owner(
                db, who, "invite_member", account_id=team, email=f"{uuid4().hex}@example.com"
            ),
        ),
    ],
)
def test_nobody_makes_teams_or_invitations_without_end(
    db: Connection, owner: UUID, setting: str, code: str, act: Callable[[Connection, UUID, UUID], Any]
) -> None:
    team = team_of(db, owner)
    db.execute("delete from keyfund.paces where true")
    db.execute(f"update keyfund.settings set {setting} = 3".encode())
    for _ in range(3):
        act(db, owner, team)
    with refused(429, code):
        act(db, owner, team)
    let_pass(db, 1201)
    act(db, owner, team)


# --- roles --------------------------------------------------------------------------------------------------

DEEDS: dict[str, Callable[[Connection, UUID, UUID, UUID], object]] = {
    "invite": lambda db, who, team, _other: by_owner(
        db, who, "invite_member", account_id=team, email="new@example.com"
    ),
    "invite an admin": lambda db, who, team, _other: by_owner(
        db, who, "invite_member", account_id=team, email="new@example.com", role="admin"
    ),
    "remove": lambda db, who, team, other: by_owner(db, who, "remove_member", account_id=team, user_id=other),
    "promote": lambda db, who, team, other: by_owner(
        db, who, "change_role", account_id=team, user_id=other, role="admin"
    ),
    "make an owner": lambda db, who, team, other: by_owner(
        db, who, "change_role", account_id=team, user_id=other, role="owner"
    ),
    "make a key": lambda db, who, team, _other: by_owner(db, who, "create_virtual_key", account_id=team),
    "see the balance": lambda db, who, team, _other: by_owner(db, who, "read_balance", account_id=team),
    "see the backlog": lambda db, who, team, _other: by_owner(db, who, "read_own_backlog", account_id=team),
    "see limits": lambda db, who, team, _other: by_owner(db, who, "read_limits", account_id=team),
    "see each day": lambda db, who, team, _other: by_owner(
        db, who, "read_daily_balances", start_date="2026-01-01", end_date="2026-12-31", account_id=team
    ),
    "see all keys": lambda db, who, team, _other: by_owner(db, who, "list_account_keys", account_id=team),
    "see usage": lambda db, who, team, _other: by_owner(db, who, "read_usage", account_id=team),
    "buy": lambda db, who, team, _other: by_service(
        db, "open_order", p_user_id=who, p_package_id="starter-ngn", p_account_id=team
    ),
    "leave": lambda db, who, team, _other: by_owner(db, who, "leave_team", account_id=team),
}
TOO_LOW, NONE = (403, "role_too_low"), (404, "account_not_found")
MAY: dict[str, dict[str, tuple[int, str]]] = {
    "owner": {"leave": (409, "last_owner")},
    "admin": dict.fromkeys(("invite an admin", "promote", "make an owner"), TOO_LOW),
    "member": dict.fromkeys(
        (
            "invite",
            "invite an admin",
            "remove",
            "promote",
            "make an owner",
            "see each day",
            "see all keys",
            "buy",
        ),
        TOO_LOW,
    ),
    "former": dict.fromkeys(DEEDS, NONE),
    "stranger": dict.fromkeys(DEEDS, NONE),
    "suspended": dict.fromkeys(
        (name for name in DEEDS if not name.startswith("see")), (403, "account_suspended")
    ),
}
"""By who asks: what is refused, and how. Everything else is done."""
MAY["former"] |= {"see usage": (403, "not_an_administrator"), "leave": NONE}
MAY["stranger"] |= {"see usage": (403, "not_an_administrator"), "leave": NONE}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("who", MAY)
def test_each_role_may_do_exactly_what_is_listed(db: Connection, who: str, deed: str) -> None:
    owner = sign_up(db)
    team = team_of(db, owner)
    other = join(db, owner, team)
    actor = owner if who == "owner" else sign_up(db) if who == "stranger" else join(
        db, owner, team, "admin" if who in ("admin", "suspended") else "member"
    )  # fmt: skip
    if who == "former":
        by_owner(db, owner, "remove_member", account_id=team, user_id=actor)
    if who == "suspended":
        db.execute("update public.profiles set status = 'suspended' where id = %s", [actor])
    before = roles(db, team)
    if expected := MAY[who].get(deed):
        with refused(*expected):
            DEEDS[deed](db, actor, team, other)
        assert roles(db, team) == before
    elif deed == "see each day":
        with pytest.raises(IndexError):  # let in, and there is no day with a balance yet
            DEEDS[deed](db, actor, team, other)
    else:
        DEEDS[deed](db, actor, team, other)


def test_admins_leave_owners_and_each_other_alone(db: Connection, owner: UUID, team: UUID) -> None:
    admin, rival = join(db, owner, team, "admin"), join(db, owner, team, "admin")
    for other in (owner, rival):
        with refused(403, "role_too_low"):
            by_owner(db, admin, "remove_member", account_id=team, user_id=other)
        with refused(403, "role_too_low"):
            by_owner(db, admin, "change_role", account_id=team, user_id=other, role="member")
    assert roles(db, team) == {owner: "owner", admin: "admin", rival: "admin"}


def test_a_team_keeps_an_owner(db: Connection, owner: UUID, team: UUID) -> None:
    second = join(db, owner, team)
    for act, more in (("leave_team", {}), ("remove_member", {"user_id": owner})):
        with refused(409, "last_owner"):
            by_owner(db, owner, act, account_id=team, **more)
    with refused(409, "last_owner"):
        by_owner(db, owner, "change_role", account_id=team, user_id=owner, role="admin")
    by_owner(db, owner, "change_role", account_id=team, user_id=second, role="owner")
    by_owner(db, owner, "leave_team", account_id=team)
    assert roles(db, team) == {second: "owner"}


def test_of_two_owners_who_leave_at_once_one_stays(database: Database, db: Connection) -> None:
    owner = sign_up(db)
    team = team_of(db, owner)
    people = [owner, join(db, owner, team, "owner")]

    def leave(connection: Connection, number: int) -> bool:
        try:
            by_owner(connection, people[number], "leave_team", account_id=team)
        except psycopg.Error as error:
            return error.diag.message_detail != "last_owner"
        return True

    assert sorted(at_once(database, 2, leave)) == [False, True]
    assert list(roles(db, team).values()) == ["owner"]


def test_an_invitation_ends_with_the_right_of_whoever_made_it(
    db: Connection, owner: UUID, team: UUID
) -> None:
    guest = sign_up(db, "guest@example.com")
    for end in ("remove_member", "change_role"):
        admin = join(db, owner, team, "admin")
        token = invite(db, admin, team, "guest@example.com")
        more = {"role": "member"} if end == "change_role" else {}
        by_owner(db, owner, end, account_id=team, user_id=admin, **more)
        with refused(404, "invitation_not_found"):
            by_owner(db, guest, "accept_invitation", token=token)


# --- keys ---------------------------------------------------------------------------------------------------


def test_owners_and_admins_see_keys_without_their_strings(db: Connection, owner: UUID, team: UUID) -> None:
    member = join(db, owner, team)
    made = team_key(db, member, team)
    (listed,) = by_owner(db, owner, "list_account_keys", account_id=team)
    assert (listed["id"], listed["user_id"]) == (str(made["id"]), str(member))
    assert listed["key_preview"] == made["key_preview"]
    assert made["litellm_key_id"] not in str(listed)
    assert "litellm_key_id" not in listed
    assert seen(db, owner, "virtual_keys") != []
    assert made["id"] not in {one["id"] for one in seen(db, owner, "virtual_keys")}
    assert made["litellm_key_id"] in {one["litellm_key_id"] for one in seen(db, member, "virtual_keys")}


def test_a_page_of_a_team_s_keys_goes_on_where_the_one_before_ended(
    db: Connection, owner: UUID, team: UUID
) -> None:
    made = [by_owner(db, owner, "create_virtual_key", account_id=team)["id"] for _ in range(5)]
    got: list[str] = []
    while page := by_owner(
        db, owner, "list_account_keys", account_id=team, page_size=2, after_key=got[-1] if got else None
    ):
        got += [one["id"] for one in page]
    assert got == [str(one) for one in reversed(made)]


MANAGED: dict[str, dict[str, object]] = {
    "update_virtual_key": {"rpm_limit": 3},
    "block_virtual_key": {},
    "resync_virtual_key": {},
    "revoke_virtual_key": {},
}


@pytest.mark.parametrize("function", MANAGED)
def test_an_admin_changes_a_member_s_key_and_is_not_shown_it(
    db: Connection, owner: UUID, team: UUID, function: str
) -> None:
    admin, member = join(db, owner, team, "admin"), join(db, owner, team)
    made = team_key(db, member, team)
    answer = by_owner(db, admin, function, key_id=made["id"], **MANAGED[function])
    assert answer["id"] == made["id"]
    assert answer["litellm_key_id"] is None
    assert made["litellm_key_id"] not in str(answer)


@pytest.mark.parametrize("function", [*MANAGED, "unblock_virtual_key", "rotate_virtual_key"])
def test_a_team_s_key_is_none_to_fellow_members_former_ones_and_strangers(
    db: Connection, owner: UUID, team: UUID, function: str
) -> None:
    made = team_key(db, join(db, owner, team), team)
    former = join(db, owner, team, "admin")
    by_owner(db, owner, "remove_member", account_id=team, user_id=former)
    for other in (join(db, owner, team), former, sign_up(db)):
        with refused(404, "key_not_found"):
            by_owner(db, other, function, key_id=made["id"], **MANAGED.get(function, {}))
    assert key(db, made["id"]) == made


def test_a_key_s_string_is_changed_by_its_holder_alone(db: Connection, owner: UUID, team: UUID) -> None:
    made = team_key(db, join(db, owner, team), team)
    with refused(403, "key_of_another"):
        by_owner(db, owner, "rotate_virtual_key", key_id=made["id"])
    rotated = by_owner(db, made["user_id"], "rotate_virtual_key", key_id=made["id"])
    assert rotated["litellm_key_id"] not in (None, made["litellm_key_id"])
    former = row(
        db, "select account_id, user_id from public.virtual_keys where successor_id = %s", made["id"]
    )
    assert former == {"account_id": team, "user_id": made["user_id"]}


def test_what_an_admin_blocked_or_limited_its_holder_leaves(db: Connection, owner: UUID, team: UUID) -> None:
    member = join(db, owner, team)
    made = team_key(db, member, team)
    by_owner(db, owner, "block_virtual_key", key_id=made["id"])
    by_owner(db, member, "block_virtual_key", key_id=made["id"])
    assert key(db, made["id"])["blocked_by"] == "team"
    with refused(403, "role_too_low"):
        by_owner(db, member, "unblock_virtual_key", key_id=made["id"])
    for limit in (
        {"rpm_limit": 5},
        {"tpm_limit": 5},
        {"max_budget": 5},
        {"cap": "wallet"},
        {"budget_duration": "1h"},
        {"models": ["*"]},
        {"expires_at": "infinity"},
    ):
        with refused(403, "role_too_low"):
            by_owner(db, member, "update_virtual_key", key_id=made["id"], **limit)
    assert by_owner(db, member, "update_virtual_key", key_id=made["id"], name="Mine")["name"] == "Mine"
    assert by_owner(db, owner, "unblock_virtual_key", key_id=made["id"])["state"] == "active"


def test_a_member_who_goes_leaves_no_key_that_works(db: Connection, owner: UUID, team: UUID) -> None:
    for end in ("leave", "remove"):
        member = join(db, owner, team)
        made, own = team_key(db, member, team), by_owner(db, member, "create_virtual_key")
        if end == "leave":
            by_owner(db, member, "leave_team", account_id=team)
        else:
            by_owner(db, owner, "remove_member", account_id=team, user_id=member)
        assert key(db, made["id"])["state"] == "revoked"
        assert key(db, own["id"])["state"] == "active"
        push = claim(db, team)
        assert [(one["key_hash"], one["state"]) for one in push["keys"]] == [(made["key_hash"], "revoked")]
        assert finish(db, push)
        with refused(404, "account_not_found"):
            by_owner(db, member, "create_virtual_key", account_id=team)


# --- suspended, deleted, closed -----------------------------------------------------------------------------


def test_a_suspended_person_s_keys_are_blocked_in_their_teams_until_they_are_back(
    db: Connection, owner: UUID, team: UUID
) -> None:
    member = join(db, owner, team)
    live, stopped, other = (team_key(db, one, team) for one in (member, member, owner))
    by_owner(db, member, "block_virtual_key", key_id=stopped["id"])
    ban(db, member, hours=1)
    assert [key(db, one["id"])["state"] for one in (live, stopped, other)] == ["blocked", "blocked", "active"]
    for who in (member, owner):
        with refused(403, "holder_suspended"):
            by_owner(db, who, "unblock_virtual_key", key_id=live["id"])
    push = claim(db, team)
    assert (push["suspended"], {one["state"] for one in push["keys"]}) == (False, {"blocked"})
    ban(db, member)
    assert [key(db, one["id"])["state"] for one in (live, stopped, other)] == ["active", "blocked", "active"]
    assert key(db, stopped["id"])["blocked_by"] == "owner"


def test_an_administrator_suspends_a_team_as_any_account(db: Connection, owner: UUID, team: UUID) -> None:
    append(db, team, 100, "purchase")
    team_key(db, owner, team)
    admin = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [admin])
    by_owner(db, admin, "suspend_account", account_id=team, reason="abuse")
    push = claim(db, team)
    assert (push["suspended"], push["budget_micros"]) == (True, 0)
    finish(db, push)
    with refused(403, "account_suspended"):
        by_owner(db, owner, "create_virtual_key", account_id=team)
    with refused(403, "account_suspended"):
        by_service(db, "open_order", p_user_id=owner, p_package_id="starter-ngn", p_account_id=team)
    by_owner(db, owner, "create_virtual_key")  # their own account is another
    by_owner(db, admin, "reinstate_account", account_id=team, reason="sorry")
    assert claim(db, team)["budget_micros"] == 2_000_000
    adjusted = by_owner(
        db, admin, "adjust_credits", account_id=team, credits=5, reason="gift", adjustment_id="g"
    )
    assert (adjusted["account_id"], adjusted["balance_after"]) == (team, 105)


@pytest.mark.parametrize("delete", [delete_user, soft_delete])
@pytest.mark.parametrize(
    ("others", "heir"),
    [(["member", "admin", "admin"], 1), (["member", "member"], 0), (["admin", "owner"], 1)],
)
def test_a_team_whose_owner_was_deleted_has_another(
    db: Connection, others: list[str], heir: int, delete: Callable[[Connection, UUID], None]
) -> None:
    owner = sign_up(db)
    team = team_of(db, owner)
    made = team_key(db, owner, team)
    people = [join(db, owner, team, role) for role in others]
    delete(db, owner)
    expected = dict(zip(people, others, strict=True)) | {people[heir]: "owner"}
    assert roles(db, team) == expected
    gone = key(db, made["id"])
    assert (gone["state"], gone["name"]) == ("revoked", "Deleted")
    assert value(db, "select status from public.teams where id = %s", team) == "active"


def test_a_team_of_which_nobody_is_left_is_closed(db: Connection, owner: UUID, team: UUID) -> None:
    append(db, team, 100, "purchase")
    team_key(db, owner, team)
    order = by_service(db, "open_order", p_user_id=owner, p_package_id="starter-ngn", p_account_id=team)
    token = invite(db, owner, team, "guest@example.com")
    delete_user(db, owner)
    closed = row(db, "select * from public.teams where id = %s", team)
    assert (closed["status"], closed["name"], roles(db, team)) == ("deleted", "Deleted", {})
    push = claim(db, team)
    assert (push["budget_micros"], {one["state"] for one in push["keys"]}) == (0, {"revoked"})
    with refused(404, "invitation_not_found"):
        by_owner(db, sign_up(db, "guest@example.com"), "accept_invitation", token=token)
    credit(db, order)
    admin = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [admin])
    (late,) = by_owner(db, admin, "list_paid_after_deletion")
    assert (late["account_id"], late["account_status"]) == (str(team), "deleted")
    assert by_owner(db, admin, "read_concerns")["paid_after_deletion"] == 1


def test_a_deletion_never_waits_for_ever_on_a_team(db: Connection, owner: UUID, team: UUID) -> None:
    """What a trigger could not do the sweep does."""
    member = join(db, owner, team)
    made = team_key(db, member, team)
    db.execute("alter table auth.users disable trigger keyfund_deleted_user")
    delete_user(db, member)
    assert key(db, made["id"])["state"] == "active"
    by_service(db, "heal_accounts")
    assert key(db, made["id"])["state"] == "revoked"
    assert roles(db, team) == {owner: "owner"}


# --- what is written down -----------------------------------------------------------------------------------


def test_what_is_done_in_a_team_is_written_down_for_its_owners_and_admins(
    db: Connection, owner: UUID, team: UUID
) -> None:
    admin, member = join(db, owner, team, "admin"), join(db, owner, team)
    made = team_key(db, member, team)
    by_owner(db, admin, "block_virtual_key", key_id=made["id"])
    by_owner(db, owner, "change_role", account_id=team, user_id=member, role="admin")
    by_owner(db, owner, "remove_member", account_id=team, user_id=admin)
    told = [
        (one["actor"], one["actor_id"], one["action"])
        for one in seen(db, owner, "audit_log")
        if one["account_id"] == team
    ]
    assert told == [
        ("member", owner, "team_created"),
        ("member", owner, "member_invited"),
        ("member", admin, "member_joined"),
        ("member", owner, "member_invited"),
        ("member", member, "member_joined"),
        ("member", member, "key_created"),
        ("member", admin, "key_blocked"),
        ("member", owner, "role_changed"),
        ("member", owner, "member_removed"),
    ]
    assert "@" not in str(seen(db, owner, "audit_log"))


# --- the tenancy matrix -------------------------------------------------------------------------------------

TABLES = ("teams", "members", "invitations", "virtual_keys", "transactions", "credit_ledger", "audit_log")
SHOWN: dict[str, set[str]] = {
    "owner": set(TABLES) - {"virtual_keys"},
    "admin": set(TABLES) - {"virtual_keys"},
    "member": {"teams", "members", "virtual_keys"},
    "former": {"virtual_keys"},
    "elsewhere": set(),
    "stranger": set(),
}
"""By person: the tables in which they see rows of the team. Keys are shown to whoever holds or held them."""


@pytest.fixture
def people(db: Connection, owner: UUID, team: UUID) -> dict[str, UUID]:
    found = {"owner": owner, "stranger": sign_up(db)}
    found["admin"], found["member"] = join(db, owner, team, "admin"), join(db, owner, team)
    found["former"], found["elsewhere"] = join(db, owner, team), sign_up(db)
    for holder in ("member", "former"):
        team_key(db, found[holder], team)
    by_owner(db, owner, "remove_member", account_id=team, user_id=found["former"])
    credit(db, by_service(db, "open_order", p_user_id=owner, p_package_id="starter-ngn", p_account_id=team))
    # In a team of their own, and in one with the member.
    other = team_of(db, found["elsewhere"], "Other")
    email = value(db, "select email from auth.users where id = %s", found["member"])
    token = invite(db, found["elsewhere"], other, email, "admin")
    by_owner(db, found["member"], "accept_invitation", token=token)
    return found


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("who", SHOWN)
def test_a_team_s_rows_are_shown_to_exactly_those_who_are_listed(
    db: Connection, team: UUID, people: dict[str, UUID], who: str, table: str
) -> None:
    column = "id" if table == "teams" else "account_id"
    shown = [one for one in seen(db, people[who], table) if one[column] == team]
    assert bool(shown) is (table in SHOWN[who])
    if table == "virtual_keys":
        assert {one["user_id"] for one in shown} <= {people[who]}


def test_somebody_in_two_teams_sees_and_does_in_each_what_they_are_there(
    db: Connection, team: UUID, people: dict[str, UUID]
) -> None:
    member = people["member"]
    found = seen(db, member, "teams")
    (other,) = [one["id"] for one in found if one["name"] == "Other"]
    assert {one["id"] for one in found} == {team, other}
    with as_role(db, "authenticated", member):
        own = {one["id"] for one in rows(db, "select public.own_accounts() as id")}
        run = {one["id"] for one in rows(db, "select public.own_accounts('admin') as id")}
    assert (own, run) == ({member, team, other}, {member, other})
    by_owner(db, member, "invite_member", account_id=other, email="x@example.com")
    with refused(403, "role_too_low"):
        by_owner(db, member, "invite_member", account_id=team, email="x@example.com")


@pytest.mark.parametrize("role", ["owner", "admin", "member", "former", "elsewhere", "stranger"])
def test_no_api_role_writes_a_team_s_tables(
    db: Connection, team: UUID, people: dict[str, UUID], role: str
) -> None:
    for statement in (
        "insert into public.members (account_id, user_id, role) values (%s, auth.uid(), 'owner')",
        "update public.members set role = 'owner' where account_id = %s",
        "delete from public.invitations where account_id = %s",
        "update public.teams set credits = 1000000 where id = %s",
        "select * from keyfund.invitation_mails where %s is not null",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_role(db, "authenticated", people[role]):
            db.execute(statement.encode(), [team])


def test_a_member_is_told_of_their_own_usage_and_an_admin_of_all(
    db: Connection, team: UUID, people: dict[str, UUID]
) -> None:
    (mine,) = [one for one in seen(db, people["member"], "virtual_keys") if one["account_id"] == team]
    theirs = row(
        db, "select * from public.virtual_keys where user_id = %s and account_id = %s", people["former"], team
    )
    today = value(db, "select keyfund.today()")
    days = [
        {"day": str(today), "model": "m", "key_hash": one["key_hash"], "requests": count,
         "prompt_tokens": 1, "completion_tokens": 1, "spend_micros": 1}
        for count, one in ((2, mine), (5, theirs))
    ]  # fmt: skip
    by_service(
        db, "record_usage", p_account_id=team, p_from=today, p_until=today, p_days=Jsonb(days),
        p_asked_at=value(db, "select now()"),
    )  # fmt: skip
    for who, expected in (("member", [2]), ("admin", [5, 2]), ("owner", [5, 2])):
        told = by_owner(db, people[who], "read_usage", account_id=team)
        assert sorted((one["requests"] for one in told["keys"]), reverse=True) == expected
        assert sum(one["requests"] for one in told["days"]) == sum(expected)


def test_an_address_that_changed_hands_gets_nobody_in(db: Connection, owner: UUID, team: UUID) -> None:
    guest = sign_up(db, "guest@example.com")
    token = invite(db, owner, team, "guest@example.com")
    change_user(db, guest, email="elsewhere@example.com")
    with refused(403, "invitation_of_another"):
        by_owner(db, guest, "accept_invitation", token=token)
