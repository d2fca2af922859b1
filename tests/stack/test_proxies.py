"""LiteLLM as the stack sets it up: its configuration, the guard beside it, workers, Redis, and its end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import redis
from dev.child import StackError
from dev.litellm import Proxy, config
from dev.stack import Stack
from tests.stack.proxy import Proxy as Client
from tests.support import eventually

CALLS_OF_A_WALLET = 25
WALLET_DOLLARS = CALLS_OF_A_WALLET * 0.00048
"""For calls of `mock-small`, whose prompt and answer cost what is reserved for them."""


def written(folder: Path, **more: Any) -> dict[str, Any]:
    choices = {"guard": None, "redis": False, "settings": {}} | more
    return dict(yaml.safe_load(config.write(folder, **choices).read_text()))


def test_the_guard_lies_beside_the_configuration_that_names_it(tmp_path: Path) -> None:
    guard = tmp_path / "keyfund_guard.py"
    guard.write_text("guard = None\n")
    made = written(tmp_path / "home", guard=guard)
    assert made["litellm_settings"]["callbacks"] == ["keyfund_guard.guard"]
    assert (tmp_path / "home" / "keyfund_guard.py").read_text() == guard.read_text()
    assert "callbacks" not in written(tmp_path / "home")["litellm_settings"]


def test_settings_win_over_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    plain = written(tmp_path)
    settings = {"general_settings": {"fail_closed_budget_enforcement": False}, "model_list": []}
    made = written(tmp_path, settings=settings)
    assert made["general_settings"] == plain["general_settings"] | settings["general_settings"]
    assert (made["model_list"], made["litellm_settings"]) == ([], plain["litellm_settings"])


def test_redis_answers_nobody_without_its_password(shared: Stack) -> None:
    port = shared.ports["redis"]
    assert redis.answers(port, shared.redis_password)
    assert not redis.answers(port, "another")


def test_redis_ends_and_comes_back_like_any_part(shared: Stack) -> None:
    shared.stop_part("redis")
    assert not redis.answers(shared.ports["redis"], shared.redis_password)
    shared.start_part("redis")
    shared.kill_part("redis")
    shared.start_part("redis")
    assert [line.split()[1] for line in shared.status() if line.startswith("redis")] == ["running"]


def test_a_stack_without_redis_has_no_such_part(stack: Stack) -> None:
    assert not [line for line in stack.status() if line.startswith("redis")]
    with pytest.raises(StackError, match="this stack has no redis"):
        stack.start_part("redis")


@pytest.fixture(scope="module")
def shared(homes: Path) -> Iterator[Stack]:
    """Two LiteLLM workers that share what they know by Redis."""
    with Stack(homes / "shared", proxy=Proxy(workers=2, redis=True)) as running:
        wait_for_both(running)
        yield running


@pytest.fixture(scope="module")
def apart(homes: Path) -> Iterator[Stack]:
    """Two LiteLLM workers, each of which counts for itself and writes spend down after ten minutes only."""
    settings = {"general_settings": {"proxy_batch_write_at": 600}}
    with Stack(homes / "apart", proxy=Proxy(workers=2, settings=settings)) as running:
        wait_for_both(running)
        yield running


def wait_for_both(stack: Stack) -> None:
    """The stack is ready when one worker answers; the other may still be starting."""
    log = stack.logs / "litellm.log"
    assert eventually(lambda: log.read_text().count("Application startup complete.") == 2, seconds=120)


def calls_answered(client: Client, user: str) -> int:
    """How many of 120 honest calls at once, with four keys of one wallet, LiteLLM lets through."""
    keys = [client.key(user) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.call(keys[n % 4], "mock-small").status_code, range(120)))
    assert set(answers) == {200, 422}
    return answers.count(200)


def test_two_workers_with_redis_spend_no_more_than_the_wallet(shared: Stack) -> None:
    client = Client(shared.env)
    user = client.wallet(WALLET_DOLLARS)
    assert calls_answered(client, user) == CALLS_OF_A_WALLET
    assert eventually(lambda: client.spend(user) == pytest.approx(WALLET_DOLLARS))


def test_two_workers_without_redis_spend_more_and_lose_none_of_it_when_told_to_stop(apart: Stack) -> None:
    """More is the control of the test above. Nothing is written down before LiteLLM is stopped."""
    client = Client(apart.env)
    user = client.wallet(WALLET_DOLLARS)
    answered = calls_answered(client, user)
    assert answered > CALLS_OF_A_WALLET * 1.2
    assert client.spend(user) == 0
    apart.stop_part("litellm")
    apart.start_part("litellm")
    assert client.spend(user) == pytest.approx(0.00048 * answered)
