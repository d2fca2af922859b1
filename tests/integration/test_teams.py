"""A team on the whole stack: two people, one wallet."""

from typing import Any
from uuid import uuid4

import httpx

from tests.integration.world import Json, World, until
from tests.support import User


def team_of(world: World, owner: User) -> str:
    answer = world.rest(owner, "POST", "/rpc/create_team", json={"name": "Lab"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def token_of(world: World, invitation: str) -> str:
    """What the mail says, as the service reads it; the mail counts as sent."""
    secret = world.env["SUPABASE_SERVICE_ROLE_KEY"]
    headers = {"apikey": secret, "Authorization": f"Bearer {secret}"}

    def call(function: str, **given: Any) -> Any:
        url = f"{world.env['SUPABASE_URL']}/rest/v1/rpc/{function}"
        answer: httpx.Response = world.http.post(url, headers=headers, json=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    mails = call("claim_invitation_mails", p_limit=100, p_lease_seconds=60)
    mail: Json = next(one for one in mails if one["id"] == invitation)
    assert call("finish_invitation_mail", p_id=invitation, p_lease_token=mail["lease_token"]) is True
    return str(mail["token"])


def join(world: World, owner: User, team: str) -> User:
    guest = world.sign_up()
    email = world.rest(guest, "GET", "/profiles?select=email").json()[0]["email"]
    invited = world.rest(owner, "POST", "/rpc/invite_member", json={"account_id": team, "email": email})
    assert invited.status_code == 200, invited.text
    token = token_of(world, invited.json()["id"])
    accepted = world.rest(guest, "POST", "/rpc/accept_invitation", json={"token": token})
    assert accepted.json()["role"] == "member", accepted.text
    return guest


def team_key(world: World, user: User, team: str) -> Json:
    made = world.api(user, "POST", "/api/keys/manage", json={"name": "Key", "account_id": team})
    assert made.status_code == 201, made.text
    assert made.json()["account_id"] == team

    def synced() -> Json | None:
        row = next(row for row in world.keys(user) if row["id"] == made.json()["id"])
        return row if row["sync_status"] == "synced" else None

    row = until(synced, what="the team's key is synced")
    assert row is not None
    return row


def test_two_members_of_a_team_spend_one_wallet(world: World) -> None:
    owner = world.sign_up()
    team = team_of(world, owner)
    member = join(world, owner, team)
    keys = [team_key(world, one, team) for one in (owner, member)]
    refused = [world.call(key).json()["error"]["type"] for key in keys]
    assert refused == ["budget_exceeded"] * 2  # a team begins with nothing

    order = {"package_id": "starter-ngn", "account_id": team}
    assert world.api(member, "POST", "/api/credits/checkout", json=order).status_code == 403
    checkout = world.api(owner, "POST", "/api/credits/checkout", json=order).json()
    world.pay(checkout["reference"])
    path = f"/api/credits/transactions?account_id={team}"

    def effective() -> bool:
        listed = world.api(owner, "GET", path).json()["transactions"]
        return bool(listed[0]["timeline"]["effective"])

    until(effective, what="the team's credits can be spent")
    assert world.api(member, "GET", path).json()["transactions"] == []
    assert world.api(owner, "GET", "/api/credits/transactions").json()["transactions"] == []
    bought = checkout["credits"]
    user = world.litellm("GET", "/v2/user/info", params={"user_id": team}).json()
    assert (user["max_budget"], user["user_id"]) == (bought * 0.02, team)

    assert [world.call(key, "mock-costly").status_code for key in keys] == [200, 200]

    def left(who: User) -> int:
        return int(world.api(who, "GET", f"/api/credits/balance?account_id={team}").json()["credits"])

    until(lambda: left(owner) == bought - 100, what="both calls are booked on the team")
    assert left(member) == left(owner)
    assert (world.credits(owner), world.credits(member)) == (500, 500)
    used = world.api(owner, "GET", f"/api/analytics/usage?account_id={team}").json()
    assert used["total"]["requests"] == 2
    own = world.api(member, "GET", f"/api/analytics/usage?account_id={team}").json()
    assert own["total"]["requests"] == 1

    removed = {"account_id": team, "user_id": member.id}
    assert world.rest(owner, "POST", "/rpc/remove_member", json=removed).status_code == 204
    until(lambda: world.call(keys[1]).status_code == 401, what="the former member's key is blocked")
    assert world.call(keys[0]).status_code == 200


def test_a_team_is_none_to_strangers(world: World) -> None:
    owner, stranger = world.sign_up(), world.sign_up()
    team = team_of(world, owner)
    for account in (team, str(uuid4())):
        made = world.api(stranger, "POST", "/api/keys/manage", json={"account_id": account})
        order = {"package_id": "starter-ngn", "account_id": account}
        bought = world.api(stranger, "POST", "/api/credits/checkout", json=order)
        balance = world.api(stranger, "GET", f"/api/credits/balance?account_id={account}")
        for answer in (made, bought, balance):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "account_not_found")
        usage = world.api(stranger, "GET", f"/api/analytics/usage?account_id={account}")
        assert (usage.status_code, usage.json()["error"]["code"]) == (403, "not_an_administrator")
        listed = world.api(stranger, "GET", f"/api/credits/transactions?account_id={account}")
        assert listed.json()["transactions"] == []
