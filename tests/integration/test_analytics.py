"""What people are shown of their usage: as LiteLLM has it, and as it was kept when LiteLLM is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg

from tests.integration.test_start import webhook
from tests.integration.world import Json, World, until
from tests.support import User

FIGURES = ("requests", "prompt_tokens", "completion_tokens", "spend_micros")


def usage(world: World, user: User, **query: Any) -> Json:
    answer = world.api(user, "GET", "/api/analytics/usage", params=query)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def by_litellm(world: World, user: User) -> dict[tuple[str, str], tuple[int, ...]]:
    """LiteLLM's own word: what each model was used for on each day."""
    today = datetime.now(UTC).date()
    window = {"start_date": str(today - timedelta(days=1)), "end_date": str(today), "timezone": 0}
    body = world.litellm(
        "GET", "/user/daily/activity/aggregated", params={"user_id": user.id, **window}
    ).json()
    return {
        (day["date"], model): (
            told["metrics"]["successful_requests"],
            told["metrics"]["prompt_tokens"],
            told["metrics"]["completion_tokens"],
            round(told["metrics"]["spend"] * 1_000_000),
        )
        for day in body["results"]
        for model, told in day["breakdown"]["model_groups"].items()
    }


def shown(told: Json) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(row["date"], row["model"]): tuple(row[name] for name in FIGURES) for row in told["days"]}


def spend_with_two_keys(world: World, user: User) -> list[Json]:
    """Five calls with two keys on two models, once LiteLLM has written them all down."""
    keys = [world.synced_key(user, name="=laptop"), world.synced_key(user, name="server")]
    for key, model in (
        (0, "mock-small"),
        (0, "mock-small"),
        (0, "mock-costly"),
        (1, "mock-small"),
        (1, "mock-large"),
    ):
        assert world.call(keys[key], model).status_code == 200
    until(
        lambda: sum(row[0] for row in by_litellm(world, user).values()) == 5,
        what="LiteLLM has the five calls",
        seconds=150,
    )
    return keys


