"""The real LiteLLM proxy of the stack keeps the promises that the product builds on."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from dev import litellm
from dev.stack import ROOT, Stack
from tests.stack.proxy import Proxy
from tests.support import eventually


@pytest.mark.parametrize(
    ("model", "dollars"), [("mock-small", 0.00048), ("mock-large", 0.048), ("mock-costly", 1.0008)]
)
def test_a_call_costs_what_the_configuration_says(proxy: Proxy, model: str, dollars: float) -> None:
    answer = proxy.call(proxy.key(proxy.wallet(5)), model)
    assert float(answer.headers["x-litellm-response-cost"]) == pytest.approx(dollars)


def test_two_keys_share_one_wallet(proxy: Proxy) -> None:
    user = proxy.wallet(2.5)
    keys = [proxy.key(user), proxy.key(user)]
    assert [proxy.call(key).status_code for key in keys] == [200, 200]
    refusals = [proxy.call(key) for key in keys]
    assert [refusal.json()["error"]["type"] for refusal in refusals] == ["budget_exceeded"] * 2
    assert all(f"User={user}" in refusal.text for refusal in refusals)


def test_a_raised_wallet_admits_the_very_next_call(proxy: Proxy) -> None:
    user = proxy.wallet(0.5)
    key = proxy.key(user)
    assert proxy.call(key).status_code == 422
    proxy.wallet(5, user)
    assert proxy.call(key).status_code == 200


def test_calls_at_once_spend_no_more_than_the_wallet(proxy: Proxy) -> None:
    user = proxy.wallet(3.5)
    keys = [proxy.key(user), proxy.key(user)]
    with ThreadPoolExecutor(12) as pool:
        answers = Counter(pool.map(lambda n: proxy.call(keys[n % 2]).status_code, range(24)))
    assert set(answers) == {200, 422}
    assert 1 <= answers[200] <= 3
    assert eventually(lambda: proxy.spend(user) == pytest.approx(1.0008 * answers[200]))


def test_asking_for_no_log_does_not_make_a_call_free(proxy: Proxy) -> None:
    user = proxy.wallet(5)
    assert proxy.call(proxy.key(user), more={"no-log": True}).status_code == 200
    assert eventually(lambda: proxy.spend(user) == pytest.approx(1.0008))


def test_a_key_made_blocked_is_blocked(proxy: Proxy) -> None:
    key = proxy.key(proxy.wallet(5), blocked=True)
    assert (proxy.info(key)["blocked"], proxy.call(key).status_code) == (True, 401)


def test_metadata_comes_back_as_it_went_in(proxy: Proxy) -> None:
    metadata: dict[str, Any] = {
        "$type": "Json",
        "text": 'a "quote", a \\, a \n and é😀',
        "deep": [{"n": 12345678901234}, None, 0.5, []],
    }
    assert proxy.info(proxy.key(proxy.wallet(5), metadata=metadata))["metadata"] == metadata


def test_every_migration_of_litellm_is_recorded_and_none_is_left(stack: Stack) -> None:
    url = stack.address.url("litellm", "litellm")
    count = "select count(*), count(finished_at), count(distinct migration_name) from _prisma_migrations"
    shipped = (ROOT / ".stack" / "litellm-venv").glob(
        "lib/*/site-packages/litellm_proxy_extras/migrations/*/*.sql"
    )
    wanted = (len(list(shipped)),) * 3
    litellm.prepare(ROOT, url)
    with psycopg.connect(url) as database:
        assert database.execute(count).fetchone() == wanted


def test_the_answer_of_another_proxy_is_not_taken_for_ours(proxy: Proxy, tmp_path: Path) -> None:
    port = int(proxy.url.rsplit(":", 1)[1])
    ours, others = (
        litellm.part(ROOT, database_url="", port=port, master_key=key, home=tmp_path)
        for key in (proxy.master_key, "sk-other")
    )
    assert (ours.ready(), others.ready()) == (True, False)


def test_a_repeated_installation_does_nothing() -> None:
    said: list[str] = []
    litellm.install(ROOT, said.append)
    assert said == []


def engines(stack: Stack) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(stack.child("litellm").pid).children()
        if "query-engine" in child.name()
    ]


def test_the_proxy_comes_back_when_its_engine_dies(stack: Stack, proxy: Proxy) -> None:
    (engine,) = engines(stack)
    engine.kill()
    assert eventually(
        lambda: proxy.ask("POST", "/user/update", json={"user_id": "x", "max_budget": 1}).is_success
    )


def test_the_engine_dies_with_a_killed_proxy(stack: Stack) -> None:
    (engine,) = engines(stack)
    pid = stack.child("litellm").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    try:
        gone, _ = psutil.wait_procs([engine], timeout=5)
        assert gone == [engine]
    finally:
        stack.start_part("litellm")
