"""Keys from before Keyfund, made at the real LiteLLM, become keys of accounts; and some may not."""

from hashlib import sha256
from pathlib import Path

import httpx

from core.domain.routes import PROOFLESS, paths_of
from tests.drift.shelf import Json, Shelf

STRING = "sk-from-before-{:016}"


def make(shelf: Shelf, number: int, **fields: object) -> str:
    """A key as somebody made it by hand before there was Keyfund."""
    key = STRING.format(number)
    shelf.ask("POST", "/key/generate", json={"key": key, **fields})
    return key


def hashed(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def row_of(shelf: Shelf, key: str) -> Json:
    row: Json = shelf.one("select to_jsonb(v) from public.virtual_keys v where key_hash = %s", hashed(key))
    return row


def call(shelf: Shelf, key: str) -> httpx.Response:
    body = {"model": "mock-small", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    url = f"{shelf.stack.env['LITELLM_BASE_URL']}/v1/chat/completions"
    return httpx.post(url, headers={"Authorization": f"Bearer {key}"}, json=body, timeout=60)


def test_old_keys_are_shown_then_taken_over_and_held_by_the_wallet(shelf: Shelf, tmp_path: Path) -> None:
    capped = make(shelf, 1, max_budget=5.0, budget_duration="1d", rpm_limit=60)
    free = make(shelf, 2)
    stopped = make(shelf, 3, blocked=True)
    managing = make(shelf, 4, key_type="management")
    of_ours = make(shelf, 5, user_id=shelf.account(52))
    team = shelf.ask("POST", "/team/new", json={"team_alias": "a team"}).json()["team_id"]
    of_team = make(shelf, 6, team_id=team)
    account, address = shelf.account(51), "account-51@example.com"
    file = tmp_path / "keys.csv"
    lines = [
        f"{capped},{address},laptop",
        f"{hashed(free)},{account},server",
        f"{stopped},{address},old",
        f"{managing},{address},admin",
        f"{of_ours},{address},theirs",
        f"{of_team},{address},team",
        f"{STRING.format(7)},{address},nowhere",
        f"{shelf.key(53)['litellm_key_id']},{address},ours",
    ]
    file.write_text("key,account,name\n" + "\n".join(lines) + "\n")
    planned = shelf.operate("adopt", file)
    assert planned.status == 1, planned.err
    assert "cap $5.00 kept, fixed; reset every 1d kept as the cap's period" in planned.out
    assert "3 to adopt, 5 refused. Nothing was changed" in planned.out
    for reason in (
        "its key_type is management",
        f"in LiteLLM it belongs to account {shelf.account(52)}",
        f"it belongs to team {team}",
        "LiteLLM does not know it",
        f"it belongs to account {shelf.account(53)}",
    ):
        assert reason in planned.out
    assert "sk-from-before" not in planned.out + planned.err
    query = "select count(*) from public.virtual_keys where user_id = %s"
    before = shelf.one(query, account)

    adopted = shelf.operate("adopt", "--yes", file)
    assert "3 adopted, 5 refused." in adopted.out
    assert shelf.one(query, account) == before + 3
    assert row_of(shelf, free)["litellm_key_id"] is None
    shelf.let_push()
    shelf.drift().report(0)
    for key, budget, duration in ((capped, 5.0, "1d"), (free, 10.0, None)):
        info = shelf.shown(hashed(key))
        assert (info["user_id"], info["max_budget"], info["budget_duration"]) == (account, budget, duration)
        assert info["allowed_routes"] == list(paths_of(PROOFLESS))
        assert info["max_parallel_requests"] == 10
        assert call(shelf, key).status_code == 200
        assert row_of(shelf, key)["sync_status"] == "synced"
    assert shelf.shown(hashed(stopped))["blocked"]
    assert shelf.shown(hashed(of_team))["team_id"] == team
    again = shelf.operate("adopt", "--yes", file)
    assert "0 adopted, 5 refused." in again.out
    assert again.out.count("nothing to do: it is a key of this account already") == 3


def test_a_file_of_another_kind_is_one_clear_error(shelf: Shelf, tmp_path: Path) -> None:
    ended = shelf.operate("adopt", tmp_path / "nowhere.csv")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"keyfund: {tmp_path / 'nowhere.csv'} cannot be read as CSV.\n"