def test_usage_agrees_with_litellm_to_the_micro_dollar_and_outlives_it(world: World, admin: User) -> None:
    user, stranger = world.sign_up(), world.sign_up()
    keys = spend_with_two_keys(world, user)
    told = usage(world, user)
    assert (told["source"], told["time_zone"]) == ("litellm", "UTC")
    assert shown(told) == by_litellm(world, user)
    assert told["total"]["spend_micros"] == round(world.wallet(user)["spend"] * 1_000_000)
    assert told["total"]["requests"] == 5
    assert told["total"]["credits"] == round(told["total"]["spend_micros"] / 20_000, 4)
    named = {row["key_id"]: row for row in told["keys"]}
    assert {key["id"]: named[key["id"]]["requests"] for key in keys} == {keys[0]["id"]: 3, keys[1]["id"]: 2}
    for key in keys:
        assert named[key["id"]]["spend_micros"] == round(world.key_info(key)["spend"] * 1_000_000)

    # Parts of it: a model, a key, a day without any.
    small = usage(world, user, model="mock-small")
    assert [row["requests"] for row in small["days"]] == [3]
    assert usage(world, user, key_id=keys[1]["id"])["total"]["requests"] == 2
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    assert usage(world, user, start_date=yesterday, end_date=yesterday)["days"] == []

    # Other people: a stranger sees nothing, an administrator all.
    assert usage(world, stranger)["days"] == []
    assert shown(usage(world, admin, account_id=user.id)) == shown(told)

    world.stack.stop_part("litellm")
    kept = usage(world, user)
    assert kept["source"] == "local"
    assert kept["as_of"] >= told["as_of"]
    assert [kept[part] for part in ("days", "keys", "total")] == [
        told[part] for part in ("days", "keys", "total")
    ]
    answer = world.api(user, "GET", "/api/analytics/usage", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert "'=laptop" in answer.text
    assert len(answer.text.splitlines()) == 5

    world.stack.start_part("litellm")
    until(lambda: usage(world, user)["source"] == "litellm", what="LiteLLM is asked again")
    assert shown(usage(world, user)) == shown(told)

    # Replaced by one that knows nothing, or only what came since.
    with psycopg.connect(world.stack.superuser_url("litellm"), autocommit=True) as litellm_db:
        litellm_db.execute('delete from "LiteLLM_DailyUserSpend" where user_id = %s', [user.id])
    assert by_litellm(world, user) == {}
    assert world.call(keys[1], "mock-costly").status_code == 200
    until(lambda: by_litellm(world, user), what="LiteLLM has the call since")
    kept = usage(world, user)
    assert kept["source"] == "litellm"
    before, after = shown(told), shown(kept)
    costly = next(place for place in before if place[1] == "mock-costly")
    assert after[costly][0] == 2, "the call before and the one since"
    assert {place: row for place, row in after.items() if place != costly} == {
        place: row for place, row in before.items() if place != costly
    }


def test_what_nobody_looked_at_is_kept_too(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    assert world.call(key, "mock-costly").status_code == 200

    def rolled() -> bool:
        # As if the half minute were over.
        world.db.execute(
            "update keyfund.roll_ups set roll_at = now() where account_id = %s and rolled_at is null "
            "and roll_at > now() + interval '1 second'",
            [user.id],
        )
        row = world.db.execute(
            "select roll_at is null and rolled_at is not null and booked_micros > 0, "
            "(select sum(spend_micros) from keyfund.usage_by_day u where u.account_id = w.account_id) "
            "= booked_micros "
            "from keyfund.wallets w join keyfund.roll_ups using (account_id) where w.account_id = %s",
            [user.id],
        ).fetchone()
        return row == (True, True)

    until(rolled, seconds=120, what="the worker has kept the day")
    world.stack.stop_part("litellm")
    told = usage(world, user)
    assert told["source"] == "local"
    assert told["total"]["requests"] == 1


def test_a_key_shows_what_it_spent_of_its_cap(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user, max_budget=500)
    assert world.call(key, "mock-costly").status_code == 200

    def period() -> Json:
        (listed,) = world.api(user, "GET", "/api/keys/manage").json()["keys"]
        told: Json = listed["period"]
        return told

    until(lambda: period()["spent_cents"] == 100, seconds=60, what="a dollar of the cap is spent")
    assert datetime.fromisoformat(period()["resets_at"]) > datetime.now(UTC)


# --- estimates ----------------------------------------------------------------------------------------------


def estimate(world: World, user: User, **body: Any) -> Json:
    answer = world.api(user, "POST", "/api/usage/estimate", json=body)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def test_an_estimate_is_what_the_call_costs_and_says_from_whom_it_is(world: World) -> None:
    user = world.sign_up()
    key = world.synced_key(user)
    question = {"model": "mock-small", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}
    # The first of all that a LiteLLM makes may take it too long, on a busy machine.
    until(lambda: estimate(world, user, **question)["source"]["cost"] == "litellm", what="LiteLLM estimates")
    question["max_tokens"] = 21
    told = estimate(world, user, **question)
    assert told["source"] == {"tokens": "litellm", "cost": "litellm"}
    assert told["rough"] is False
    assert not told["cached"]
    made = world.call(key)
    dollars = made.headers["x-litellm-response-cost"]
    assert told["prompt_tokens"] == made.json()["usage"]["prompt_tokens"]
    assert told["spend_micros"] - 20 == round(float(dollars) * 1_000_000), "one token more"
    again = estimate(world, user, **question)
    assert again == told | {"cached": True}
    measured = estimate(world, user, **question, response_headers={"X-LiteLLM-Response-Cost": "0.00012"})
    assert (measured["source"]["cost"], measured["spend_micros"]) == ("headers", 120)

    assert "mock-small" in world.api(user, "GET", "/api/usage/models").json()["models"]
    refused = world.api(user, "POST", "/api/usage/estimate", json={"model": "nothing", "prompt": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    secret = f"launch code {user.id}"
    estimate(world, user, model="mock-small", prompt=secret)
    odd = {"model": "mock-small", "prompt": secret, "max_tokens": secret}
    assert secret not in world.api(user, "POST", "/api/usage/estimate", json=odd).text
    for log in world.stack.logs.glob("*.log"):
        assert secret not in log.read_text(errors="replace"), f"a prompt is in {log.name}"

    world.stack.stop_part("litellm")
    flat = estimate(world, user, model="mock-small", prompt="eight ch" * 3, max_tokens=994)
    assert flat["source"] == {"tokens": "flat", "cost": "flat"}
    assert flat["rough"] is True
    assert (flat["prompt_tokens"], flat["spend_micros"]) == (6, 10_000)


def test_cost_headers_are_there_where_they_are_wanted(world: World) -> None:
    user = world.sign_up()
    headers = {"Authorization": f"Bearer {user.token}"}
    question = {"model": "mock-small", "prompt": "Hello", "max_tokens": 20}
    with webhook({**world.env, "INCLUDE_COST_HEADERS": "true", "API_RATE_PER_MINUTE": "0"}) as other:
        told = httpx.post(f"{other}/api/usage/estimate", headers=headers, json=question)
        assert told.headers["x-keyfund-estimated-cost-micros"] == str(told.json()["spend_micros"])
        assert told.headers["x-keyfund-credits-balance"] == "500"
        balance = httpx.get(f"{other}/api/credits/balance", headers=headers)
        assert balance.headers["x-keyfund-credits-balance"] == str(balance.json()["credits"])
        assert (balance.json()["left_percent"], balance.json()["notice"]) == (100, None)
    plain = world.api(user, "GET", "/api/credits/balance")
    assert plain.json() == balance.json()
    assert not [name for name in plain.headers if name.startswith("x-keyfund")]


def test_administrators_find_accounts(world: World, admin: User) -> None:
    user = world.sign_up()
    world.synced_key(user)
    for search in (user.id, user.email, user.email[:-4]):
        (found,) = world.rest(admin, "POST", "/rpc/find_accounts", json={"search": search}).json()
        assert (found["account_id"], found["email"], found["credits"]) == (user.id, user.email, 500)
        assert (found["keys"], found["failing_keys"], found["wallet_confirmed"]) == (1, 0, True)
    refused = world.rest(user, "POST", "/rpc/find_accounts", json={"search": user.id})
    assert refused.status_code == 403
